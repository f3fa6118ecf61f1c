//! Rules that a pattern can tell: a regular expression, where it may match, and what speaks against it.

use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::Rule;
use super::catalog::any as rule;
use super::hits::Hits;
use crate::file::{Part, SourceFile};
use crate::language::{Language, Role};

/// One pattern of a rule.
struct Pattern {
    rule: &'static Rule,
    /// In which languages; all that the rule applies to when empty.
    languages: &'static [Language],
    /// Where the match must begin.
    within: Within,
    /// What to look for. It matches inside one line.
    regex: &'static str,
    message: &'static str,
    /// What makes a match harmless.
    unless: fn(&SourceFile, &Captures<'_>) -> bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    Code,
    CodeOrText,
}

const JS: &[Language] = &[Language::JavaScript, Language::TypeScript];
const PYTHON: &[Language] = &[Language::Python];
const RUBY: &[Language] = &[Language::Ruby];
const PHP: &[Language] = &[Language::Php];
const SCRIPTS: &[Language] = &[Language::Shell, Language::Dockerfile, Language::Make, Language::Yaml];

const fn pattern(
    rule: &'static Rule,
    languages: &'static [Language],
    regex: &'static str,
    message: &'static str,
) -> Pattern {
    Pattern {
        rule,
        languages,
        within: Within::Code,
        regex,
        message,
        unless: never,
    }
}

impl Pattern {
    const fn also_in_strings(mut self) -> Self {
        self.within = Within::CodeOrText;
        self
    }

    const fn unless(mut self, unless: fn(&SourceFile, &Captures<'_>) -> bool) -> Self {
        self.unless = unless;
        self
    }
}

static PATTERNS: &[Pattern] = &[
    pattern(&rule::TLS_VERIFICATION_OFF, PYTHON, r"\bverify\s*=\s*False\b", "the request accepts any certificate"),
    pattern(&rule::TLS_VERIFICATION_OFF, PYTHON, r"\b(?:ssl\._create_unverified_context\b|ssl\.CERT_NONE\b|check_hostname\s*=\s*False\b)", "the TLS context accepts any certificate"),
    pattern(&rule::TLS_VERIFICATION_OFF, JS, r#"['"]?\brejectUnauthorized['"]?\s*:\s*false\b"#, "the connection accepts any certificate").also_in_strings(),
    pattern(&rule::TLS_VERIFICATION_OFF, &[Language::Rust], r"\bdanger_accept_invalid_(?:certs|hostnames)\s*\(\s*true\s*\)", "the client accepts any certificate"),
    pattern(&rule::TLS_VERIFICATION_OFF, &[Language::Go], r"\bInsecureSkipVerify\s*:\s*true\b", "the client accepts any certificate"),
    pattern(&rule::TLS_VERIFICATION_OFF, PHP, r"\bCURLOPT_SSL_VERIFY(?:PEER|HOST)\s*,\s*(?:false|0)\b", "the request accepts any certificate"),
    pattern(&rule::TLS_VERIFICATION_OFF, RUBY, r"\bOpenSSL::SSL::VERIFY_NONE\b", "the connection accepts any certificate"),
    pattern(&rule::TLS_VERIFICATION_OFF, SCRIPTS, r"\bNODE_TLS_REJECT_UNAUTHORIZED\s*[=:]\s*['\x22]?0\b", "Node accepts any certificate").also_in_strings(),
    pattern(&rule::TLS_VERIFICATION_OFF, SCRIPTS, r"\b(?:curl\b[^|;&\n]*\s(?:-[a-zA-Z]*k[a-zA-Z]*|--insecure)(?:\s|$)|wget\b[^|;&\n]*\s--no-check-certificate\b)", "the download accepts any certificate").also_in_strings().unless(is_local),
    pattern(&rule::TLS_VERIFICATION_OFF, SCRIPTS, r"(?i)\b(?:http\.sslVerify[ =]+['\x22]?false|GIT_SSL_NO_VERIFY\s*[=:]\s*['\x22]?(?:1|true)|StrictHostKeyChecking[ =]+no)\b", "the other side is not verified").also_in_strings(),
    pattern(&rule::PIPE_TO_SHELL, SCRIPTS, r"\b(?:curl|wget)\b[^|;&\n#]*\|\s*(?:sudo\s+(?:-\w+\s+)*)?(?:env\s+)?(?:/\w+(?:/\w+)*/)?(?:ba|z|da|k)?sh\b", "what the server sends is run unseen").also_in_strings(),
    pattern(&rule::PIPE_TO_SHELL, SCRIPTS, r"\b(?:ba|z|da|k)?sh\s+(?:-c\s+)?[<\x22]*[<$]\(\s*(?:curl|wget)\b", "what the server sends is run unseen").also_in_strings(),
    pattern(&rule::INSECURE_DOWNLOAD, SCRIPTS, r"(?i)\b(?:curl|wget|ADD|pip3?\s+install|npm\s+install|git\s+clone|go\s+get)\b[^|;&\n#]*?\bhttp://([a-z0-9.-]+)", "the download is not encrypted").also_in_strings().unless(is_local),
    pattern(&rule::WORLD_WRITABLE, SCRIPTS, r"\bchmod\s+(?:-\w+\s+)*(?:0?777|a\+(?:w|rw|rwx|wx)|o\+w)\b", "everyone on the machine may write it").also_in_strings(),
    pattern(&rule::WORLD_WRITABLE, &[Language::Python, Language::Go, Language::Ruby, Language::Php], r"\b(?:os\.)?(?:chmod|Chmod)\s*\([^,\n]+,\s*0o?777\s*\)", "everyone on the machine may write it"),
    pattern(&rule::WORLD_WRITABLE, &[Language::Rust], r"\b(?:from_mode|set_mode)\s*\(\s*0o777\s*\)", "everyone on the machine may write it"),
    pattern(&rule::DYNAMIC_EVAL, PYTHON, r"(?:^|[^\w.])(?:eval|exec)\s*\(\s*([^)\s])", "the text is run as Python").unless(is_literal_argument),
    pattern(&rule::DYNAMIC_EVAL, JS, r"(?:^|[^\w.$])(?:eval\s*\(|new\s+Function\s*\()\s*([^)\s])", "the text is run as JavaScript").unless(is_literal_argument),
    pattern(&rule::DYNAMIC_EVAL, PHP, r"(?:^|[^\w.$>])eval\s*\(\s*([^)\s])", "the text is run as PHP").unless(is_literal_argument),
    pattern(&rule::SHELL_INJECTION, PYTHON, r#"\b(?:os\.system|os\.popen|subprocess\.(?:getoutput|getstatusoutput))\s*\(\s*(?:[rb]?f['"]|['"][^'"\n]*['"]\s*(?:%|\+|\.format\b))"#, "a value becomes a part of the command"),
    pattern(&rule::SHELL_INJECTION, PYTHON, r#"\bsubprocess\.(?:run|call|check_call|check_output|Popen)\s*\(\s*(?:[rb]?f['"]|['"][^'"\n]*['"]\s*(?:%|\+|\.format\b))[^\n]*\bshell\s*=\s*True"#, "a value becomes a part of the command"),
    pattern(&rule::SHELL_INJECTION, JS, r#"\b(?:child_process\.)?(?:exec|execSync)\s*\(\s*(?:`[^`\n]*\$\{|['"][^'"\n]*['"]\s*\+)"#, "a value becomes a part of the command").unless(is_regex_exec),
    pattern(&rule::SHELL_INJECTION, PHP, r#"\b(?:shell_exec|system|passthru|exec|popen)\s*\(\s*(?:"[^"\n]*\$|['"][^'"\n]*['"]\s*\.\s*\$)"#, "a value becomes a part of the command"),
    pattern(&rule::SQL_INJECTION, PYTHON, r#"(?i)\.(?:execute|executemany|executescript|raw)\s*\(\s*(?:f['"]{1,3}[^\n]*?\b(?:select|insert|update|delete|drop)\b[^\n]*\{|['"]{1,3}[^\n]*?\b(?:select|insert|update|delete|drop)\b[^\n]*['"]\s*(?:%\s*[\w(]|\+\s*\w|\.format\s*\())"#, "a value becomes a part of the statement"),
    pattern(&rule::SQL_INJECTION, JS, r"(?i)\.(?:query|execute|raw|exec)\s*\(\s*(?:`[^`\n]*\b(?:select|insert|update|delete|drop)\b[^`\n]*\$\{|['\x22][^'\x22\n]*\b(?:select|insert|update|delete|drop)\b[^'\x22\n]*['\x22]\s*\+)", "a value becomes a part of the statement"),
    pattern(&rule::SQL_INJECTION, PHP, r#"(?i)(?:->query|mysqli_query|pg_query)\s*\([^\n]*\b(?:select|insert|update|delete)\b[^\n]*(?:\$_(?:GET|POST|REQUEST|COOKIE)|['"]\s*\.\s*\$)"#, "a value becomes a part of the statement"),
    pattern(&rule::SQL_INJECTION, RUBY, r#"(?i)\.(?:where|find_by_sql|execute|exec_query)\s*\(?\s*"[^"\n]*#\{"#, "a value becomes a part of the statement"),
    pattern(&rule::UNSAFE_DESERIALIZATION, PYTHON, r"\b(?:pickle|cPickle|dill|marshal|shelve)\.(?:loads?|open)\s*\(", "reading the data can run code").unless(is_test),
    pattern(&rule::UNSAFE_DESERIALIZATION, PYTHON, r"\byaml\.(?:load|load_all)\s*\(([^\n]*)", "reading the document can run code").unless(is_safe_yaml),
    pattern(&rule::UNSAFE_DESERIALIZATION, RUBY, r"\b(?:Marshal\.load|YAML\.(?:unsafe_)?load)\b\s*[( ]", "reading the data can run code").unless(is_test),
    pattern(&rule::UNSAFE_DESERIALIZATION, PHP, r"\bunserialize\s*\(\s*\$_(?:GET|POST|REQUEST|COOKIE)\b", "reading the data can run code").unless(is_test),
    pattern(&rule::C_UNSAFE_FUNCTION, &[], r"(?:^|[^\w.>:])(gets|strcpy|strcat|sprintf|vsprintf)\s*\(", "the function cannot know how large its buffer is").unless(is_c_declaration),
    pattern(&rule::WORKFLOW_INJECTION, &[], r"\$\{\{\s*github\.(?:head_ref|event\.(?:issue|pull_request|comment|review|discussion|head_commit|commits|pages|workflow_run)[\w.\[\]*]*\.(?:title|body|message|label|ref|name|email|page_name|head_branch|display_title))\s*\}\}", "a stranger's text becomes a part of the script").also_in_strings().unless(is_outside_a_script),
    pattern(&rule::MUTABLE_DEFAULT, &[], r"^[ \t]*(?:async\s+)?def\s+\w+\s*\([^\n]*?\w+\s*(?::\s*[\w\[\], .|]+)?=\s*(?:\[[^\]\n]*\]|\{[^}\n]*\}|list\(\)|dict\(\)|set\(\))\s*[,)]", "every call shares this default"),
    pattern(&rule::ASSERT_ON_TUPLE, &[], r#"^[ \t]*assert\s*\([^()\n]*(?:\([^()\n]*\)[^()\n]*)*,\s*[rbf]{0,2}['"][^\n]*['"]\s*\)\s*(?:#[^\n]*)?$"#, "the tuple is always true"),
    pattern(&rule::SWALLOWED_EXCEPTION, JS, r"\bcatch\s*(?:\(\s*\w+\s*\))?\s*\{\s*\}", "nothing is done about the exception"),
    pattern(&rule::SWALLOWED_EXCEPTION, &[Language::Java, Language::Kotlin, Language::CSharp, Language::Php], r"\bcatch\s*\([^)\n]*\)\s*\{\s*\}", "nothing is done about the exception"),
    pattern(&rule::DEBUG_LEFTOVER, PYTHON, r"(?:^|[^\w.])(?:breakpoint\s*\(\s*\)|i?pdb\.set_trace\s*\(|import\s+i?pdb\b)", "the program stops here for a debugger"),
    pattern(&rule::DEBUG_LEFTOVER, JS, r"^[ \t]*debugger\s*;?[ \t]*$", "the program stops here for a debugger"),
    pattern(&rule::DEBUG_LEFTOVER, RUBY, r"\b(?:binding\.(?:pry|irb)|byebug)\b", "the program stops here for a debugger"),
    pattern(&rule::DEBUG_LEFTOVER, PHP, r"(?:^|[^\w>$:])(?:var_dump|dd|dump|xdebug_break)\s*\(", "the value is shown to every user").unless(is_test),
    pattern(&rule::DEBUG_LEFTOVER, JS, r"\bconsole\.(?:log|debug|trace)\s*\(", "the line is shown to every user").unless(is_script_or_test),
    pattern(&rule::FOCUSED_TEST, &[], r"(?:^|[^\w.$])(?:(?:it|test|describe|context|suite)\.only|fit|fdescribe|fcontext)\s*(?:\(|\.each\b)", "only this test is run").unless(is_no_test),
    pattern(&rule::SKIPPED_TEST, JS, r"(?:^|[^\w.$])(?:(?:it|test|describe|context|suite)\.skip|xit|xtest|xdescribe|xcontext)\s*\(", "the test is not run").unless(is_explained_or_no_test),
    pattern(&rule::SKIPPED_TEST, PYTHON, r"@(?:pytest\.mark\.skip|unittest\.skip)\s*(?:\(\s*\)|$)", "the test is not run").unless(is_explained),
    pattern(&rule::SKIPPED_TEST, &[Language::Java], r"^[ \t]*@(?:Disabled|Ignore)\s*(?:\(\s*\))?$", "the test is not run").unless(is_explained),
];

static COMPILED: LazyLock<Vec<(&'static Pattern, Regex)>> = LazyLock::new(|| {
    let compile = |pattern: &'static Pattern| Some((pattern, Regex::new(&format!("(?m){}", pattern.regex)).ok()?));
    PATTERNS.iter().filter_map(compile).collect()
});

/// Runs every pattern of the wanted concern.
pub(super) fn run(hits: &mut Hits<'_>) {
    let file = hits.file;
    for (pattern, regex) in COMPILED.iter() {
        if !hits.wants(pattern.rule) || !(pattern.languages.is_empty() || pattern.languages.contains(&file.language)) {
            continue;
        }
        let (mut line, mut seen) = (0, 0);
        for found in regex.captures_iter(file.text()) {
            let Some(all) = found.get(0) else { continue };
            // A pattern may begin with the character before what it is about.
            let lead = all
                .as_str()
                .find(|character: char| !character.is_whitespace())
                .unwrap_or(0);
            let start = all.start() + lead;
            let here = file.line_at(start);
            (line, seen) = if here == line { (line, seen + 1) } else { (here, 1) };
            let part = file.part_at(start);
            let fits = part == Part::Code || (part == Part::Text && pattern.within == Within::CodeOrText);
            if fits && seen <= MATCHES_PER_LINE && !(pattern.unless)(file, &found) {
                hits.softer_in_tests(pattern.rule, file.place(start), pattern.message);
                // One finding a line is enough.
                seen = MATCHES_PER_LINE;
            }
        }
    }
}

/// Matches of one pattern that are looked at on one line: a line may be as long as the file.
const MATCHES_PER_LINE: usize = 20;

fn never(_: &SourceFile, _: &Captures<'_>) -> bool {
    false
}

fn line_of(file: &SourceFile, found: &Captures<'_>) -> u32 {
    let start = found.get(0).map_or(0, |all| all.end().saturating_sub(1));
    file.line_at(start)
}

fn text_of<'a>(found: &Captures<'a>) -> &'a str {
    found.get(0).map_or("", |all| all.as_str())
}

/// A server on this machine or in this network is no stranger.
fn is_local(file: &SourceFile, found: &Captures<'_>) -> bool {
    let line = file.line(line_of(file, found)).map_or("", |line| line.text);
    [
        "localhost",
        "127.0.0.1",
        "[::1]",
        "0.0.0.0",
        "host.docker.internal",
        "example.com",
        "example.org",
        ".local",
        ".internal",
        "169.254.",
    ]
    .iter()
    .any(|host| line.contains(host))
}

/// A literal is the programmer's own text.
fn is_literal_argument(_: &SourceFile, found: &Captures<'_>) -> bool {
    found.get(1).is_some_and(|first| matches!(first.as_str(), "'" | "\"")) && !text_of(found).contains('+')
}

/// `regex.exec(…)` has nothing to do with processes.
fn is_regex_exec(file: &SourceFile, found: &Captures<'_>) -> bool {
    let start = found.get(0).map_or(0, |all| all.start());
    let before = file.text().get(..start).unwrap_or_default();
    before.ends_with('.') && !before.ends_with("child_process.") && !before.ends_with("cp.")
}

fn is_safe_yaml(file: &SourceFile, found: &Captures<'_>) -> bool {
    // The loader may stand on a later line of the call.
    let start = found.get(0).map_or(0, |all| all.start());
    let call: String = file.text().get(start..).unwrap_or_default().chars().take(300).collect();
    let call = call.split("\n\n").next().unwrap_or_default();
    ["SafeLoader", "BaseLoader", "CSafe"]
        .iter()
        .any(|safe| call.contains(safe))
}

/// A declaration of the function, not a call of it; in a test the input is the programmer's own.
fn is_c_declaration(file: &SourceFile, found: &Captures<'_>) -> bool {
    if is_test(file, found) {
        return true;
    }
    let line = file.line(line_of(file, found)).map_or("", |line| line.text.trim());
    line.starts_with("char *") || line.starts_with("int ") || line.starts_with("extern") || line.starts_with('#')
}

/// An expression outside `run:` is a value, not a part of a script.
fn is_outside_a_script(file: &SourceFile, found: &Captures<'_>) -> bool {
    if !file.path.as_bytes().starts_with(b".github/") && file.path.file_name() != b"action.yml" {
        return true;
    }
    let number = line_of(file, found);
    let indent = |text: &str| text.len() - text.trim_start().len();
    let Some(here) = file.line(number) else { return true };
    if here.text.trim_start().trim_start_matches("- ").starts_with("run:") {
        return false;
    }
    // The nearest line above that is indented less names the block this line is in.
    let depth = indent(here.text);
    for above in (1..number).rev().filter_map(|above| file.line(above)) {
        if above.text.trim().is_empty() || indent(above.text) >= depth {
            continue;
        }
        let key = above.text.trim_start().trim_start_matches("- ");
        return !(key.starts_with("run:") && (key.contains('|') || key.contains('>')));
    }
    true
}

fn is_test(file: &SourceFile, _: &Captures<'_>) -> bool {
    file.role == Role::Test
}

fn is_no_test(file: &SourceFile, _: &Captures<'_>) -> bool {
    file.role != Role::Test
}

/// A program for the terminal may print.
fn is_script_or_test(file: &SourceFile, found: &Captures<'_>) -> bool {
    let parts = || {
        file.path
            .components()
            .map(|part| String::from_utf8_lossy(part).to_ascii_lowercase())
    };
    let tool = |part: String| {
        [
            "bin", "cli", "scripts", "script", "tools", "tasks", "examples", "build", "docs", "demo", "server",
        ]
        .contains(&part.as_str())
            || ["cli.", "gulpfile", "webpack", "rollup", "vite.config", "logger", "log."]
                .iter()
                .any(|name| part.starts_with(name))
    };
    is_test(file, found) || file.text().starts_with("#!") || parts().any(tool)
}

fn is_explained(file: &SourceFile, found: &Captures<'_>) -> bool {
    !file.comment_about(line_of(file, found)).trim().is_empty()
}

fn is_explained_or_no_test(file: &SourceFile, found: &Captures<'_>) -> bool {
    is_no_test(file, found) || is_explained(file, found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_compiles() {
        assert_eq!(COMPILED.len(), PATTERNS.len());
    }
}
