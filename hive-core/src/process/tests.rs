use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

use super::memory::parse;
use super::*;

/// A shell in the group that runs `script` and holds a pipe open for as long as it or a child of it lives.
fn start(group: &Group, script: &str) -> Child {
    let mut command = Command::new(SHELL);
    command.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::piped());
    group.enlist(&mut command);
    command.spawn().unwrap()
}

/// Returns when everybody who held the pipe has ended.
async fn all_gone(child: &mut Child) -> String {
    let mut text = String::new();
    let mut stdout = child.stdout.take().unwrap();
    tokio::time::timeout(Duration::from_secs(60), stdout.read_to_string(&mut text))
        .await
        .unwrap()
        .unwrap();
    text
}

#[tokio::test]
async fn a_group_that_is_dropped_takes_children_of_children_with_it() {
    let group = Group::new().await.unwrap();
    let mut child = start(&group, "trap '' TERM; (sleep 100000) & sleep 100000");
    drop(group);
    all_gone(&mut child).await;
    assert_eq!(describe(child.wait().await.unwrap()), "signal 9 (killed)");
}

#[tokio::test]
async fn the_guard_outlives_a_request_to_end() {
    let mut group = Group::new().await.unwrap();
    let mut child = start(
        &group,
        "trap 'echo asked; exit 3' TERM; echo up; while :; do sleep 0.01; done",
    );
    let mut up = [0; 3];
    child.stdout.as_mut().unwrap().read_exact(&mut up).await.unwrap();
    group.terminate();
    assert_eq!(all_gone(&mut child).await, "asked\n");
    assert_eq!(describe(child.wait().await.unwrap()), "exit status 3");
    assert!(group.guard.try_wait().unwrap().is_none(), "the guard is still there");
    group.end().await;
}

#[tokio::test]
async fn a_guard_whose_pipe_closes_kills_the_group() {
    let mut group = Group::new().await.unwrap();
    let mut child = start(&group, "trap '' TERM HUP; sleep 100000 & wait");
    // What the kernel does when this process ends in whichever way.
    drop(group._lifeline.take());
    all_gone(&mut child).await;
    group.unguarded().await;
    assert!(!group.alive);
}

#[tokio::test]
async fn waiting_for_the_guard_does_not_end_it() {
    let mut group = Group::new().await.unwrap();
    let waited = tokio::time::timeout(Duration::from_millis(100), group.unguarded()).await;
    assert!(waited.is_err() && group.alive);
    group.end().await;
}

#[tokio::test]
async fn nobody_is_left_unguarded() {
    let mut group = Group::new().await.unwrap();
    let mut child = start(&group, "sleep 100000 & wait");
    group.guard.start_kill().unwrap();
    group.unguarded().await;
    all_gone(&mut child).await;
}

#[test]
fn a_name_may_hold_anything() {
    let tail = "S 1 77 77 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 1 1 321 1";
    assert_eq!(parse(&format!("9 (sh) {tail}")), Some((77, 321)));
    assert_eq!(parse(&format!("9 (a) S 5 (b) {tail}")), Some((77, 321)));
    for odd in ["", "9", "9 (sh", "9 (sh) S 1", "9 (sh) S x y z"] {
        assert_eq!(parse(odd), None, "{odd}");
    }
    assert_eq!(parse(&format!("9 (sh) {}", tail.replace("77", "-1"))), None);
}

#[tokio::test]
async fn memory_is_that_of_the_whole_group() {
    let group = Group::new().await.unwrap();
    assert_eq!(resident_bytes(group.number()).unwrap(), 0);
    let mut child = start(&group, "echo up; sleep 100000 & sleep 100000");
    let mut up = [0; 3];
    child.stdout.as_mut().unwrap().read_exact(&mut up).await.unwrap();
    assert!(resident_bytes(group.number()).unwrap() > 100_000);
    group.end().await;
}

#[tokio::test]
async fn a_tail_is_the_end() {
    let text = "0123456789".repeat(10_000);
    let mut kept = b"before".to_vec();
    read_tail(&mut text.as_bytes(), &mut kept, 12).await;
    assert_eq!(kept, b"890123456789");
}
