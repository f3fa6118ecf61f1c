use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command as StdCommand, Stdio};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::super::{ModelHandle, StopReason, Usage};
use super::process::Finished;
use super::*;
use crate::clock::{ManualClock, Timestamp};
use crate::limits::{CLAUDE_EXIT_GRACE, CLAUDE_STDERR_BYTES_KEPT, MODEL_TIMEOUT_DEFAULT};
use crate::payload::Schema;

/// A folder with a program `claude` that does what the script says; `$DIR` is the folder, `$DIR/out` holds `output`.
struct Fake {
    folder: TempDir,
    clock: ManualClock,
}

impl Fake {
    fn new(script: &str, output: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("out"), output).unwrap();
        let text = format!("#!/bin/sh\nDIR='{}'\n{script}\n", folder.path().display());
        write_program(&folder.path().join("claude"), &text);
        Self {
            folder,
            clock: ManualClock::new(Timestamp::EPOCH),
        }
    }

    /// Reads its input and prints this result.
    fn answering(result: &Value) -> Self {
        Self::new("cat > \"$DIR/in\"\ncat \"$DIR/out\"", &format!("{result}\n"))
    }

    fn claude(&self) -> Claude {
        Claude::at(self.folder.path().join("claude")).with_clock(Arc::new(self.clock.clone()))
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    /// Makes a pipe `$DIR/alive`. A script opens it for writing and says one line; the first receiver hears of that line,
    /// the second of the end, which comes when the last process that inherited the pipe is gone.
    fn watch(&self) -> (oneshot::Receiver<()>, oneshot::Receiver<()>) {
        let path = self.folder.path().join("alive");
        assert!(StdCommand::new("mkfifo").arg(&path).status().unwrap().success());
        let ((started, has_started), (gone, is_gone)) = (oneshot::channel(), oneshot::channel());
        std::thread::spawn(move || {
            let mut pipe = BufReader::new(fs::File::open(path).unwrap());
            pipe.read_line(&mut String::new()).unwrap();
            let _ = started.send(());
            pipe.read_to_end(&mut Vec::new()).unwrap();
            let _ = gone.send(());
        });
        (has_started, is_gone)
    }
}

/// Written by another process: while this one held the file open, a process that another test starts at that moment would
/// inherit the handle, and the system refuses to run a program that is open for writing.
fn write_program(path: &Path, text: &str) {
    let script = "printf '%s' \"$1\" > \"$2\" && chmod +x \"$2\"";
    let status = StdCommand::new("sh")
        .args(["-c", script, "sh", text])
        .arg(path)
        .stdin(Stdio::null())
        .status();
    assert!(status.unwrap().success());
}

fn success() -> Value {
    json!({
        "type": "result", "subtype": "success", "is_error": false, "result": "Paris", "stop_reason": "end_turn",
        "total_cost_usd": 0.5, "usage": {"input_tokens": 1, "output_tokens": 1},
        "modelUsage": {
            "claude-big": {"inputTokens": 10, "outputTokens": 200, "cacheReadInputTokens": 3, "cacheCreationInputTokens": 4, "costUSD": 0.000105},
            "claude-small": {"inputTokens": 5, "outputTokens": 1, "costUSD": 0.0000001},
        },
    })
}

fn with(mut base: Value, changes: Value) -> Value {
    for (key, value) in changes.as_object().unwrap() {
        base[key] = value.clone();
    }
    base
}

#[derive(Debug, PartialEq, Deserialize, JsonSchema)]
struct Verdict {
    approved: bool,
}

#[tokio::test]
async fn an_answer_with_its_usage_and_cost() {
    let fake = Fake::answering(&success());
    let reply = fake
        .claude()
        .complete(Request::new("capital of France?"))
        .await
        .unwrap();
    assert_eq!(
        (reply.text.as_str(), reply.model.as_str(), reply.structured),
        ("Paris", "claude-big", None)
    );
    assert_eq!(
        reply.usage,
        Usage {
            input_tokens: 15,
            output_tokens: 201,
            cache_read_tokens: 3,
            cache_write_tokens: 4
        }
    );
    // The models' own cost and not the total, each ten-millionth rounded up in the end.
    assert_eq!((reply.cost_micro_usd, reply.stop), (106, StopReason::End));
    assert_eq!(fake.read("in"), "capital of France?");
}

#[tokio::test]
async fn the_process_is_isolated_and_told_everything() {
    let script = "printf '%s\\n' \"$@\" > \"$DIR/args\"\nenv > \"$DIR/env\"\npwd > \"$DIR/pwd\"\ncat > \"$DIR/in\"\ncat \"$DIR/out\"";
    let fake = Fake::new(
        script,
        &with(success(), json!({"structured_output": {"approved": true}})).to_string(),
    );
    // The variable is set by way of the handle under test, which then must not pass it on from its own environment.
    let claude = fake
        .claude()
        .with_model("haiku")
        .with_env("ANTHROPIC_API_KEY", Secret::new("hunter2".to_owned()));
    let request = Request::new("--dangerous\nflag?")
        .with_system("--be kind\n")
        .with_schema(Schema::of::<Verdict>())
        .with_max_output_tokens(99);
    let reply = claude.complete(request).await.unwrap();
    assert_eq!(reply.decode::<Verdict>().unwrap(), Verdict { approved: true });

    let args = fake.read("args");
    let (before, schema) = args.trim_end().split_once("--json-schema=").unwrap();
    let expected = "-p\n--output-format=json\n--setting-sources=\n--strict-mcp-config\n--no-session-persistence\n--tools=\n\
                    --model=haiku\n--system-prompt=--be kind\n\n";
    assert_eq!(before, expected);
    assert_eq!(
        serde_json::from_str::<Value>(schema).unwrap(),
        *Schema::of::<Verdict>().as_value()
    );
    assert_eq!(fake.read("in"), "--dangerous\nflag?");
    assert_eq!(fake.read("pwd"), "/\n");

    let env = fake.read("env");
    for line in [
        "ANTHROPIC_API_KEY=hunter2",
        "CLAUDE_CODE_MAX_OUTPUT_TOKENS=99",
        "DISABLE_AUTOUPDATER=1",
        "DISABLE_TELEMETRY=1",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1",
    ] {
        assert!(env.lines().any(|known| known == line), "{line} is missing in {env}");
    }
    assert!(!format!("{claude:?}").contains("hunter2"), "{claude:?}");
}

#[test]
fn the_mark_of_a_claude_around_us_is_taken_away() {
    let command = Claude::at("/x")
        .command(&Request::new("a"), &Question::new(None))
        .unwrap();
    let removed: Vec<_> = command
        .as_std()
        .get_envs()
        .filter(|(_, value)| value.is_none())
        .map(|(name, _)| name)
        .collect();
    assert_eq!(removed, ["CLAUDECODE"]);
}

#[tokio::test]
async fn values_that_cannot_be_arguments_are_refused_before_anything_runs() {
    let claude = Claude::at("/nowhere/claude");
    let check = async |claude: Claude, request: Request, kind: ErrorKind, argument: &str| {
        let error = claude.complete(request).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.field("argument")),
            (kind, Some(argument)),
            "{error}"
        );
    };
    check(
        claude.clone().with_model("a\nb"),
        Request::new("x"),
        ErrorKind::InvalidInput,
        "--model",
    )
    .await;
    check(
        claude.clone(),
        Request::new("x").with_system("a\0b"),
        ErrorKind::InvalidInput,
        "--system-prompt",
    )
    .await;
    let large = "x".repeat(CLAUDE_ARGUMENT_BYTES_MAX + 1);
    check(
        claude.clone(),
        Request::new("x").with_system(large),
        ErrorKind::PayloadTooLarge,
        "--system-prompt",
    )
    .await;
    assert!(
        claude
            .complete(Request::new(""))
            .await
            .unwrap_err()
            .message()
            .contains("empty")
    );
}

#[tokio::test]
async fn other_lines_are_passed_over() {
    let output = format!(
        "warning: something\n\n{{broken\n{{\"type\":\"system\",\"subtype\":\"ui_invalidate\"}}\n[1]\n{}",
        with(success(), json!({"unheard_of": [1, 2]}))
    );
    let fake = Fake::new("cat \"$DIR/out\"", &output);
    assert_eq!(fake.claude().complete(Request::new("x")).await.unwrap().text, "Paris");
}

#[tokio::test]
async fn a_large_prompt_and_a_large_answer_do_not_block_each_other() {
    // More than a pipe holds in both directions, and the answer is printed before the prompt is read.
    let answer = "y".repeat(1 << 20);
    let fake = Fake::new(
        "cat \"$DIR/out\"\nprintf '\\n'\ncat > \"$DIR/in\"",
        &format!(
            "#{}\n{}",
            "x".repeat(1 << 20),
            with(success(), json!({"result": answer}))
        ),
    );
    let reply = fake.claude().complete(Request::new("z".repeat(1 << 20))).await.unwrap();
    assert_eq!(reply.text.len(), 1 << 20);
}

#[tokio::test]
async fn a_process_that_does_not_read_its_input_may_answer() {
    let fake = Fake::new("exec 0<&-\ncat \"$DIR/out\"", &success().to_string());
    assert_eq!(
        fake.claude()
            .complete(Request::new("z".repeat(1 << 20)))
            .await
            .unwrap()
            .text,
        "Paris"
    );
}

#[tokio::test]
async fn structured_output_of_any_shape() {
    // What is no object is asked for, and comes, as a member of one.
    let check = async |schema: Schema, structured: Value, expected: Value| {
        let fake = Fake::answering(&with(success(), json!({"structured_output": structured})));
        let reply = fake
            .claude()
            .complete(Request::new("x").with_schema(schema))
            .await
            .unwrap();
        assert_eq!(reply.structured, Some(expected));
    };
    check(
        Schema::of::<Verdict>(),
        json!({"approved": false}),
        json!({"approved": false}),
    )
    .await;
    check(Schema::of::<Vec<u8>>(), json!({"value": [1]}), json!([1])).await;
    check(Schema::of::<Option<bool>>(), json!({"value": null}), Value::Null).await;
    let fake = Fake::answering(&with(success(), json!({"structured_output": {"value": [1, 2]}})));
    assert_eq!(
        ModelHandle::new(fake.claude())
            .extract::<Vec<u8>>("numbers")
            .await
            .unwrap(),
        [1, 2]
    );
}

#[tokio::test]
async fn missing_structured_output_is_a_failure_although_it_says_success() {
    for (schema, result) in [
        (Schema::of::<Verdict>(), success()),
        (
            Schema::of::<Verdict>(),
            with(success(), json!({"structured_output": null})),
        ),
        (Schema::of::<bool>(), with(success(), json!({"structured_output": {}}))),
    ] {
        let error = Fake::answering(&result)
            .claude()
            .complete(Request::new("x").with_schema(schema))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ModelOutput, "{error}");
        assert_eq!(
            (error.field("text"), error.field("cost_micro_usd")),
            (Some("Paris"), Some("106"))
        );
    }
}

#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is looked at")]
enum Expression {
    Number(f64),
    Sum(Vec<Expression>),
    Named(Name),
}

#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is looked at")]
struct Name {
    text: String,
}

#[test]
fn references_still_lead_somewhere_when_a_schema_is_wrapped() {
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
                members.values().for_each(|member| references(member, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let schema = Schema::of::<Expression>();
    let question = Question::new(Some(&schema));
    let wrapped = question.schema().unwrap();
    assert_eq!(wrapped["type"], "object");
    let mut found = Vec::new();
    references(wrapped, &mut found);
    assert!(found.len() >= 2, "{wrapped}");
    for reference in found {
        let target = wrapped.pointer(reference.strip_prefix('#').unwrap());
        assert!(
            target.is_some_and(|target| target != wrapped),
            "{reference} leads nowhere in {wrapped}"
        );
    }
}

fn finished(lines: &str) -> Finished {
    Finished {
        code: Some(1),
        stdout: lines.as_bytes().to_vec(),
        stderr: Vec::new(),
    }
}

#[test]
fn failures_are_told_apart() {
    let now = Timestamp::EPOCH + Duration::from_secs(1_000);
    let fail = |changes: Value, before: &str| {
        let base = json!({"type": "result", "subtype": "success", "is_error": true, "total_cost_usd": 0.25});
        Question::new(None)
            .answer(&finished(&format!("{before}\n{}\n", with(base, changes))), now)
            .unwrap_err()
    };
    let check = |changes: Value, kind: ErrorKind, retryable: bool| {
        let error = fail(changes.clone(), "");
        assert_eq!(
            (error.kind(), error.is_retryable()),
            (kind, retryable),
            "{changes}: {error}"
        );
        assert_eq!(
            error.field("cost_micro_usd"),
            Some("250000"),
            "a failure may have cost something"
        );
        error
    };
    let api =
        |status: Value, text: &str| json!({"terminal_reason": "api_error", "api_error_status": status, "result": text});

    let error = check(api(json!(400), "bad model"), ErrorKind::Model, false);
    assert_eq!(
        (error.field("status"), error.field("message")),
        (Some("400"), Some("bad model"))
    );
    check(api(json!(404), ""), ErrorKind::Model, false);
    check(api(json!(408), ""), ErrorKind::Model, true);
    check(api(json!(500), ""), ErrorKind::Model, true);
    check(api(json!(529), "overloaded"), ErrorKind::Model, true);
    check(api(Value::Null, "connection reset"), ErrorKind::Model, true);
    let error = check(
        api(Value::Null, "Not logged in · Please run /login"),
        ErrorKind::Model,
        false,
    );
    assert!(error.hint().contains("/login"));
    check(api(json!(401), ""), ErrorKind::Model, false);

    let error = check(api(json!(429), "slow down"), ErrorKind::Model, true);
    assert_eq!(error.retry_after(), None);
    let error = check(
        api(Value::Null, "Claude AI usage limit reached|1600"),
        ErrorKind::Model,
        true,
    );
    assert_eq!(error.retry_after(), Some(Duration::from_secs(600)));
    let error = check(api(json!(429), "limit reached|900"), ErrorKind::Model, true);
    assert_eq!(error.retry_after(), None, "a time that has passed is no reason to wait");
    for event in [
        json!({"type": "rate_limit_event", "status": "rejected", "resetsAt": 1_030}),
        json!({"type": "rate_limit_event", "rate_limit_info": {"status": "rejected", "resetsAt": 1_030}}),
    ] {
        assert_eq!(
            fail(api(json!(429), ""), &event.to_string()).retry_after(),
            Some(Duration::from_secs(30))
        );
    }
    let warning = json!({"type": "rate_limit_event", "status": "allowed_warning", "resetsAt": 1_030}).to_string();
    assert_eq!(fail(api(json!(429), ""), &warning).retry_after(), None);

    let error = check(
        json!({"subtype": "error_max_budget_usd", "terminal_reason": "budget_exhausted", "errors": ["Reached maximum budget", 7]}),
        ErrorKind::BudgetExhausted,
        false,
    );
    assert_eq!(error.field("message"), Some("Reached maximum budget"));
    check(
        json!({"terminal_reason": "prompt_too_long"}),
        ErrorKind::InvalidInput,
        false,
    );
    check(
        json!({"subtype": "error_max_structured_output_retries"}),
        ErrorKind::ModelOutput,
        true,
    );
    check(json!({"subtype": "error_of_tomorrow"}), ErrorKind::Model, true);
}

#[test]
fn a_result_that_does_not_say_what_counts_is_refused() {
    let check = |gone: &[&str], field: &str| {
        let mut result = success();
        gone.iter()
            .for_each(|name| drop(result.as_object_mut().unwrap().remove(*name)));
        let error = Question::new(None)
            .answer(&finished(&result.to_string()), Timestamp::EPOCH)
            .unwrap_err();
        assert_eq!(
            (error.kind(), error.field("field")),
            (ErrorKind::ModelOutput, Some(field))
        );
    };
    check(&["is_error"], "is_error");
    check(&["total_cost_usd", "modelUsage"], "total_cost_usd");
}

#[test]
fn cost_and_usage_from_whichever_field_there_is() {
    let answer =
        |changes: Value| Question::new(None).answer(&finished(&with(success(), changes).to_string()), Timestamp::EPOCH);
    let reply = answer(json!({"modelUsage": {}})).unwrap();
    assert_eq!(
        (reply.cost_micro_usd, reply.usage, reply.model.as_str()),
        (500_000, Usage::new(1, 1), "claude")
    );
    // One model without a cost makes the sum unknown.
    let reply = answer(json!({"modelUsage": {"a": {"costUSD": 1.0}, "b": {"canonicalModel": "c", "outputTokens": 1}}}))
        .unwrap();
    assert_eq!((reply.cost_micro_usd, reply.model.as_str()), (500_000, "c"));
    let cost = |usd: Value| {
        answer(json!({"modelUsage": {}, "total_cost_usd": usd}))
            .map(|reply| reply.cost_micro_usd)
            .ok()
    };
    assert_eq!(cost(json!(0)), Some(0));
    assert_eq!(cost(json!(0.000_105)), Some(105));
    assert_eq!(cost(json!(0.000_105_1)), Some(106));
    assert_eq!(cost(json!(123.456_789)), Some(123_456_789));
    assert_eq!((cost(json!(-1)), cost(json!("free"))), (None, None));
    assert_eq!(
        answer(json!({"stop_reason": "max_tokens"})).unwrap().stop,
        StopReason::Length
    );
    assert_eq!(
        answer(json!({"stop_reason": "new"})).unwrap().stop,
        StopReason::Other("new".into())
    );
}

#[tokio::test]
async fn a_process_without_a_result_is_an_error_with_its_last_words() {
    let script = "yes noise | head -c 100000 >&2\necho 'TypeError: it broke' >&2\necho garbage\nexit 3";
    let error = Fake::new(script, "")
        .claude()
        .complete(Request::new("x"))
        .await
        .unwrap_err();
    assert_eq!((error.kind(), error.field("code")), (ErrorKind::Model, Some("3")));
    let stderr = error.field("stderr").unwrap();
    assert!(
        stderr.ends_with("TypeError: it broke") && stderr.len() < CLAUDE_STDERR_BYTES_KEPT,
        "{stderr}"
    );

    let error = Fake::new("echo garbage", "")
        .claude()
        .complete(Request::new("x"))
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.field("stdout")),
        (ErrorKind::ModelOutput, Some("garbage\n"))
    );
    let error = Fake::new("kill -9 $$", "")
        .claude()
        .complete(Request::new("x"))
        .await
        .unwrap_err();
    assert_eq!((error.kind(), error.message()), (ErrorKind::Model, "claude was killed"));
    let script = "echo \"error: unknown option '--tools='\" >&2; exit 1";
    let error = Fake::new(script, "")
        .claude()
        .complete(Request::new("x"))
        .await
        .unwrap_err();
    assert!(!error.is_retryable() && error.hint().contains("update"), "{error}");
}

#[tokio::test]
async fn a_failure_exits_with_a_code_and_is_told_by_its_result() {
    let result =
        json!({"type": "result", "subtype": "success", "is_error": true, "api_error_status": 529, "result": "busy"});
    let error = Fake::new("cat \"$DIR/out\"; exit 1", &result.to_string())
        .claude()
        .complete(Request::new("x"))
        .await;
    assert_eq!(error.unwrap_err().field("status"), Some("529"));
}

#[tokio::test]
async fn an_absent_program_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("claude");
    for made in [false, true] {
        if made {
            fs::write(&path, "not executable").unwrap();
        }
        let error = Claude::at(&path).complete(Request::new("x")).await.unwrap_err();
        assert_eq!((error.kind(), error.hint()), (ErrorKind::ModelMissing, INSTALL_HINT));
        assert_eq!(error.field("program"), Some(path.to_str().unwrap()));
    }
}

#[test]
fn find_takes_the_first_that_may_be_run() {
    let [empty, plain, folder, real] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    fs::write(plain.path().join("claude"), "").unwrap();
    fs::create_dir(folder.path().join("claude")).unwrap();
    write_program(&real.path().join("claude"), "#!/bin/sh");
    let path = std::env::join_paths([&empty, &plain, &folder, &real].map(TempDir::path)).unwrap();
    assert_eq!(Claude::find_in(&path).unwrap().program(), real.path().join("claude"));
    assert!(Claude::find_in(empty.path().as_os_str()).is_none());
    assert!(Claude::find_in(OsStr::new("")).is_none());
}

/// Tells that it runs, leaves a child behind, then goes on with what follows.
const WITH_CHILD: &str = "exec 9> \"$DIR/alive\"\nsleep 100000 &\necho started >&9\n";

#[tokio::test]
async fn at_the_deadline_the_process_is_killed_with_its_children() {
    let fake = Fake::new(&format!("{WITH_CHILD}sleep 100000"), "");
    let (started, gone) = fake.watch();
    let claude = fake.claude();
    let call = tokio::spawn(async move { claude.complete(Request::new("x")).await });
    started.await.unwrap();
    fake.clock.advance(MODEL_TIMEOUT_DEFAULT);
    let error = call.await.unwrap().unwrap_err();
    assert_eq!(
        (error.kind(), error.field("timeout")),
        (ErrorKind::Timeout, Some("120s"))
    );
    gone.await.unwrap();
}

#[tokio::test]
async fn when_the_call_is_dropped_the_process_is_killed_with_its_children() {
    let fake = Fake::new(&format!("{WITH_CHILD}sleep 100000"), "");
    let (started, gone) = fake.watch();
    let claude = fake.claude();
    let call = tokio::spawn(async move { claude.complete(Request::new("x")).await });
    started.await.unwrap();
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    gone.await.unwrap();
}

#[tokio::test]
async fn what_a_process_leaves_running_is_killed_and_does_not_hold_the_answer_up() {
    // The child inherits the output, so that it does not end with the process that answered; here without a result line.
    for (output, text) in [
        (format!("{}\n", success()), Some("Paris")),
        ("garbage\n".to_owned(), None),
    ] {
        let fake = Fake::new(&format!("{WITH_CHILD}cat \"$DIR/out\""), &output);
        let (_, gone) = fake.watch();
        let reply = fake.claude().complete(Request::new("x")).await;
        assert_eq!(reply.ok().map(|reply| reply.text).as_deref(), text);
        gone.await.unwrap();
    }
}

#[tokio::test]
async fn a_process_that_has_answered_but_does_not_end_is_killed_and_its_answer_kept() {
    let fake = Fake::new(
        &format!("{WITH_CHILD}cat \"$DIR/out\"\nsleep 100000"),
        &format!("{}\n", success()),
    );
    let (_, gone) = fake.watch();
    let claude = fake.claude();
    let call = tokio::spawn(async move { claude.complete(Request::new("x")).await });
    // The deadline and the grace.
    fake.clock.until_sleepers(2).await;
    fake.clock.advance(CLAUDE_EXIT_GRACE);
    assert_eq!(call.await.unwrap().unwrap().text, "Paris");
    gone.await.unwrap();
}

#[tokio::test]
async fn endless_output_is_cut_off_and_the_process_killed() {
    for endless in ["yes", "cat /dev/zero"] {
        let fake = Fake::new(&format!("{WITH_CHILD}{endless}"), "");
        let (_, gone) = fake.watch();
        let error = fake.claude().complete(Request::new("x")).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.message()),
            (ErrorKind::ModelOutput, "the claude process printed too much")
        );
        gone.await.unwrap();
    }
}

#[tokio::test]
async fn no_more_processes_than_allowed_run_at_once() {
    let fake = Fake::new(&format!("{WITH_CHILD}sleep 100000"), "");
    let (started, gone) = fake.watch();
    let claude = fake.claude().with_processes(0);
    let first = tokio::spawn({
        let claude = claude.clone();
        async move { claude.complete(Request::new("x")).await }
    });
    started.await.unwrap();
    // The second waits for its turn, and only as long as its own deadline allows.
    let second = tokio::spawn({
        let claude = claude.clone();
        async move {
            claude
                .complete(Request::new("y").with_timeout(Duration::from_secs(1)))
                .await
        }
    });
    fake.clock.until_sleepers(2).await;
    fake.clock.advance(Duration::from_secs(1));
    let error = second.await.unwrap().unwrap_err();
    assert_eq!(
        (error.kind(), error.field("processes")),
        (ErrorKind::Timeout, Some("1"))
    );
    assert!(!first.is_finished());
    first.abort();
    gone.await.unwrap();
}
