//! A corpus of edits: old code runs up to a point, its process dies, and new code under the same name takes over. Each is resumed safely,
//! or the check tells of it beforehand, and no finished work is done again without a word.

mod corpus;

use std::collections::HashMap;
use std::sync::Arc;

use hive_orchestration::builders::AnyAgent;
use hive_orchestration::drift::Cause;
use hive_orchestration::replay::{Concern, replay};
use hive_orchestration::task::{TaskState, WaitingFor};
use hive_orchestration::{Agent, Context, Failure, Hive, Signal, TaskHandle};
use serde_json::Value;

use crate::kit::{Home, Ledger, crash, reopened, soon};

/// What every task of the corpus may be sent.
const NUMBER: Signal<u32> = Signal::new("number");

/// What code does, as it is seen from outside.
#[derive(Clone)]
struct Log(Ledger);

impl Log {
    fn did(&self, what: &str) -> u32 {
        self.0.add(what);
        1
    }

    /// As far as the old code comes.
    fn stops(&self) {
        self.0.add(STOP);
    }

    async fn stop(&self) -> Result<u32, Failure> {
        self.stops();
        std::future::pending().await
    }
}

const STOP: &str = "stop";

fn ok<T>(value: T) -> Result<T, Failure> {
    Ok(value)
}

struct Helper(Ledger);

impl Agent for Helper {
    const NAME: &'static str = "helper";
    type Input = u32;
    type Output = u32;

    async fn run(&self, _: &Context, n: u32) -> Result<u32, Failure> {
        self.0.add(format!("helper {n}"));
        Ok(n)
    }
}

struct Other;

impl Agent for Other {
    const NAME: &'static str = "other";
    type Input = u32;
    type Output = u32;

    async fn run(&self, _: &Context, n: u32) -> Result<u32, Failure> {
        Ok(n)
    }
}

type Make = Arc<dyn Fn(String, Log) -> AnyAgent + Send + Sync>;

/// One change of the code.
struct Edit {
    name: &'static str,
    old: Make,
    /// Without it the agent is gone.
    new: Option<Make>,
    /// What the check tells of it beforehand.
    check: &'static str,
    /// How it goes on.
    end: &'static str,
    /// What of the finished work is done again.
    again: &'static [&'static str],
}

fn word(concern: &Concern) -> String {
    let cause = |cause| match cause {
        Cause::Kind => "kind",
        Cause::Version => "version",
        Cause::Output => "output",
        Cause::Children => "children",
        Cause::Input => "input",
        _ => "something",
    };
    if let Concern::Drift(report) = concern {
        return format!("drift of {}: {:?}", cause(report.cause), report.policy).to_lowercase();
    }
    if let Concern::Fails { failure } = concern {
        return format!("fails: {}", failure.kind());
    }
    let word = [
        ("no agent", matches!(concern, Concern::NoAgent)),
        ("lost", matches!(concern, Concern::Lost { .. })),
        ("unreached", matches!(concern, Concern::Unreached { .. })),
    ];
    let word = word.into_iter().find(|(_, is)| *is);
    word.map_or_else(|| format!("{concern:?}"), |(word, _)| word.to_owned())
}

/// What came of it once it has ended, or waits for somebody.
async fn end(task: &TaskHandle<Value>, is_there: bool) -> String {
    soon(async {
        loop {
            let status = task.status().await.unwrap();
            let (state, waits) = (status.state, &status.waiting_for);
            if state == TaskState::Succeeded {
                return "done".to_owned();
            }
            if state.is_final() {
                return status
                    .failure
                    .map_or_else(String::new, |failure| format!("failed: {}", failure.kind()));
            }
            if state == TaskState::Queued && !is_there {
                return "nobody".to_owned();
            }
            if state == TaskState::Waiting && waits.iter().any(|wait| matches!(wait, WaitingFor::Decision { .. })) {
                return "held".to_owned();
            }
            let children = waits.iter().any(|wait| matches!(wait, WaitingFor::Children { .. }));
            if state == TaskState::Waiting && !children && !waits.is_empty() {
                return "waits".to_owned();
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

/// How often each piece of work was done.
fn counts(lines: &[String]) -> HashMap<&str, usize> {
    let mut counts = HashMap::new();
    for line in lines.iter().filter(|line| *line != STOP) {
        *counts.entry(line.as_str()).or_default() += 1;
    }
    counts
}

fn agents(edits: &[(Edit, Ledger)], new: bool) -> Vec<AnyAgent> {
    let mut agents = Vec::new();
    for (place, (edit, ledger)) in edits.iter().enumerate() {
        let make = if new {
            edit.new.clone()
        } else {
            Some(Arc::clone(&edit.old))
        };
        agents.extend(make.map(|make| make(agent(place), Log(ledger.clone()))));
    }
    agents
}

fn agent(place: usize) -> String {
    format!("edit-{place}")
}

#[expect(clippy::print_stdout, reason = "the table of the edits and what came of each")]
pub(super) async fn each_is_resumed_safely_or_told_beforehand(home: Home) {
    let edits: Vec<(Edit, Ledger)> = corpus::all()
        .into_iter()
        .map(|edit| (edit, Ledger::default()))
        .collect();
    assert!(edits.len() >= 30);
    let shared = Ledger::default();
    let open = |new: bool| {
        let hive = agents(&edits, new)
            .into_iter()
            .fold(home.hive(), |hive, agent| hive.agent(agent));
        hive.agent(Helper(shared.clone())).agent(Other)
    };
    let hive = open(false).start().await.unwrap();
    let mut tasks = Vec::new();
    for place in 0..edits.len() {
        let task = hive.submit_named(agent(place), &1_u32).await.unwrap();
        task.signal(&NUMBER, &7).await.unwrap();
        tasks.push(task.id());
    }
    for (edit, ledger) in &edits {
        println!("old code: {}", edit.name);
        ledger.seen(STOP).await;
    }
    // Those whose children are counted in one ledger are told apart by their inputs.
    crash(hive).await;
    let before: Vec<Vec<String>> = edits.iter().map(|(_, ledger)| ledger.lines()).collect();
    let helped = shared.lines();

    let checked = open(true).check().await.unwrap();
    println!("{checked}");
    for (ledger, lines) in edits.iter().map(|(_, ledger)| ledger).zip(&before) {
        assert_eq!(&ledger.lines(), lines, "a check does no work");
    }
    assert_eq!((shared.lines(), checked.runs), (helped.clone(), edits.len()));
    let told: HashMap<_, Vec<String>> = checked
        .findings
        .iter()
        .map(|finding| (finding.task, finding.concerns.iter().map(word).collect()))
        .collect();

    let hive = reopened(|| open(true)).await;
    let mut wrong = Vec::new();
    for (place, (edit, ledger)) in edits.iter().enumerate() {
        let id = tasks[place];
        let check = told
            .get(&id)
            .map_or_else(|| "safe".to_owned(), |concerns| concerns.join(", "));
        let end = end(&hive.task(id), edit.new.is_some()).await;
        let (lines, counted) = (
            ledger.lines(),
            counts(&before[place])
                .into_iter()
                .map(|(line, n)| (line.to_owned(), n))
                .collect::<Vec<_>>(),
        );
        let now = counts(&lines);
        let mut again: Vec<String> = counted
            .into_iter()
            .filter(|(line, n)| now[line.as_str()] > *n)
            .map(|(line, _)| line)
            .collect();
        again.sort();
        let line = format!("{:<44} check: {check:<32} then: {end:<16} again: {again:?}", edit.name);
        println!("{line}");
        if check == "safe" && !again.is_empty() {
            wrong.push(format!("done again without a word: {line}"));
        }
        if (check.as_str(), end.as_str()) != (edit.check, edit.end) || again != edit.again {
            wrong.push(format!(
                "{line}\n  expected {} then {} again {:?}",
                edit.check, edit.end, edit.again
            ));
        }
    }
    // Children are tasks of their own: those of a call that is made anew run again, and no other does.
    let more: Vec<String> = shared.lines().split_off(helped.len());
    assert!(
        more.iter()
            .all(|line| line.starts_with("helper 2") || line.starts_with("helper 3")),
        "{more:?}"
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    replays_say_the_same(&hive, &edits, &tasks).await;
    hive.shutdown().await.unwrap();
}

/// Of what has ended, the code that ended it makes the same once more.
async fn replays_say_the_same(hive: &Hive, edits: &[(Edit, Ledger)], tasks: &[hive_orchestration::TaskId]) {
    for (place, (edit, ledger)) in edits.iter().enumerate() {
        let (Some(new), "done") = (&edit.new, edit.end) else {
            continue;
        };
        let (history, lines) = (hive.export(tasks[place]).await.unwrap(), ledger.lines());
        let replayed = replay(new(agent(place), Log(ledger.clone())), &history).await.unwrap();
        assert_eq!(replayed.same_output, Some(true), "{}: {replayed:?}", edit.name);
        assert_eq!(ledger.lines(), lines, "{}: a replay does no work", edit.name);
    }
}
