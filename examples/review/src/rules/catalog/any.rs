//! The rules for any language and for the change as a whole.

use crate::finding::{Concern, Severity};
use crate::language::Language;
use crate::rules::{Applies, Rule};

const JS: &[Language] = &[Language::JavaScript, Language::TypeScript];
const SCRIPTS: &[Language] = &[Language::Shell, Language::Dockerfile, Language::Make, Language::Yaml];
const PYTHON: &[Language] = &[Language::Python];
const YAML: &[Language] = &[Language::Yaml];
const C_FAMILY: &[Language] = &[Language::C, Language::Cpp];
const DYNAMIC: &[Language] = &[
    Language::Python,
    Language::JavaScript,
    Language::TypeScript,
    Language::Ruby,
    Language::Php,
];

pub(crate) static MERGE_CONFLICT: Rule = Rule {
    id: "merge-conflict",
    title: "Merge conflict left in the file",
    concern: Concern::Correctness,
    severity: Severity::High,
    why: "Conflict markers are no code: the file does not build, or shows both versions to its readers.",
    fix: "Choose one side, or merge both by hand, and remove the markers.",
    reference: Some("https://git-scm.com/docs/git-merge#_how_conflicts_are_presented"),
    applies: Applies::Any,
};
pub(crate) static PRIVATE_KEY: Rule = Rule {
    id: "private-key",
    title: "Private key in the repository",
    concern: Concern::Security,
    severity: Severity::Critical,
    why: "Whoever can read the repository, now or in its history, can act as the owner of the key.",
    fix: "Revoke the key, take it out of the history, and keep its successor in a secret store.",
    reference: Some("https://cwe.mitre.org/data/definitions/321.html"),
    applies: Applies::Any,
};
pub(crate) static SECRET_TOKEN: Rule = Rule {
    id: "secret-token",
    title: "Access token in the repository",
    concern: Concern::Security,
    severity: Severity::Critical,
    why: "The token has the form its service gives out; whoever can read the repository can use it.",
    fix: "Revoke the token, and read its successor from the environment or a secret store.",
    reference: Some("https://cwe.mitre.org/data/definitions/798.html"),
    applies: Applies::Any,
};
pub(crate) static HARDCODED_CREDENTIAL: Rule = Rule {
    id: "hardcoded-credential",
    title: "Password or key written in the code",
    concern: Concern::Security,
    severity: Severity::High,
    why: "A credential in the code is known to every reader and cannot be changed without a release.",
    fix: "Change the credential, and read it from the environment or a secret store.",
    reference: Some("https://cwe.mitre.org/data/definitions/798.html"),
    applies: Applies::Any,
};
pub(crate) static HIDDEN_UNICODE: Rule = Rule {
    id: "hidden-unicode",
    title: "Characters that reorder the text",
    concern: Concern::Security,
    severity: Severity::High,
    why: "Bidirectional control characters make a reader see other code than the compiler does.",
    fix: "Remove the characters, or write them as escapes where the program needs them.",
    reference: Some("https://trojansource.codes/"),
    applies: Applies::Any,
};
pub(crate) static TLS_VERIFICATION_OFF: Rule = Rule {
    id: "tls-verification-off",
    title: "Certificates are not verified",
    concern: Concern::Security,
    severity: Severity::High,
    why: "Without verification anyone on the way can read and change the traffic.",
    fix: "Leave verification on; trust a private authority by adding its certificate instead.",
    reference: Some("https://cwe.mitre.org/data/definitions/295.html"),
    applies: Applies::Any,
};
pub(crate) static PIPE_TO_SHELL: Rule = Rule {
    id: "pipe-to-shell",
    title: "A download is run unseen",
    concern: Concern::Security,
    severity: Severity::Medium,
    why: "What the server sends is run at once: a break-in there, or a cut connection, runs something else here.",
    fix: "Download to a file, check a pinned checksum or signature, then run it.",
    reference: Some("https://cwe.mitre.org/data/definitions/494.html"),
    applies: Applies::Only(SCRIPTS),
};
pub(crate) static INSECURE_DOWNLOAD: Rule = Rule {
    id: "insecure-download",
    title: "A download without encryption",
    concern: Concern::Security,
    severity: Severity::Medium,
    why: "Anyone on the way can replace what is downloaded over plain HTTP.",
    fix: "Use https, or check a pinned checksum or signature.",
    reference: Some("https://cwe.mitre.org/data/definitions/494.html"),
    applies: Applies::Only(SCRIPTS),
};
pub(crate) static WORLD_WRITABLE: Rule = Rule {
    id: "world-writable",
    title: "Everyone may write the file",
    concern: Concern::Security,
    severity: Severity::Medium,
    why: "Any user or process on the machine can replace the content.",
    fix: "Give write permission to the owner or a group only.",
    reference: Some("https://cwe.mitre.org/data/definitions/732.html"),
    applies: Applies::Any,
};
pub(crate) static DYNAMIC_EVAL: Rule = Rule {
    id: "dynamic-eval",
    title: "Text is run as code",
    concern: Concern::Security,
    severity: Severity::Medium,
    why: "Whoever controls a part of the text controls the program.",
    fix: "Parse the data (`ast.literal_eval`, `JSON.parse`) or look the operation up in a table.",
    reference: Some("https://cwe.mitre.org/data/definitions/95.html"),
    applies: Applies::Only(DYNAMIC),
};
pub(crate) static SHELL_INJECTION: Rule = Rule {
    id: "shell-injection",
    title: "A shell command is put together from values",
    concern: Concern::Security,
    severity: Severity::High,
    why: "A space, a quote or a semicolon in a value becomes a part of the command.",
    fix: "Pass the program and its arguments as a list, without a shell.",
    reference: Some("https://cwe.mitre.org/data/definitions/78.html"),
    applies: Applies::Only(DYNAMIC),
};
pub(crate) static SQL_INJECTION: Rule = Rule {
    id: "sql-injection",
    title: "An SQL statement is put together from values",
    concern: Concern::Security,
    severity: Severity::High,
    why: "A quote in a value becomes a part of the statement.",
    fix: "Write placeholders into the statement and pass the values beside it.",
    reference: Some("https://cwe.mitre.org/data/definitions/89.html"),
    applies: Applies::Only(DYNAMIC),
};
pub(crate) static UNSAFE_DESERIALIZATION: Rule = Rule {
    id: "unsafe-deserialization",
    title: "Data is loaded in a way that can run code",
    concern: Concern::Security,
    severity: Severity::Medium,
    why: "These formats may name any class or function to call while they are read.",
    fix: "Use a plain data format such as JSON, or the safe loader (`yaml.safe_load`).",
    reference: Some("https://cwe.mitre.org/data/definitions/502.html"),
    applies: Applies::Only(DYNAMIC),
};
pub(crate) static C_UNSAFE_FUNCTION: Rule = Rule {
    id: "c-unsafe-function",
    title: "A C function that cannot know the size of its buffer",
    concern: Concern::Security,
    severity: Severity::Medium,
    why: "Input longer than the buffer overwrites what stands behind it.",
    fix: "Use the form that takes a size (`fgets`, `snprintf`, `strlcpy`) and check its result.",
    reference: Some("https://cwe.mitre.org/data/definitions/120.html"),
    applies: Applies::Only(C_FAMILY),
};
pub(crate) static WORKFLOW_INJECTION: Rule = Rule {
    id: "workflow-injection",
    title: "A build step runs text that strangers write",
    concern: Concern::Security,
    severity: Severity::High,
    why: "Titles, branch names and comments are pasted into the script before the shell reads it.",
    fix: "Put the value into `env:` and use the variable, quoted, in the script.",
    reference: Some(
        "https://docs.github.com/en/actions/security-for-github-actions/security-guides/security-hardening-for-github-actions",
    ),
    applies: Applies::Only(YAML),
};
pub(crate) static SWALLOWED_EXCEPTION: Rule = Rule {
    id: "swallowed-exception",
    title: "An exception is caught and dropped",
    concern: Concern::Correctness,
    severity: Severity::Medium,
    why: "The failure leaves no trace, and the program goes on with what it has not got.",
    fix: "Handle it, log it, or catch only the exception that is meant and say why it may be dropped.",
    reference: Some("https://cwe.mitre.org/data/definitions/390.html"),
    applies: Applies::Code,
};
pub(crate) static MUTABLE_DEFAULT: Rule = Rule {
    id: "mutable-default",
    title: "A default argument that remembers",
    concern: Concern::Correctness,
    severity: Severity::Medium,
    why: "Python makes the default once: every call shares and changes the same list or dict.",
    fix: "Use `None` as the default and make the list or dict inside the function.",
    reference: Some("https://docs.python.org/3/faq/programming.html#why-are-default-values-shared-between-objects"),
    applies: Applies::Only(PYTHON),
};
pub(crate) static ASSERT_ON_TUPLE: Rule = Rule {
    id: "assert-on-tuple",
    title: "An assertion that cannot fail",
    concern: Concern::Correctness,
    severity: Severity::High,
    why: "`assert (condition, message)` asserts a tuple, and a tuple with elements is always true.",
    fix: "Write `assert condition, message`.",
    reference: Some("https://docs.python.org/3/reference/simple_stmts.html#the-assert-statement"),
    applies: Applies::Only(PYTHON),
};
pub(crate) static DEBUG_LEFTOVER: Rule = Rule {
    id: "debug-leftover",
    title: "A debugging aid left in the code",
    concern: Concern::Correctness,
    severity: Severity::Medium,
    why: "It stops the program, or tells users what only its author wanted to know.",
    fix: "Remove it, or use the project's logging.",
    reference: Some("https://cwe.mitre.org/data/definitions/489.html"),
    applies: Applies::Code,
};
pub(crate) static FOCUSED_TEST: Rule = Rule {
    id: "focused-test",
    title: "A test that silences all others",
    concern: Concern::Tests,
    severity: Severity::High,
    why: "With one focused test the others are not run, and the suite is green.",
    fix: "Remove `.only` (or the leading `f`).",
    reference: None,
    applies: Applies::Only(JS),
};
pub(crate) static SKIPPED_TEST: Rule = Rule {
    id: "skipped-test",
    title: "A test is skipped without a reason",
    concern: Concern::Tests,
    severity: Severity::Low,
    why: "A skipped test protects nothing, and nobody knows when it may run again.",
    fix: "Mend or delete it, or say why it is skipped and until when.",
    reference: None,
    applies: Applies::Only(&[
        Language::JavaScript,
        Language::TypeScript,
        Language::Python,
        Language::Java,
    ]),
};
pub(crate) static TODO_WITHOUT_OWNER: Rule = Rule {
    id: "todo-without-owner",
    title: "A to-do that belongs to nobody",
    concern: Concern::Style,
    severity: Severity::Info,
    why: "A note without an owner or a ticket is read by many and done by none.",
    fix: "Name an owner or a ticket, as in `TODO(name)` or `TODO: #123`, or do it now.",
    reference: None,
    applies: Applies::Any,
};
pub(crate) static LONG_FILE: Rule = Rule {
    id: "long-file",
    title: "A very long file",
    concern: Concern::Style,
    severity: Severity::Low,
    why: "A file of this length holds several subjects, and changes to them collide.",
    fix: "Split it by subject.",
    reference: None,
    applies: Applies::Code,
};
pub(crate) static MIXED_LINE_ENDS: Rule = Rule {
    id: "mixed-line-ends",
    title: "Two kinds of line ends in one file",
    concern: Concern::Style,
    severity: Severity::Info,
    why: "Editors rewrite such files whole, and the change drowns in noise; some shells and parsers stumble.",
    fix: "Convert the file to one kind, and fix it in `.gitattributes`.",
    reference: Some("https://git-scm.com/docs/gitattributes#_text"),
    applies: Applies::Any,
};
pub(crate) static COMMITTED_ARTIFACT: Rule = Rule {
    id: "committed-artifact",
    title: "A build product in the repository",
    concern: Concern::Style,
    severity: Severity::Low,
    why: "It is out of date with the next change, and it swells every clone for ever.",
    fix: "Remove it with `git rm --cached` and name it in `.gitignore`.",
    reference: None,
    applies: Applies::Change,
};
pub(crate) static VOID_SUPPRESSION: Rule = Rule {
    id: "void-suppression",
    title: "A suppression that does nothing",
    concern: Concern::Style,
    severity: Severity::Low,
    why: "A suppression needs a known rule and a reason; otherwise a reader believes a finding was weighed that was not.",
    fix: "Write `review: allow(rule-id) reason`, with a rule from the list of rules.",
    reference: None,
    applies: Applies::Any,
};
pub(crate) static MISSING_TESTS: Rule = Rule {
    id: "missing-tests",
    title: "Code changed, tests did not",
    concern: Concern::Tests,
    severity: Severity::Medium,
    why: "Without a test nobody can tell whether the change does what it should, nor whether the next one breaks it.",
    fix: "Add a test that fails without the change.",
    reference: None,
    applies: Applies::Change,
};
pub(crate) static LARGE_CHANGE: Rule = Rule {
    id: "large-change",
    title: "A very large change",
    concern: Concern::Style,
    severity: Severity::Low,
    why: "Reviewers of large changes find less; a mistake in one hides in the mass.",
    fix: "Split it into steps that each make sense alone.",
    reference: Some("https://google.github.io/eng-practices/review/developer/small-cls.html"),
    applies: Applies::Change,
};
pub(crate) static GENERATED_IN_CHANGE: Rule = Rule {
    id: "generated-in-change",
    title: "Generated or binary files in the change",
    concern: Concern::Style,
    severity: Severity::Info,
    why: "They cannot be read, so they are not reviewed; what made them should be.",
    fix: "See that they belong here and say in the commit what made them.",
    reference: None,
    applies: Applies::Change,
};
