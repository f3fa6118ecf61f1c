//! What `claude --output-format=json` prints, and what it means.
//!
//! The result is read field by field from a tolerant `Value`: fields come and go between releases of the command line, and one
//! of another type must not lose an answer that was paid for.

use std::time::Duration;

use hive_errors::{Error, ErrorKind, Result};
use serde_json::{Value, json};

use super::NAME;
use super::process::Finished;
use crate::clock::Timestamp;
use crate::model::request::excerpt;
use crate::model::{Reply, StopReason, Usage};
use crate::payload::Schema;

/// What is asked for beside the prompt, in the form that the command line takes.
pub(super) struct Question {
    schema: Option<Value>,
    /// Whether the answer comes as the member `value` of an object.
    wrapped: bool,
}

impl Question {
    /// The model fills in the arguments of a tool, which must be an object: any other shape is wrapped into one.
    pub(super) fn new(schema: Option<&Schema>) -> Self {
        match schema.map(Schema::as_value) {
            None => Self {
                schema: None,
                wrapped: false,
            },
            Some(schema) if schema.get("type").is_some_and(|kind| kind == "object") => Self {
                schema: Some(schema.clone()),
                wrapped: false,
            },
            Some(schema) => Self {
                schema: Some(wrap(schema.clone())),
                wrapped: true,
            },
        }
    }

    pub(super) fn schema(&self) -> Option<&Value> {
        self.schema.as_ref()
    }

    /// The reply in what a process printed.
    pub(super) fn answer(&self, finished: &Finished, now: Timestamp) -> Result<Reply> {
        let lines = || finished.stdout.split(|byte| *byte == b'\n').filter_map(object);
        let Some(result) = lines().rfind(|line| get(line, "type") == "result") else {
            return Err(no_result(finished));
        };
        let cost_micro_usd = cost_micro_usd(&result);
        // Not `subtype`: a failed call to the API ends with the subtype `success`.
        match get(&result, "is_error").as_bool() {
            Some(false) => {}
            Some(true) => {
                let limit = lines()
                    .filter(|line| get(line, "type") == "rate_limit_event")
                    .filter_map(|line| resets_at(&line))
                    .next_back();
                let error = failure(&result, limit, now);
                return Err(match cost_micro_usd {
                    Some(cost) => error.with("cost_micro_usd", cost),
                    None => error,
                });
            }
            None => return Err(incomplete("is_error")),
        }
        let Some(cost_micro_usd) = cost_micro_usd else {
            return Err(incomplete("total_cost_usd"));
        };
        let text = get(&result, "result").as_str().unwrap_or_default();
        let mut reply = Reply::new(model(&result), text, usage(&result), cost_micro_usd).with_stop(stop(&result));
        if self.schema.is_some() {
            let structured = if self.wrapped {
                get(get(&result, "structured_output"), "value")
            } else {
                get(&result, "structured_output")
            };
            // A model that answers in prose instead is a success to the command line, but not to whoever asked for a shape.
            let absent =
                structured.is_null() && !(self.wrapped && get(&result, "structured_output").get("value").is_some());
            if absent {
                return Err(
                    Error::new(ErrorKind::ModelOutput, "the model gave no structured output")
                        .with("model", NAME)
                        .with("stop", format!("{:?}", reply.stop))
                        .with("text", excerpt(text))
                        .with("cost_micro_usd", cost_micro_usd),
                );
            }
            reply = reply.with_structured(structured.clone());
        }
        Ok(reply)
    }
}

/// Puts `schema` into an object as its member `value`, with references that still lead where they did.
fn wrap(mut schema: Value) -> Value {
    let definitions = schema.as_object_mut().and_then(|keywords| keywords.remove("$defs"));
    redirect(&mut schema);
    let mut wrapper = json!({ "type": "object", "properties": { "value": schema }, "required": ["value"], "additionalProperties": false });
    if let (Some(mut definitions), Some(wrapper)) = (definitions, wrapper.as_object_mut()) {
        redirect(&mut definitions);
        wrapper.insert("$defs".to_owned(), definitions);
    }
    wrapper
}

/// Points references to the root at where the root went.
fn redirect(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                if key == "$ref" && member == "#" {
                    *member = "#/properties/value".into();
                } else {
                    redirect(member);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(redirect),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Whether this line is the result. Other lines may be anything: warnings of the runtime, messages of other types.
pub(super) fn is_result(line: &[u8]) -> bool {
    object(line).is_some_and(|line| get(&line, "type") == "result")
}

/// A member of an object; null when there is none.
fn get<'a>(object: &'a Value, name: &str) -> &'a Value {
    static NULL: Value = Value::Null;
    object.get(name).unwrap_or(&NULL)
}

fn object(line: &[u8]) -> Option<Value> {
    let line = line.trim_ascii();
    if line.first() != Some(&b'{') {
        return None;
    }
    serde_json::from_slice(line).ok()
}

fn no_result(finished: &Finished) -> Error {
    let complaint = String::from_utf8_lossy(&finished.stderr);
    let complaint = complaint.trim();
    // The end says what went wrong; before it stand traces.
    let end = complaint
        .char_indices()
        .rev()
        .nth(crate::limits::MODEL_EXCERPT_CHARS)
        .map_or(0, |(start, _)| start);
    let error = match finished.code {
        Some(0) => Error::new(ErrorKind::ModelOutput, "claude printed no result")
            .with("stdout", excerpt(&String::from_utf8_lossy(&finished.stdout))),
        Some(code) => Error::new(ErrorKind::Model, "claude failed").with("code", code),
        None => Error::new(ErrorKind::Model, "claude was killed"),
    };
    let error = error
        .with("model", NAME)
        .with("stderr", complaint.get(end..).unwrap_or_default());
    if complaint.contains("unknown option") {
        return error
            .with_hint("update Claude Code: this release does not know an option that is needed")
            .terminal();
    }
    error
}

fn incomplete(field: &'static str) -> Error {
    Error::new(ErrorKind::ModelOutput, "the result of claude lacks a field")
        .with("model", NAME)
        .with("field", field)
        .with_hint("use a release of Claude Code that reports it")
        .terminal()
}

/// What went wrong, by what the result says.
fn failure(result: &Value, limit_resets: Option<Timestamp>, now: Timestamp) -> Error {
    let reason = get(result, "terminal_reason").as_str().unwrap_or_default();
    let subtype = get(result, "subtype").as_str().unwrap_or_default();
    let status = get(result, "api_error_status").as_u64();
    let text = message(result);

    let (kind, what) = match (reason, subtype) {
        ("budget_exhausted", _) | (_, "error_max_budget_usd") => {
            (ErrorKind::BudgetExhausted, "claude reached its budget")
        }
        ("prompt_too_long", _) => (ErrorKind::InvalidInput, "the prompt is too long for the model"),
        ("structured_output_retry_exhausted", _) | (_, "error_max_structured_output_retries") => (
            ErrorKind::ModelOutput,
            "the model did not manage to answer in the shape asked for",
        ),
        _ => (ErrorKind::Model, "claude failed"),
    };
    let mut error = Error::new(kind, what)
        .with("model", NAME)
        .with("message", excerpt(&text));
    for (field, value) in [("reason", reason), ("subtype", subtype)] {
        if !value.is_empty() {
            error = error.with(field, value);
        }
    }
    if let Some(status) = status {
        error = error.with("status", status);
    }
    if kind != ErrorKind::Model {
        return error;
    }
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let limited = status == Some(429) || says(&["limit reached", "hit your limit", "rate limit"]);
    if limited {
        // Waiting helps; how long is known only if someone said so.
        let resets = limit_resets
            .or_else(|| resets_in(&text))
            .map(|at| at.since(now))
            .filter(|wait| !wait.is_zero());
        let error = error
            .retryable()
            .with_hint("wait until the limit resets, call less often, or use another plan");
        return match resets {
            Some(wait) => error.with_retry_after(wait),
            None => error,
        };
    }
    if matches!(status, Some(401 | 403)) || says(&["Not logged in", "Please run /login", "Invalid API key"]) {
        return error
            .terminal()
            .with_hint("run `claude` once and log in with /login, or set ANTHROPIC_API_KEY");
    }
    match status {
        // The request itself is at fault, apart from timeouts and conflicts between requests.
        Some(408 | 409) => error,
        Some(400..=499) => error
            .terminal()
            .with_hint("correct the request: the model's name, the prompt or the schema"),
        Some(_) | None => error,
    }
}

/// What the result says in words.
fn message(result: &Value) -> String {
    let errors = get(result, "errors").as_array().into_iter().flatten();
    let errors: Vec<&str> = errors.filter_map(Value::as_str).collect();
    match get(result, "result").as_str() {
        Some(text) if !text.is_empty() => text.to_owned(),
        Some(_) | None => errors.join("; "),
    }
}

/// When a limit resets, from an event such as `{"type":"rate_limit_event","rate_limit_info":{"status":"rejected","resetsAt":…}}`.
fn resets_at(event: &Value) -> Option<Timestamp> {
    let info = if get(event, "rate_limit_info").is_object() {
        get(event, "rate_limit_info")
    } else {
        event
    };
    if get(info, "status") != "rejected" {
        return None;
    }
    seconds(get(info, "resetsAt").as_i64()?)
}

/// When a limit resets, from a message such as `Claude AI usage limit reached|1760000400`.
fn resets_in(text: &str) -> Option<Timestamp> {
    seconds(text.rsplit_once('|')?.1.trim().parse().ok()?)
}

fn seconds(since_epoch: i64) -> Option<Timestamp> {
    let since_epoch = u64::try_from(since_epoch).ok()?;
    Some(Timestamp::EPOCH + Duration::from_secs(since_epoch))
}

/// The cost of all models that took part; `None` when the result does not say.
fn cost_micro_usd(result: &Value) -> Option<u64> {
    let models = get(result, "modelUsage")
        .as_object()
        .filter(|models| !models.is_empty());
    // `usage` and the total may cover the main loop only, so what each model cost comes first.
    let sum = models.and_then(|models| {
        models
            .values()
            .map(|model| get(model, "costUSD").as_f64())
            .sum::<Option<f64>>()
    });
    micro_usd(sum.or_else(|| get(result, "total_cost_usd").as_f64())?)
}

/// Rounded up, so that a sum of many never falls short of what is charged; a billionth is rounding noise.
fn micro_usd(usd: f64) -> Option<u64> {
    if !usd.is_finite() || usd < 0.0 {
        return None;
    }
    // A float beyond u64 saturates in the conversion, and no bill is that high.
    Some((usd * 1e6 - 1e-3).ceil().max(0.0) as u64)
}

fn usage(result: &Value) -> Usage {
    let count = |of: &Value, name: &str| get(of, name).as_u64().unwrap_or(0);
    match get(result, "modelUsage")
        .as_object()
        .filter(|models| !models.is_empty())
    {
        Some(models) => models.values().fold(Usage::default(), |sum, model| {
            sum.plus(Usage {
                input_tokens: count(model, "inputTokens"),
                output_tokens: count(model, "outputTokens"),
                cache_read_tokens: count(model, "cacheReadInputTokens"),
                cache_write_tokens: count(model, "cacheCreationInputTokens"),
            })
        }),
        None => {
            let usage = get(result, "usage");
            Usage {
                input_tokens: count(usage, "input_tokens"),
                output_tokens: count(usage, "output_tokens"),
                cache_read_tokens: count(usage, "cache_read_input_tokens"),
                cache_write_tokens: count(usage, "cache_creation_input_tokens"),
            }
        }
    }
}

/// The model that wrote the most; small helpers may have taken part.
fn model(result: &Value) -> String {
    let models = get(result, "modelUsage").as_object().into_iter().flatten();
    let main = models.max_by_key(|(_, usage)| get(usage, "outputTokens").as_u64().unwrap_or(0));
    main.map_or(NAME, |(name, usage)| {
        get(usage, "canonicalModel").as_str().unwrap_or(name)
    })
    .to_owned()
}

fn stop(result: &Value) -> StopReason {
    match get(result, "stop_reason").as_str() {
        // Structured output ends with the use of a tool.
        None | Some("end_turn" | "tool_use") => StopReason::End,
        Some("max_tokens") => StopReason::Length,
        Some("stop_sequence") => StopReason::StopSequence,
        Some("refusal") => StopReason::Refusal,
        Some(other) => StopReason::Other(other.to_owned()),
    }
}
