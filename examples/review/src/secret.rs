//! Secrets in a text: the forms that services give out, private keys, and passwords that look like passwords.
//!
//! It stands below files and rules: a file blacks its secrets out wherever it is shown, a rule reports them.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use crate::language::{Language, Role};

/// A secret and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// Its bytes in the text.
    pub range: Range<usize>,
    /// What kind it is.
    pub kind: Kind,
    /// What it is called in a sentence: "a GitHub token".
    pub what: &'static str,
}

/// A kind of secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A private key with its body.
    Key,
    /// A token in the form its service gives out.
    Token,
    /// A password or key that is written into the code.
    Credential,
}

/// A form of token. The secret is the first group, or the whole match.
struct Form {
    what: &'static str,
    regex: &'static str,
}

const fn form(what: &'static str, regex: &'static str) -> Form {
    Form { what, regex }
}

static FORMS: &[Form] = &[
    form("an AWS access key", r"\b((?:AKIA|ASIA)[0-9A-Z]{16})\b"),
    form(
        "an AWS secret key",
        r#"(?i)\baws_?secret(?:_?access)?_?key\b["']?\s*[:=]\s*["']?([A-Za-z0-9/+=]{40})\b"#,
    ),
    form("a GitHub token", r"\b(gh[pousr]_[A-Za-z0-9]{36,251})\b"),
    form("a GitHub token", r"\b(github_pat_[A-Za-z0-9_]{60,120})\b"),
    form("a GitLab token", r"\b(gl(?:pat|dt|rt|ptt)-[A-Za-z0-9_-]{20,60})"),
    form("a Slack token", r"\b(xox[abeoprs]-[A-Za-z0-9-]{20,250})"),
    form(
        "a Slack webhook",
        r"hooks\.slack\.com/services/(T[A-Z0-9]{6,12}/B[A-Z0-9]{6,12}/[A-Za-z0-9]{20,26})",
    ),
    form("a Stripe live key", r"\b([sr]k_live_[A-Za-z0-9]{20,200})\b"),
    form("a Google key", r"\b(AIza[0-9A-Za-z_-]{35})(?:[^0-9A-Za-z_-]|$)"),
    form("an Anthropic key", r"\b(sk-ant-[A-Za-z0-9]{3,8}-[A-Za-z0-9_-]{40,200})"),
    form(
        "an OpenAI key",
        r"\b(sk-(?:proj|svcacct|admin)-[A-Za-z0-9_-]{40,250}|sk-[A-Za-z0-9]{20}T3BlbkFJ[A-Za-z0-9]{20})",
    ),
    form("an npm token", r"\b(npm_[A-Za-z0-9]{36})\b"),
    form("a PyPI token", r"\b(pypi-AgE[A-Za-z0-9_-]{50,250})"),
    form("a SendGrid key", r"\b(SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43})"),
    form("a Hugging Face token", r"\b(hf_[A-Za-z0-9]{34})\b"),
    form("a DigitalOcean token", r"\b(do[opr]_v1_[a-f0-9]{64})\b"),
    form("an Azure storage key", r"\bAccountKey=([A-Za-z0-9+/]{86}==)"),
    form(
        "a Telegram bot token",
        r"\b([0-9]{8,10}:AA[A-Za-z0-9_-]{33})(?:[^A-Za-z0-9_-]|$)",
    ),
];

const KEY_BEGIN: &str = r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----";
const ASSIGNED: &str = r#"(?i)(?:^|[^A-Za-z0-9])([A-Za-z0-9_.-]{0,40}(?:password|passwd|passphrase|secret|api_?key|apikey|access_?token|auth_?token|private_?key|client_?secret|secret_?key))["']?\s*(?::|=|:=|=>)\s*(?:String::from\(|b)?["']([^"'\s\\]{8,120})["']"#;
const URL: &str = r"\b[a-z][a-z0-9+]{2,20}://[^\s:@/'\x22<>{}$]{1,60}:([^\s:@/'\x22<>{}$%]{6,80})@([A-Za-z0-9.-]+)";

struct Compiled {
    forms: Vec<(&'static str, Regex)>,
    key: Option<Regex>,
    assigned: Option<Regex>,
    url: Option<Regex>,
}

static COMPILED: LazyLock<Compiled> = LazyLock::new(|| Compiled {
    forms: FORMS
        .iter()
        .filter_map(|form| Some((form.what, Regex::new(form.regex).ok()?)))
        .collect(),
    key: Regex::new(KEY_BEGIN).ok(),
    assigned: Regex::new(ASSIGNED).ok(),
    url: Regex::new(URL).ok(),
});

/// Every secret of a text, in no particular order. In tests and documents only the certain forms are looked for.
pub fn find(text: &str, language: Language, role: Role) -> Vec<Secret> {
    let mut secrets = Vec::new();
    for (what, regex) in &COMPILED.forms {
        for found in regex.captures_iter(text) {
            let Some(group) = found.get(1).or_else(|| found.get(0)) else {
                continue;
            };
            if entropy(group.as_str()) >= 3.0 && !is_placeholder(group.as_str()) {
                secrets.push(Secret {
                    range: group.range(),
                    kind: Kind::Token,
                    what,
                });
            }
        }
    }
    secrets.extend(private_keys(text));
    // Tests and documents are full of made-up passwords.
    let made_up = role == Role::Test || matches!(language, Language::Markdown | Language::Markup | Language::Text);
    if !made_up {
        secrets.extend(assigned(text));
    }
    secrets.extend(urls(text));
    secrets
}

/// A key is a head line and a body that is long enough to be one; documentation shows heads without bodies.
fn private_keys(text: &str) -> Vec<Secret> {
    let Some(begin) = COMPILED.key.as_ref() else {
        return Vec::new();
    };
    let mut keys = Vec::new();
    for head in begin.find_iter(text) {
        let rest = text.get(head.end()..).unwrap_or_default();
        let end = rest.find("-----END").unwrap_or(rest.len().min(8_192));
        let body = rest.get(..end).unwrap_or_default();
        // In a string the line breaks are written `\n`.
        let solid: String = body
            .replace("\\n", "\n")
            .split_whitespace()
            .filter(|word| is_base64(word))
            .collect();
        if solid.len() >= 64 && entropy(&solid) >= 4.0 && !is_placeholder(&solid) {
            keys.push(Secret {
                range: head.start()..head.end() + end,
                kind: Kind::Key,
                what: "a private key",
            });
        }
    }
    keys
}

fn is_base64(word: &str) -> bool {
    word.len() >= 16
        && word
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+/=\"',".contains(&byte))
}

/// `password = "…"` where the value looks like one.
fn assigned(text: &str) -> Vec<Secret> {
    let Some(regex) = COMPILED.assigned.as_ref() else {
        return Vec::new();
    };
    let found = regex.captures_iter(text).filter_map(|found| {
        let (name, value) = (found.get(1)?, found.get(2)?);
        let password = name.as_str().to_ascii_lowercase().contains("pass");
        looks_random(value.as_str(), password).then(|| Secret {
            range: value.range(),
            kind: Kind::Credential,
            what: if password { "a password" } else { "a key" },
        })
    });
    found.collect()
}

/// `scheme://user:password@host`
fn urls(text: &str) -> Vec<Secret> {
    let Some(regex) = COMPILED.url.as_ref() else {
        return Vec::new();
    };
    let found = regex.captures_iter(text).filter_map(|found| {
        let (password, host) = (found.get(1)?, found.get(2)?);
        // A name without a dot is a machine on one's own network.
        let own = !host.as_str().contains('.') || host.as_str().contains("example") || host.as_str() == "127.0.0.1";
        (!own && looks_random(password.as_str(), true)).then(|| Secret {
            range: password.range(),
            kind: Kind::Credential,
            what: "a password in an address",
        })
    });
    found.collect()
}

/// Whether a value could come from a generator: not a word, a name, a path or a template.
fn looks_random(value: &str, password: bool) -> bool {
    let has = |test: fn(&char) -> bool| value.chars().any(|character| test(&character));
    let mixed = has(char::is_ascii_digit) && has(char::is_ascii_alphabetic);
    let template = ["${", "{{", "#{", "<", "%(", "$(", "%s", "{}", "://", "::", "->", "env."]
        .iter()
        .any(|mark| value.contains(mark));
    let name = value.starts_with(['$', '/', '.', '@', '#', '%', '-', '_'])
        || value
            .chars()
            .all(|character| character.is_ascii_lowercase() || matches!(character, '-' | '_' | '.' | '0'..='9'))
            && value.contains(['-', '_', '.']);
    let enough = if password { 3.0 } else { 3.5 };
    value.is_ascii() && mixed && !template && !name && entropy(value) >= enough && !is_placeholder(value)
}

const PLACEHOLDERS: [&str; 30] = [
    "example",
    "sample",
    "dummy",
    "fake",
    "placeholder",
    "changeme",
    "change_me",
    "your",
    "xxxx",
    "redacted",
    "secret",
    "todo",
    "foobar",
    "insert",
    "replace",
    "default",
    "password",
    "passwd",
    "1234567",
    "abcdef",
    "abc123",
    "aaaa",
    "0000000",
    "....",
    "****",
    "test",
    "mock",
    "deadbeef",
    "lorem",
    "notreal",
];

fn is_placeholder(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    // In a long random text three or four letters meet by chance; only the longer words tell there.
    let long = value.len() > 80;
    PLACEHOLDERS
        .iter()
        .filter(|word| !long || word.len() >= 7)
        .any(|word| lower.contains(word))
}

/// Bits per character, by the frequencies in the text itself.
fn entropy(text: &str) -> f64 {
    let mut counts = [0_u32; 256];
    for byte in text.bytes() {
        if let Some(count) = counts.get_mut(usize::from(byte)) {
            *count += 1;
        }
    }
    let total = f64::from(u32::try_from(text.len()).unwrap_or(u32::MAX));
    let bits = |count: &u32| {
        let share = f64::from(*count) / total;
        -share * share.log2()
    };
    counts.iter().filter(|count| **count > 0).map(bits).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_compiles() {
        assert_eq!(COMPILED.forms.len(), FORMS.len());
        assert!(COMPILED.key.is_some() && COMPILED.assigned.is_some() && COMPILED.url.is_some());
    }

    #[test]
    fn entropy_in_bits() {
        assert_eq!(entropy(""), 0.0);
        assert_eq!(entropy("aaaa"), 0.0);
        assert_eq!(entropy("abab"), 1.0);
        assert!(entropy("k7Q2mZ9xW4pL") > 3.5);
    }
}
