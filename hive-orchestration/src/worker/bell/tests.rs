use std::future::{pending, poll_fn};
use std::pin::pin;
use std::time::Duration;

use tokio::sync::{Notify, oneshot};

use super::*;

/// Polls once and tells whether it is still pending.
async fn poll_once<F: Future>(bell: &Bell, mut future: Pin<&mut F>) -> bool {
    poll_fn(|task| Poll::Ready(bell.poll(future.as_mut(), task).is_pending())).await
}

#[tokio::test]
async fn what_is_awaited_beside_the_context_is_seen() {
    let (bell, news) = (Bell::new(), Notify::new());
    let (tell, told) = oneshot::channel::<()>();
    let mut work = pin!(async {
        tokio::join!(news.notified(), news.notified(), async {
            told.await.ok();
        });
    });
    assert!(poll_once(&bell, work.as_mut()).await);
    assert!(bell.is_expected(2), "two waits and the answer");
    assert!(!bell.is_expected(3));
    tell.send(()).unwrap();
    assert!(bell.is_expected(2), "rung, and not polled yet");
    assert!(poll_once(&bell, work.as_mut()).await);
    assert!(!bell.is_expected(2));
}

#[tokio::test]
async fn whoever_gives_up_is_no_longer_counted() {
    let (bell, news) = (Bell::new(), Notify::new());
    let mut work = pin!(async {
        tokio::select! {
            biased;
            () = pending() => {}
            () = tokio::time::sleep(Duration::from_secs(3600)) => {}
            () = news.notified() => {}
        }
        news.notified().await;
    });
    assert!(poll_once(&bell, work.as_mut()).await);
    assert!(bell.is_expected(1));
    news.notify_one();
    assert!(poll_once(&bell, work.as_mut()).await);
    assert!(!bell.is_expected(1), "the sleep was dropped");
}

#[tokio::test]
async fn the_task_that_polls_is_the_one_that_is_woken() {
    let (bell, news) = (Bell::new(), Arc::new(Notify::new()));
    let (teller, done) = (Arc::clone(&news), oneshot::channel());
    let work = async move {
        news.notified().await;
        done.0.send(()).unwrap();
    };
    tokio::spawn(async move {
        let mut work = pin!(work);
        poll_fn(|task| bell.poll(work.as_mut(), task)).await;
    });
    teller.notify_one();
    done.1.await.unwrap();
}
