//! Several processes on one PostgreSQL.

use std::collections::BTreeSet;

use tokio_util::sync::CancellationToken;

use super::super::driver;
use super::*;

fn distinct(keys: &[String]) -> usize {
    keys.iter().collect::<BTreeSet<_>>().len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_those_who_act_at_once_one_does() {
    let place = TestDb::postgres();
    let benches = [
        Bench::real(&place).await,
        Bench::real(&place).await,
        Bench::real(&place).await,
    ];
    let count: u32 = 350;
    let all = Schedule::every(HOUR).catch_up(CatchUp::All { at_most: count });
    for name in ["one", "two", "three"] {
        benches[0].define(definition(name, all.clone())).await;
    }
    let missed = now(&benches[0]).await - 1_000 * HOUR;
    for name in ["one", "two", "three"] {
        wait_for(&benches[0], name, missed).await;
    }
    let mut racers = tokio::task::JoinSet::new();
    for bench in benches.iter().cycle().take(9) {
        let bench = bench.clone();
        racers.spawn(async move {
            loop {
                let pass = bench.write(|tx, queue| store::pass(tx, queue, None)).await;
                match pass {
                    Ok(pass) if pass.tasks == 0 => return,
                    Ok(_) => {}
                    Err(error) => assert!(error.is_retryable(), "{error:?}"),
                }
            }
        });
    }
    while let Some(ended) = racers.join_next().await {
        ended.unwrap();
    }
    let keys = benches[0].keys().await;
    // The hour may have turned meanwhile.
    let least = 3 * count as usize;
    assert!((least..=least + 3).contains(&keys.len()), "{}", keys.len());
    assert_eq!(distinct(&keys), keys.len());
    for name in ["one", "two", "three"] {
        let info = benches[1].info(name).await;
        assert!(info.fired >= u64::from(count) && info.next.unwrap() > now(&benches[1]).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn those_who_define_at_once_agree() {
    let place = TestDb::postgres();
    let benches = [Bench::real(&place).await, Bench::real(&place).await];
    let mut racers = tokio::task::JoinSet::new();
    for bench in benches.iter().cycle().take(8) {
        let bench = bench.clone();
        racers.spawn(async move {
            let new = definition("nightly", Schedule::cron("0 3 * * *").unwrap());
            bench.write(move |tx, queue| store::define(tx, queue, &new)).await
        });
    }
    while let Some(ended) = racers.join_next().await {
        match ended.unwrap() {
            Ok(info) => assert_eq!(info.revision, 1),
            Err(error) => assert!(error.is_retryable(), "{error:?}"),
        }
    }
    assert_eq!(benches[0].told().await.lines().count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn drivers_of_several_processes_act_once_for_each_due_time() {
    let place = TestDb::postgres();
    let benches = [
        Bench::real(&place).await,
        Bench::real(&place).await,
        Bench::real(&place).await,
    ];
    let stop = CancellationToken::new();
    let mut drivers = tokio::task::JoinSet::new();
    for bench in benches.iter().cloned() {
        drivers.spawn(driver::run(bench.db, bench.queue, stop.clone()));
    }
    // Made after the drivers have gone to sleep, in a process of its own: they hear of it.
    let maker = Bench::real(&place).await;
    let second = Schedule::every(Duration::from_secs(1));
    for name in ["one", "two"] {
        maker.define(definition(name, second.clone())).await;
    }
    let mut changes = maker.queue.bus.subscribe("schedule.fired.>").await.unwrap();
    for _ in 0..8 {
        let event = tokio::time::timeout(Duration::from_secs(60), changes.next())
            .await
            .unwrap()
            .unwrap();
        let fired: hive_bus::catalog::ScheduleFired = event.decode().unwrap();
        assert!(event.time() >= fired.due.unwrap());
    }
    stop.cancel();
    while let Some(ended) = drivers.join_next().await {
        ended.unwrap();
    }
    let keys = maker.keys().await;
    assert!(keys.len() >= 8);
    assert_eq!(distinct(&keys), keys.len());
    let fired = maker.info("one").await.fired + maker.info("two").await.fired;
    assert_eq!(fired as usize, keys.len());
}
