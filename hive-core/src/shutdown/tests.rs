use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::*;
use crate::clock::{Clock, ManualClock, SystemClock, Timestamp};
use crate::limits::{ABORT_GRACE, PANICS_KEPT_MAX};

const MINUTE: Duration = Duration::from_secs(60);

fn tasks() -> (ManualClock, TaskSet) {
    let clock = ManualClock::new(Timestamp::EPOCH);
    (clock.clone(), TaskSet::new(Arc::new(clock)))
}

#[tokio::test]
async fn a_request_reaches_children_but_not_parents() {
    let parent = Shutdown::new();
    let (child, clone) = (parent.child(), parent.clone());
    let grandchild = child.child();
    child.request();
    assert!(child.is_requested() && grandchild.is_requested());
    assert!(!parent.is_requested());
    parent.request();
    parent.request();
    clone.requested().await;
    assert!(
        clone.child().is_requested(),
        "a child made later is asked to stop as well"
    );
    assert_eq!(format!("{clone:?}"), "Shutdown { requested: true }");
}

#[tokio::test]
async fn guard_stops_what_runs() {
    let shutdown = Shutdown::new();
    assert_eq!(shutdown.guard(async { 7 }).await.unwrap(), 7);
    let waiting = tokio::spawn({
        let shutdown = shutdown.clone();
        async move { shutdown.guard(std::future::pending::<()>()).await }
    });
    shutdown.request();
    assert_eq!(waiting.await.unwrap().unwrap_err().kind(), ErrorKind::ShuttingDown);
}

#[tokio::test]
async fn join_all_waits_also_for_what_is_spawned_meanwhile() {
    let (_, set) = tasks();
    let inner = set.clone();
    set.spawn("outer", async move {
        tokio::task::yield_now().await;
        inner.spawn("inner", tokio::task::yield_now());
    });
    let joined = set.join_all(MINUTE).await;
    assert_eq!((joined.finished, joined.is_clean()), (2, true));
    assert!(set.is_empty());
    joined.into_result().unwrap();
}

/// Tells when it is dropped.
struct Dropped(Option<oneshot::Sender<()>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        let _ = self.0.take().map(|sender| sender.send(()));
    }
}

fn dropped() -> (Dropped, oneshot::Receiver<()>) {
    let (sender, receiver) = oneshot::channel();
    (Dropped(Some(sender)), receiver)
}

#[tokio::test]
async fn the_deadline_aborts_and_names_what_did_not_finish() {
    let (clock, set) = tasks();
    let (guard, mut gone) = dropped();
    set.spawn("slow", async move {
        let _guard = guard;
        std::future::pending::<()>().await;
    });
    set.spawn(format!("slow-{}", 2), std::future::pending());
    set.spawn("quick", async {});
    let join = tokio::spawn({
        let set = set.clone();
        async move { set.join_all(MINUTE).await }
    });
    clock.until_sleepers(1).await;
    clock.advance(MINUTE - Duration::from_nanos(1));
    tokio::task::yield_now().await;
    assert!(!join.is_finished());
    clock.advance(Duration::from_nanos(1));

    let joined = join.await.unwrap();
    assert_eq!(
        (joined.finished, joined.unfinished.as_slice()),
        (1, &["slow".to_owned(), "slow-2".to_owned()][..])
    );
    assert!(joined.stuck.is_empty());
    gone.try_recv()
        .expect("what an aborted task holds is dropped before join_all returns");
    let error = joined.into_result().unwrap_err();
    assert_eq!(
        (error.kind(), error.field("unfinished")),
        (ErrorKind::Timeout, Some("slow, slow-2"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_blocks_its_thread_is_reported_as_stuck() {
    let (clock, set) = tasks();
    let (started, running) = oneshot::channel();
    let (release, blocked) = std::sync::mpsc::channel::<()>();
    set.spawn("blocked", async move {
        let _ = started.send(());
        let _ = blocked.recv();
    });
    running.await.unwrap();
    let join = tokio::spawn({
        let set = set.clone();
        async move { set.join_all(Duration::ZERO).await }
    });
    while !join.is_finished() {
        // The deadline and the grace, whichever is being waited for.
        clock.advance(ABORT_GRACE);
        tokio::task::yield_now().await;
    }
    let joined = join.await.unwrap();
    assert_eq!(
        (joined.unfinished.as_slice(), joined.stuck.as_slice()),
        (&["blocked".to_owned()][..], &["blocked".to_owned()][..])
    );
    assert_eq!(joined.into_result().unwrap_err().field("stuck"), Some("blocked"));
    release.send(()).unwrap();
}

#[tokio::test]
async fn a_panic_ends_only_its_task_and_is_reported() {
    let (_, set) = tasks();
    set.spawn("calm", async {});
    set.spawn("wild", async { panic!("no {}", "way") });
    let joined = set.join_all(MINUTE).await;
    assert_eq!((joined.finished, joined.panicked.len()), (1, 1));
    assert_eq!(
        (joined.panicked[0].name.as_str(), joined.panicked[0].message.as_str()),
        ("wild", "no way")
    );
    let error = joined.into_result().unwrap_err();
    assert_eq!(
        (error.kind(), error.field("task"), error.field("panic")),
        (ErrorKind::Panic, Some("wild"), Some("no way"))
    );
    // The report starts anew.
    assert_eq!(set.join_all(MINUTE).await, Joined::default());
}

#[tokio::test]
async fn a_long_lived_set_does_not_grow() {
    let (_, set) = tasks();
    for _ in 0..1_000 {
        set.spawn("short", async {});
        tokio::task::yield_now().await;
        assert!(set.len() <= 2, "ended tasks pile up: {}", set.len());
    }
    for _ in 0..PANICS_KEPT_MAX + 5 {
        set.spawn("wild", async { panic!("again") });
    }
    let joined = set.join_all(MINUTE).await;
    assert_eq!(
        (joined.finished, joined.panicked.len(), joined.panicked_more),
        (1_000, PANICS_KEPT_MAX, 5)
    );
}

#[tokio::test]
async fn the_last_drop_aborts_and_a_dropped_join_loses_nothing() {
    let (_, set) = tasks();
    let (guard, gone) = dropped();
    set.spawn("endless", async move {
        let _guard = guard;
        std::future::pending::<()>().await;
    });
    set.spawn("quick", async {});
    {
        let mut join = std::pin::pin!(set.join_all(MINUTE));
        for _ in 0..3 {
            tokio::select! { biased; _ = &mut join => panic!("an endless task ended"), () = tokio::task::yield_now() => {} }
        }
    }
    assert_eq!(format!("{set:?}"), r#"TaskSet { running: ["endless"], .. }"#);
    drop(set);
    gone.await.unwrap();
}

#[tokio::test]
async fn the_system_clock_serves_as_well() {
    let set = TaskSet::new(Arc::new(SystemClock));
    set.spawn("nap", async { SystemClock.sleep(Duration::from_millis(2)).await });
    assert!(set.join_all(MINUTE).await.is_clean());
    set.spawn("endless", std::future::pending());
    assert_eq!(set.join_all(Duration::from_millis(1)).await.unfinished, ["endless"]);
}
