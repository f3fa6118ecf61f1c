//! Connections that end while a commit is under way.

use std::sync::Arc;
use std::time::Duration;

use hive_errors::ErrorKind;

use super::super::error::Fate;
use super::super::{Appends, Begin, Lanes, column};
use super::{config, database, link, soon, with_table};
use crate::db::deadline::Deadline;
use crate::db::set::{Kind, Set};
use crate::db::value::Value;
use crate::rng::SystemRng;
use crate::testing::{Postgres, Proxy, until};

const LIMIT: Duration = Duration::from_secs(60);

static ROWS: Set = Set::insert("t", &[("k", Kind::Int)]);

/// A table whose commits take seconds.
fn slow_commits(url: &str) {
    let mut link = with_table(url);
    link.begin(Begin::write(), soon());
    link.batch(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM pg_sleep(5); RETURN NULL; END$$;
         CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED
         FOR EACH ROW EXECUTE FUNCTION slow()",
    )
    .unwrap();
    link.commit().unwrap();
}

fn proxied(url: &str) -> (Arc<Proxy>, String) {
    let at = url.rsplit('@').next().unwrap().split('/').next().unwrap().to_owned();
    let proxy = Arc::new(Proxy::start(at.as_str()));
    let through = proxy.url(url);
    (proxy, through)
}

/// Cuts once a commit is under way.
fn cut_at_commit(url: &str, proxy: &Proxy) {
    let sleeping =
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()";
    until(LIMIT, || (Postgres::shared().sql(url, sleeping) == "1").then_some(())).unwrap();
    proxy.cut();
}

#[test]
fn a_commit_without_an_answer_is_in_doubt() {
    let url = database();
    slow_commits(&url);
    let (proxy, through) = proxied(&url);
    let mut writing = link(&through);
    writing.begin(Begin::write(), soon());
    writing.execute("INSERT INTO t (k) VALUES (1)", &[]).unwrap();
    let error = std::thread::scope(|scope| {
        scope.spawn(|| cut_at_commit(&url, &proxy));
        writing.commit().map(|_| ()).unwrap_err()
    });
    assert_eq!(
        (error.kind(), error.is_retryable()),
        (ErrorKind::Indeterminate, false),
        "{error:?}"
    );
    assert!(writing.is_broken());
    // It did take place, in this case.
    let mut reading = link(&url);
    let found = until(LIMIT, || {
        reading.begin(Begin::read(), soon());
        let rows = reading.query("SELECT k FROM t", &[]).unwrap();
        (rows.len() == 1).then(|| column(&rows[0], 0).map(|value| value == Value::Int(1)).unwrap())
    });
    assert_eq!(found, Some(true));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_doubt_is_not_run_again() {
    let url = database();
    std::thread::scope(|scope| scope.spawn(|| slow_commits(&url)).join().unwrap());
    let (proxy, through) = proxied(&url);
    let lanes = Arc::new(Lanes::new(config(&through), 2, Arc::new(SystemRng)));
    let appends = Appends::new(&lanes, LIMIT, &Arc::default());
    let cutting = |proxy: &Arc<Proxy>| {
        let (url, proxy) = (url.clone(), Arc::clone(proxy));
        tokio::task::spawn_blocking(move || cut_at_commit(&url, &proxy))
    };
    let cut = cutting(&proxy);
    let error = lanes
        .run(Begin::write(), LIMIT, |link| {
            link.execute("INSERT INTO t (k) VALUES (1)", &[])
        })
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Indeterminate, "{error:?}");
    cut.await.unwrap();
    proxy.restore();
    // The first must be out of the way before the next is looked for.
    let sleeping =
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()";
    let (looking, at) = (url.clone(), sleeping);
    let gone = tokio::task::spawn_blocking(move || {
        until(LIMIT, || (Postgres::shared().sql(&looking, at) == "0").then_some(()))
    });
    gone.await.unwrap().unwrap();
    let cut = cutting(&proxy);
    let error = appends.append(&ROWS, vec![vec![2.into()]]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Indeterminate, "{error:?}");
    cut.await.unwrap();
}

#[test]
fn a_server_that_says_nothing_is_given_up_at_the_deadline() {
    let url = database();
    drop(with_table(&url));
    let (proxy, through) = proxied(&url);
    let mut writing = link(&through);
    writing.begin(Begin::write(), Deadline::after(Duration::from_millis(200)));
    writing.execute("INSERT INTO t (k) VALUES (1)", &[]).unwrap();
    proxy.stall();
    let error = writing.execute("INSERT INTO t (k) VALUES (2)", &[]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    assert_eq!((writing.fate(), writing.is_broken()), (Some(Fate::Overdue), true));
}
