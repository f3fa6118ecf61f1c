//! Steps that hand out their output in pieces, and those who read them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hive_orchestration::builders::AnyAgent;
use hive_orchestration::core::db::{Db, Dialect};
use hive_orchestration::limits;
use hive_orchestration::stream::{Cursor, News, Pieces, Reader};
use hive_orchestration::{Context, Failure, Hive, RetryPolicy, TaskHandle, agent_fn};
use serde_json::{Value, json};

use crate::kit::{Gate, Home, Ledger, crash, reopened, soon};

/// The next news: a word, `(anew)` or `(end)`.
async fn next(reader: &mut Reader) -> String {
    match soon(reader.next()).await.unwrap() {
        Some(News::Piece(piece)) => piece.decode().unwrap(),
        Some(News::Anew) => "(anew)".to_owned(),
        None => "(end)".to_owned(),
        Some(other) => panic!("{other:?}"),
    }
}

async fn all(reader: &mut Reader) -> Vec<String> {
    let mut words = Vec::new();
    loop {
        words.push(next(reader).await);
        if words.last().unwrap() == "(end)" {
            return words;
        }
    }
}

/// Hands out a word, waits at the gate, hands out another.
fn poet(gate: &Gate) -> AnyAgent {
    let gate = gate.clone();
    agent_fn("poet", move |cx: Context, _: ()| {
        let gate = gate.clone();
        async move {
            cx.stream_step("verse", async |out| {
                out.push("so").await?;
                gate.passed().await;
                out.push("much").await?;
                Ok::<_, Failure>("so much".to_owned())
            })
            .await
        }
    })
}

async fn submit(hive: &Hive) -> TaskHandle<Value> {
    hive.submit_named("poet", &()).await.unwrap()
}

pub(super) async fn a_reader_follows_while_the_step_goes_on(home: Home) {
    let gate = Gate::new();
    let hive = home.hive().agent(poet(&gate)).start().await.unwrap();
    let task = submit(&hive).await;
    let mut reader = task.pieces("verse");
    assert_eq!(next(&mut reader).await, "so");
    // Nothing comes, and nothing is lost by asking.
    let nothing = tokio::time::timeout(Duration::from_millis(100), reader.next()).await;
    assert!(nothing.is_err(), "{nothing:?}");
    gate.open();
    assert_eq!(all(&mut reader).await, ["much", "(end)"]);
    assert_eq!(next(&mut reader).await, "(end)");
    assert_eq!(soon(task.result()).await.unwrap(), json!("so much"));
    hive.shutdown().await.unwrap();
    let error = reader.after(Cursor::START).next().await.err().unwrap();
    assert_eq!(error.code(), "shutting-down");
}

pub(super) async fn a_reader_that_comes_late_gets_everything_from_its_cursor_on(home: Home) {
    const WORDS: u64 = 3_000;
    let agent = agent_fn("poet", async |cx: Context, _: ()| {
        cx.stream_step("verse", async |out| {
            for number in 0..WORDS {
                // Long enough for many rows.
                out.push(&format!("{number:0>200}")).await?;
            }
            Ok::<_, Failure>(())
        })
        .await
    });
    let hive = home.hive().agent(agent).start().await.unwrap();
    let task = submit(&hive).await;
    soon(task.result()).await.unwrap();
    let (mut reader, mut cursors) = (task.pieces("verse"), vec![Cursor::START]);
    for number in 0..WORDS {
        assert_eq!(next(&mut reader).await.parse::<u64>().unwrap(), number);
        // As whoever goes on later stores it.
        cursors.push(serde_json::from_value(serde_json::to_value(reader.cursor()).unwrap()).unwrap());
    }
    assert_eq!(next(&mut reader).await, "(end)");
    for number in [0, 1, 2, 77, 500, 1_024, WORDS - 1] {
        let mut reader = task.pieces("verse").after(cursors[number as usize]);
        assert_eq!(next(&mut reader).await.parse::<u64>().unwrap(), number);
    }
    let mut reader = task.pieces("verse").after(cursors[WORDS as usize]);
    assert_eq!(next(&mut reader).await, "(end)");
    assert_eq!(next(&mut task.pieces("other")).await, "(end)");
    let error = task.pieces("").next().await.err().unwrap();
    assert_eq!(error.code(), "invalid-input");
    hive.shutdown().await.unwrap();
}

/// In its first life it hands out two words and hangs; `go_on` is what it does afterwards.
fn interrupted<F, Fut>(lives: &Arc<AtomicUsize>, go_on: F) -> AnyAgent
where
    F: Fn(Pieces) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let lives = Arc::clone(lives);
    agent_fn("poet", move |cx: Context, _: ()| {
        let (lives, go_on) = (Arc::clone(&lives), go_on.clone());
        async move {
            cx.stream_step("verse", |out: Pieces| {
                let (lives, go_on) = (Arc::clone(&lives), go_on.clone());
                async move {
                    if lives.fetch_add(1, Ordering::SeqCst) > 0 {
                        return go_on(out).await;
                    }
                    out.push("so").await?;
                    out.push("much").await?;
                    std::future::pending().await
                }
            })
            .await
        }
    })
}

/// Runs it up to the crash, with a reader that has read both words.
async fn crashed(home: &Home, agent: impl Fn() -> AnyAgent) -> (Hive, TaskHandle<Value>, Cursor) {
    let hive = home.hive().agent(agent()).start().await.unwrap();
    let task = submit(&hive).await;
    let mut reader = task.pieces("verse");
    assert_eq!(
        (next(&mut reader).await, next(&mut reader).await),
        ("so".to_owned(), "much".to_owned())
    );
    let (id, cursor) = (task.id(), reader.cursor());
    crash(hive).await;
    let hive = reopened(|| home.hive().agent(agent())).await;
    let task = hive.task(id);
    (hive, task, cursor)
}

pub(super) async fn after_a_crash_the_step_begins_anew_and_readers_are_told(home: Home) {
    let lives = Arc::default();
    let anew = |out: Pieces| async move {
        out.push("once").await?;
        out.push("more").await?;
        assert_eq!(out.kept::<String>().await?, [""; 0], "it has begun anew");
        Ok(())
    };
    let (hive, task, cursor) = crashed(&home, || interrupted(&lives, anew)).await;
    let mut reader = task.pieces("verse").after(cursor);
    assert_eq!(all(&mut reader).await, ["(anew)", "once", "more", "(end)"]);
    assert_eq!(all(&mut task.pieces("verse")).await, ["once", "more", "(end)"]);
    soon(task.result()).await.unwrap();
    hive.shutdown().await.unwrap();
}

pub(super) async fn after_a_crash_the_step_may_go_on_from_what_was_kept(home: Home) {
    let (lives, ledger) = (Arc::default(), Ledger::default());
    let seen = ledger.clone();
    let on = move |out: Pieces| {
        let seen = seen.clone();
        async move {
            seen.add(out.kept::<String>().await?.join(" "));
            let misfit = out.kept::<u64>().await.err().unwrap();
            assert!(misfit.is_terminal());
            out.push("depends").await?;
            Ok(())
        }
    };
    let (hive, task, cursor) = crashed(&home, || interrupted(&lives, on.clone())).await;
    let mut reader = task.pieces("verse").after(cursor);
    assert_eq!(all(&mut reader).await, ["depends", "(end)"]);
    assert_eq!(all(&mut task.pieces("verse")).await, ["so", "much", "depends", "(end)"]);
    assert_eq!(ledger.lines(), ["so much"]);
    hive.shutdown().await.unwrap();
}

pub(super) async fn the_output_comes_with_every_piece_on_disk(home: Home) {
    let agent = agent_fn("poet", async |cx: Context, words: u64| {
        let output = cx
            .stream_step("verse", async |out| {
                for number in 0..words {
                    out.push(&number.to_string()).await?;
                }
                Ok::<_, Failure>(())
            })
            .await;
        output?;
        // Nothing is written after this.
        std::future::pending::<Result<(), Failure>>().await
    });
    let hive = home.hive().agent(agent).start().await.unwrap();
    for words in [0, 1, 2, 100, 5_000] {
        let task = hive.submit_named("poet", &words).await.unwrap();
        // The end is only told when the output is on record.
        let read = all(&mut task.pieces("verse")).await;
        assert_eq!(read.len() as u64, words + 1);
        assert!(
            read.iter()
                .take(read.len() - 1)
                .enumerate()
                .all(|(number, word)| *word == number.to_string())
        );
    }
    crash(hive).await;
}

pub(super) async fn a_step_that_is_tried_again_begins_anew(home: Home) {
    let tries = Arc::new(AtomicUsize::new(0));
    let agent = agent_fn("poet", move |cx: Context, _: ()| {
        let tries = Arc::clone(&tries);
        async move {
            cx.stream_step("verse", async |out| {
                let number = tries.fetch_add(1, Ordering::SeqCst);
                if number == 3 {
                    // What there was is not part of an output that was found elsewhere.
                    return Ok(());
                }
                out.push(&format!("try {number}")).await?;
                tokio::time::sleep(2 * limits::STREAM_DELAY).await;
                if number == 2 {
                    // Said aloud, in the middle.
                    out.restart()?;
                    out.push("in the middle").await?;
                    tokio::time::sleep(2 * limits::STREAM_DELAY).await;
                }
                Err(Failure::retryable("no"))
            })
            .retry(RetryPolicy::exponential(9).with_base(Duration::from_millis(1)))
            .await
        }
    });
    let hive = home.hive().agent(agent).start().await.unwrap();
    let task = submit(&hive).await;
    let read = all(&mut task.pieces("verse")).await;
    let pieces: Vec<&String> = read.iter().filter(|word| !word.starts_with('(')).collect();
    // A reader may miss a beginning that was over before it looked, but never the word of it.
    assert!(read.ends_with(&["(anew)".to_owned(), "(end)".to_owned()]), "{read:?}");
    assert!(pieces.is_sorted_by_key(|word| {
        ["try 0", "try 1", "try 2", "in the middle"]
            .iter()
            .position(|one| one == word)
    }));
    assert_eq!(all(&mut task.pieces("verse")).await, ["(end)"]);
    soon(task.result()).await.unwrap();
    hive.shutdown().await.unwrap();
}

pub(super) async fn who_hands_out_faster_than_the_disk_writes_waits(home: Home) {
    const PIECE: usize = 32 << 10;
    const PIECES: usize = 64;
    let (pushed, gate) = (Ledger::default(), Gate::new());
    let begun = Ledger::default();
    let (begins, counted, opened) = (begun.clone(), pushed.clone(), gate.clone());
    let agent = agent_fn("poet", move |cx: Context, _: ()| {
        let (begins, counted, opened) = (begins.clone(), counted.clone(), opened.clone());
        async move {
            cx.stream_step("verse", async |out| {
                begins.add("begun");
                opened.passed().await;
                for _ in 0..PIECES {
                    out.push(&"x".repeat(PIECE)).await?;
                    counted.add("pushed");
                }
                Ok::<_, Failure>(())
            })
            .await
        }
    });
    let hive = home.hive().agent(agent).start().await.unwrap();
    let task = submit(&hive).await;
    begun.counted(1).await;
    // Somebody holds the task's row, or the only writer.
    let (held, holding) = tokio::sync::oneshot::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    // On a server by a connection of its own, so that the hive's others go on.
    let other = match hive.db().dialect() {
        Dialect::Postgres => Some(Db::open(home.options()).await.unwrap()),
        Dialect::Sqlite => None,
    };
    let (db, id, mut held, released) = (
        other.clone().unwrap_or_else(|| hive.db().clone()),
        task.id(),
        Some(held),
        Mutex::new(released),
    );
    let slow = tokio::spawn(async move {
        db.write(move |tx| {
            tx.execute("UPDATE task SET priority = priority WHERE id = ?1", &[&id])?;
            if let Some(held) = held.take() {
                held.send(()).unwrap();
            }
            released.lock().unwrap().recv().unwrap();
            Ok(())
        })
        .await
    });
    holding.await.unwrap();
    gate.open();
    pushed.counted(limits::STREAM_UNWRITTEN_BYTES / (PIECE + 2)).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let most = limits::STREAM_UNWRITTEN_BYTES / PIECE + 1;
    assert!(pushed.count() <= most, "{} pieces are in memory", pushed.count());
    release.send(()).unwrap();
    slow.await.unwrap().unwrap();
    assert_eq!(all(&mut task.pieces("verse")).await.len(), PIECES + 1);
    if let Some(other) = other {
        other.close().await.unwrap();
    }
    hive.shutdown().await.unwrap();
}

pub(super) async fn too_much_is_refused(home: Home) {
    let ledger = Ledger::default();
    let seen = ledger.clone();
    let agent = agent_fn("poet", move |cx: Context, _: ()| {
        let seen = seen.clone();
        async move {
            let kept = Mutex::new(None);
            let leaked = cx
                .stream_step("large", async |out| {
                    let failure = out.push(&"x".repeat(limits::STREAM_PIECE_BYTES)).await.err().unwrap();
                    seen.add(format!("{} {}", failure.kind().code(), failure.is_terminal()));
                    *kept.lock().unwrap() = Some(out);
                    Ok::<_, Failure>(())
                })
                .await;
            leaked?;
            let out = kept.lock().unwrap().take().unwrap();
            seen.add(out.push("late").await.err().unwrap().kind().code());
            seen.add(out.restart().err().unwrap().kind().code());
            let piece = "x".repeat(limits::STREAM_PIECE_BYTES - 2);
            let all = cx
                .stream_step("endless", async |out| -> Result<(), Failure> {
                    loop {
                        out.push(&piece).await?;
                    }
                })
                .await;
            seen.add(all.err().unwrap().kind().code());
            Ok::<_, Failure>(())
        }
    });
    let hive = home.hive().agent(agent).start().await.unwrap();
    soon(submit(&hive).await.result()).await.unwrap();
    assert_eq!(
        ledger.lines(),
        ["payload-too-large true", "conflict", "conflict", "limit-reached"]
    );
    hive.shutdown().await.unwrap();
}

pub(super) async fn scopes_and_occurrences_are_read_apart(home: Home) {
    let agent = agent_fn("poet", async |cx: Context, _: ()| {
        for (cx, word) in [
            (cx.clone(), "first"),
            (cx.clone(), "second"),
            (cx.scope("a/b").scope("c"), "scoped"),
        ] {
            cx.stream_step("verse", async |out| out.push(word).await).await?;
        }
        Ok::<_, Failure>(())
    });
    let hive = home.hive().agent(agent).start().await.unwrap();
    let task = submit(&hive).await;
    soon(task.result()).await.unwrap();
    assert_eq!(all(&mut task.pieces("verse")).await, ["first", "(end)"]);
    assert_eq!(all(&mut task.pieces("verse").occurrence(2)).await, ["second", "(end)"]);
    assert_eq!(
        all(&mut task.pieces("verse").scope(["a/b", "c"])).await,
        ["scoped", "(end)"]
    );
    hive.shutdown().await.unwrap();
}

pub(super) async fn pieces_are_forgotten_with_their_task(home: Home) {
    let gate = Gate::new();
    gate.open();
    let hive = home.hive().agent(poet(&gate)).start().await.unwrap();
    let task = submit(&hive).await;
    soon(task.result()).await.unwrap();
    assert_eq!(hive.forget(Duration::ZERO).await.unwrap(), 1);
    let left = hive.db().read(|db| {
        let count = "SELECT (SELECT count(*) FROM stream) + (SELECT count(*) FROM stream_piece)";
        db.query_one(count, &[], |row| row.get::<i64>(0))
    });
    assert_eq!(left.await.unwrap(), 0);
    assert_eq!(task.pieces("verse").next().await.err().unwrap().code(), "not-found");
    hive.shutdown().await.unwrap();
}

/// A reader in another process hears of each piece.
#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process_reads_along() {
    let (home, gate) = (Home::postgres(), Gate::new());
    let (first, second) = (
        home.hive().agent(poet(&gate)).start().await.unwrap(),
        home.hive().start().await.unwrap(),
    );
    let task = submit(&first).await;
    let mut reader = second.task::<Value>(task.id()).pieces("verse");
    assert_eq!(next(&mut reader).await, "so");
    gate.open();
    assert_eq!(all(&mut reader).await, ["much", "(end)"]);
    first.shutdown().await.unwrap();
    second.shutdown().await.unwrap();
}
