use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hive_errors::{Error, ErrorKind, Result};
use proptest::prelude::*;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use super::meeting::{Call, Gather};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap()
}

#[test]
fn a_crowd_shares_and_a_lone_caller_does_not_wait() {
    runtime().block_on(async {
        let gather = Arc::new(Gather::new(1, 100, |_: &usize| (1, 0)));
        let (open, gate) = watch::channel(false);
        let rounds = Arc::new(AtomicUsize::new(0));
        let mut callers = JoinSet::new();
        for number in 0..50 {
            let (gather, gate, counter) = (Arc::clone(&gather), gate.clone(), Arc::clone(&rounds));
            callers.spawn(async move {
                let work = |numbers: Vec<usize>| {
                    let (mut gate, rounds) = (gate.clone(), Arc::clone(&counter));
                    async move {
                        rounds.fetch_add(1, Ordering::SeqCst);
                        gate.wait_for(|open| *open).await.unwrap();
                        Ok(numbers.into_iter().map(|number| Ok(number + 1)).collect())
                    }
                };
                assert_eq!(gather.call(number, work).await.unwrap(), number + 1);
            });
            // The one that works took what was put down until then: only itself, so the others come after that.
            while rounds.load(Ordering::SeqCst) == 0 {
                tokio::task::yield_now().await;
            }
        }
        while gather.waiting().len() < 49 {
            tokio::task::yield_now().await;
        }
        open.send_replace(true);
        callers.join_all().await;
        assert_eq!(rounds.load(Ordering::SeqCst), 2);
    });
}

#[test]
fn a_worker_that_goes_away_leaves_nobody_behind() {
    runtime().block_on(async {
        let gather = Arc::new(Gather::new(1, 100, |_: &usize| (1, 0)));
        let stuck = Arc::clone(&gather);
        let first = tokio::spawn(async move {
            stuck
                .call(0, |_| std::future::pending::<Result<Vec<Result<usize>>>>())
                .await
        });
        while gather.turns.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let mut callers = JoinSet::new();
        for number in 1..20 {
            let gather = Arc::clone(&gather);
            let work = async |numbers: Vec<usize>| Ok(numbers.into_iter().map(Ok).collect());
            callers.spawn(async move { gather.call(number, work).await.unwrap() == number });
        }
        first.abort();
        assert!(callers.join_all().await.into_iter().all(|own| own));
    });
}

#[test]
fn a_failure_is_everybodys_and_a_refusal_is_ones_own() {
    runtime().block_on(async {
        let gather = Gather::new(1, 100, |_: &usize| (1, 0));
        let away = async |_: Vec<usize>| Err(Error::new(ErrorKind::Storage, "away"));
        let both = tokio::join!(gather.call(1, away), gather.call(2, away));
        let kinds = [both.0, both.1].map(|answer: Result<usize>| answer.unwrap_err().kind());
        assert_eq!(kinds, [ErrorKind::Storage; 2]);
        let odd = async |numbers: Vec<usize>| {
            let one = |number| match number % 2 {
                0 => Ok(number),
                _ => Err(Error::new(ErrorKind::Conflict, "odd")),
            };
            Ok(numbers.into_iter().map(one).collect())
        };
        let both = tokio::join!(gather.call(1, odd), gather.call(2, odd));
        assert_eq!((both.0.unwrap_err().kind(), both.1.unwrap()), (ErrorKind::Conflict, 2));
        let lazy = async |_: Vec<usize>| Ok(Vec::new());
        let answer: Result<usize> = gather.call(1, lazy).await;
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::Internal);
    });
}

proptest! {
    /// Whatever the weights: what goes together fits, unless it is alone; everybody is served once.
    #[test]
    fn work_fits(weights in proptest::collection::vec((0_usize..60, 0_usize..60), 1..40)) {
        let gather: Gather<(usize, usize), ()> = Gather::new(1, 50, |weight| *weight);
        let mut receivers = Vec::new();
        for wanted in &weights {
            let (done, told) = oneshot::channel();
            receivers.push(told);
            gather.waiting().push_back(Call { wanted: *wanted, done });
        }
        let mut served = Vec::new();
        while served.len() < weights.len() {
            let calls = gather.take();
            prop_assert!(!calls.is_empty());
            let sums = calls.iter().fold((0, 0), |sum, call| (sum.0 + call.wanted.0, sum.1 + call.wanted.1));
            prop_assert!(calls.len() == 1 || sums.0.max(sums.1) <= 50);
            served.extend(calls.into_iter().map(|call| call.wanted));
        }
        prop_assert_eq!(served, weights);
    }
}
