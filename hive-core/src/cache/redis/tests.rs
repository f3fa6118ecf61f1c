//! The way to the server, under a clock that stands still: nothing here depends on how fast a machine is.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use hive_errors::{BreakerPolicy, ErrorKind, RetryPolicy};
use tokio::net::TcpListener;

use super::{Options, Redis};
use crate::cache::Store;
use crate::clock::{ManualClock, Timestamp};
use crate::limits::REDIS_PATIENCE;

const CONNECT: Duration = Duration::from_secs(1);
const COMMAND: Duration = Duration::from_millis(250);
const PAUSE: Duration = Duration::from_secs(60);

/// Somebody who takes connections and never says a word, and a store that believes him to be a server.
async fn silent(failures_max: u32) -> (TcpListener, Redis, ManualClock) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let clock = ManualClock::new(Timestamp::EPOCH);
    let options = Options::new(format!("redis://{}", listener.local_addr().unwrap()))
        .connections(1)
        .connect_timeout(CONNECT)
        .command_timeout(COMMAND)
        .breaker(BreakerPolicy::new(failures_max, PAUSE))
        .backoff(RetryPolicy::fixed(1, Duration::from_secs(10)))
        .clock(Arc::new(clock.clone()));
    (listener, Redis::new(options).unwrap(), clock)
}

/// Makes a call, lets its time run out and gives the kind of its error.
async fn run_out(store: &Redis, clock: &ManualClock) -> ErrorKind {
    let store = store.clone();
    let call = tokio::spawn(async move { store.get("key").await });
    clock.until_sleepers(1).await;
    clock.advance(CONNECT);
    call.await.unwrap().unwrap_err().kind()
}

#[tokio::test]
async fn after_failing_to_connect_the_next_attempt_is_put_off() {
    let (_listener, store, clock) = silent(100).await;
    assert_eq!(run_out(&store, &clock).await, ErrorKind::Timeout);
    // No sleeper is made: the answer comes at once, and says for how long.
    let error = store.get("key").await.unwrap_err();
    assert_eq!(
        (error.kind(), error.retry_after()),
        (ErrorKind::Storage, Some(Duration::from_secs(10)))
    );
    clock.advance(Duration::from_secs(10));
    assert_eq!(run_out(&store, &clock).await, ErrorKind::Timeout);
}

#[tokio::test]
async fn the_breaker_refuses_calls_and_then_lets_one_find_out() {
    let (_listener, store, clock) = silent(2).await;
    for _ in 0..2 {
        assert_eq!(run_out(&store, &clock).await, ErrorKind::Timeout);
        clock.advance(Duration::from_secs(10));
    }
    let error = store.get("key").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BreakerOpen);
    assert_eq!(error.retry_after(), Some(PAUSE - Duration::from_secs(10)));
    clock.advance(PAUSE - Duration::from_secs(10));
    assert_eq!(run_out(&store, &clock).await, ErrorKind::Timeout, "the probe");
    assert_eq!(store.get("key").await.unwrap_err().kind(), ErrorKind::BreakerOpen);
}

/// Begins a call and gives it up after a while.
async fn give_up(store: &Redis, clock: &ManualClock, after: Duration) {
    let mut call: Pin<Box<dyn Future<Output = _> + Send + '_>> = store.get("key");
    assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    clock.advance(after);
    drop(call);
}

#[tokio::test]
async fn who_gives_up_at_once_says_nothing_about_the_server() {
    let (_listener, store, clock) = silent(1).await;
    for _ in 0..100 {
        give_up(&store, &clock, COMMAND / REDIS_PATIENCE - Duration::from_nanos(1)).await;
    }
    assert_eq!(run_out(&store, &clock).await, ErrorKind::Timeout, "it is still asked");
}

#[tokio::test]
async fn who_gives_up_after_a_while_does() {
    let (_listener, store, clock) = silent(1).await;
    give_up(&store, &clock, COMMAND / REDIS_PATIENCE).await;
    assert_eq!(store.get("key").await.unwrap_err().kind(), ErrorKind::BreakerOpen);
}

#[tokio::test]
async fn an_answer_that_makes_no_sense_is_an_error_and_ends_the_connection() {
    let (listener, store, _clock) = silent(100).await;
    let talk = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        // Whatever is asked; the answer is that of a web server.
        stream.readable().await.unwrap();
        stream.try_write(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        stream
    });
    let error = store.get("key").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage);
    drop(talk.await.unwrap());
}
