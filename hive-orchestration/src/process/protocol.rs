//! What is said on the pipes: one JSON object a line.

use std::time::Duration;

use hive_core::payload::Payload;
use hive_errors::{ErrorKind, Failure};
use serde::{Deserialize, Deserializer, Serialize};

use crate::context::Effect;
use crate::limits;

/// Grows when a program of before would misunderstand.
pub(super) const VERSION: u32 = 1;

/// What the hive says.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum ToChild<'a> {
    Task {
        id: &'a str,
        task: String,
        root: String,
        tenant: &'a str,
        agent: &'a str,
        attempt: u32,
        deadline_ms: u64,
        input: &'a Payload,
    },
    Cancel {
        id: &'a str,
    },
    Reply {
        id: &'a str,
        call: u64,
        #[serde(flatten)]
        answer: Answer,
    },
}

/// The answer to a question about a step.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Answer {
    Found { found: bool, output: Payload },
    Missing { found: bool },
    Stored { stored: bool },
    Refused { error: Refusal },
}

#[derive(Debug, Serialize)]
pub(super) struct Refusal {
    code: &'static str,
    message: String,
}

impl Answer {
    pub(super) fn refused(failure: &Failure) -> Self {
        Self::Refused {
            error: Refusal {
                code: failure.kind().code(),
                message: failure.to_string(),
            },
        }
    }
}

impl ToChild<'_> {
    /// The line, its end included.
    ///
    /// # Failures
    /// None that is known: everything in it has a JSON form.
    pub(super) fn line(&self) -> Result<Vec<u8>, Failure> {
        let mut line = serde_json::to_vec(self)
            .map_err(|error| Failure::from(error).with_kind(ErrorKind::Internal).into_terminal())?;
        line.push(b'\n');
        Ok(line)
    }
}

/// What a child says.
#[derive(Debug)]
pub(super) enum FromChild {
    Hello {
        protocol: u32,
        agents: Vec<String>,
    },
    Log {
        id: Option<String>,
        level: Level,
        message: String,
    },
    /// Something about a task.
    Of {
        id: String,
        said: Said,
    },
}

#[derive(Debug)]
pub(super) enum Said {
    Progress {
        done: u64,
        total: u64,
        note: String,
    },
    StepGet {
        call: u64,
        name: String,
        effect: Effect,
    },
    StepPut {
        call: u64,
        name: String,
        outcome: Result<Payload, Failure>,
    },
    Output(Payload),
    Failure(Failure),
}

impl Said {
    /// Whether the task is over with this.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::Output(_) | Self::Failure(_) => true,
            Self::Progress { .. } | Self::StepGet { .. } | Self::StepPut { .. } => false,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

/// A line that is no message.
#[derive(Debug)]
pub(super) struct Garbage {
    pub(super) why: String,
    /// Its beginning.
    pub(super) line: String,
}

impl Garbage {
    pub(super) fn new(why: impl Into<String>, line: &[u8]) -> Self {
        Self {
            why: why.into(),
            line: quote(line),
        }
    }
}

/// The beginning of it, fit for one line of a log.
fn quote(line: &[u8]) -> String {
    let start = line.get(..limits::PROCESS_QUOTE_BYTES).unwrap_or(line);
    let shown = String::from_utf8_lossy(start).escape_debug().to_string();
    if start.len() < line.len() {
        format!("{shown}… [cut, {} bytes]", line.len())
    } else {
        shown
    }
}

/// All fields of all messages. Not an enum with a tag, because a payload is kept as the text it is, which serde cannot do
/// below a tag that may come last.
#[derive(Deserialize)]
struct Line {
    #[serde(rename = "type")]
    kind: String,
    id: Option<String>,
    protocol: Option<u32>,
    agents: Option<Vec<String>>,
    call: Option<u64>,
    name: Option<String>,
    effect: Option<StepEffect>,
    done: Option<u64>,
    total: Option<u64>,
    note: Option<String>,
    #[serde(default, deserialize_with = "present")]
    output: Option<Payload>,
    failure: Option<FailureLine>,
    level: Option<Level>,
    message: Option<String>,
    retryable: Option<bool>,
    code: Option<String>,
    retry_after_ms: Option<u64>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum StepEffect {
    Repeatable,
    AtMostOnce,
}

#[derive(Deserialize)]
struct FailureLine {
    message: String,
    retryable: Option<bool>,
    code: Option<String>,
    retry_after_ms: Option<u64>,
}

/// An output may be `null`, which is not the same as none.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Payload>, D::Error> {
    Payload::deserialize(deserializer).map(Some)
}

impl FromChild {
    /// Reads a line.
    ///
    /// # Errors
    /// Why it is no message, and how it begins.
    pub(super) fn parse(text: &[u8]) -> Result<Self, Garbage> {
        let garbage = |why: String| Garbage::new(why, text);
        let line: Line = serde_json::from_slice(text).map_err(|error| garbage(error.to_string()))?;
        line.read().map_err(garbage)
    }
}

impl Line {
    fn read(self) -> Result<FromChild, String> {
        let Self {
            kind,
            id,
            protocol,
            agents,
            call,
            name,
            effect,
            done,
            total,
            note,
            output,
            failure,
            level,
            message,
            retryable,
            code,
            retry_after_ms,
        } = self;
        let missing = |field: &str| format!("a message of type `{kind}` needs `{field}`");
        let said = match kind.as_str() {
            "hello" => {
                return Ok(FromChild::Hello {
                    protocol: protocol.ok_or_else(|| missing("protocol"))?,
                    agents: agents.ok_or_else(|| missing("agents"))?,
                });
            }
            "log" => {
                return Ok(FromChild::Log {
                    id,
                    level: level.unwrap_or_default(),
                    message: message.ok_or_else(|| missing("message"))?,
                });
            }
            "progress" => Said::Progress {
                done: done.ok_or_else(|| missing("done"))?,
                total: total.ok_or_else(|| missing("total"))?,
                note: note.unwrap_or_default(),
            },
            "step.get" => Said::StepGet {
                call: call.ok_or_else(|| missing("call"))?,
                name: name.ok_or_else(|| missing("name"))?,
                effect: match effect {
                    None | Some(StepEffect::Repeatable) => Effect::Repeatable,
                    Some(StepEffect::AtMostOnce) => Effect::AtMostOnce,
                },
            },
            "step.put" => Said::StepPut {
                call: call.ok_or_else(|| missing("call"))?,
                name: name.ok_or_else(|| missing("name"))?,
                outcome: match (output, failure) {
                    (Some(output), None) => Ok(output),
                    (None, Some(failure)) => Err(failure.read()),
                    (None, None) | (Some(_), Some(_)) => return Err(missing("output` or `failure")),
                },
            },
            "output" => Said::Output(output.ok_or_else(|| missing("output"))?),
            "failure" => {
                let message = message.ok_or_else(|| missing("message"))?;
                let failure = FailureLine {
                    message,
                    retryable,
                    code,
                    retry_after_ms,
                };
                Said::Failure(failure.read())
            }
            other => return Err(format!("there is no message of type `{:.40}`", other.escape_debug())),
        };
        let id = id.ok_or_else(|| missing("id"))?;
        Ok(FromChild::Of { id, said })
    }
}

impl FailureLine {
    /// As an agent's own: it may be tried again unless it says otherwise.
    fn read(self) -> Failure {
        let mut failure = if self.retryable.unwrap_or(true) {
            Failure::retryable(self.message)
        } else {
            Failure::terminal(self.message)
        };
        if let Some(code) = self.code {
            failure = match ErrorKind::from_code(&code) {
                Some(kind) => failure.with_kind(kind),
                None => failure.with("code", code),
            };
        }
        match self.retry_after_ms {
            Some(ms) => failure.with_retry_after(Duration::from_millis(ms)),
            None => failure,
        }
    }
}
