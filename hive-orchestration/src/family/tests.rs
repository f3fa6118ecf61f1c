use hive_core::db::{Db, Dialect, Tx};
use hive_core::testing::TestDb;
use hive_errors::{ErrorKind, Failure};
use proptest::prelude::*;

use super::deployment::{self, DeploymentQuery, LiveQuery, Rollout, Status};
use super::review::{self, ReviewQuery, Verdict};
use super::workflow::{self, StageState, Step, WorkflowQuery};
use super::*;
use crate::tables;

async fn open(place: &TestDb) -> Db {
    let options = place.options();
    let options = options
        .migrations(&hive_bus::MIGRATIONS)
        .migrations(&tables::MIGRATIONS);
    Db::open(options).await.unwrap()
}

/// Tasks with records, as many as a look passes over more than once.
const RECORDS: i64 = 25_000;

fn fill(tx: &mut Tx<'_>) -> Result<()> {
    let id = match tx.dialect() {
        Dialect::Sqlite => "randomblob(16)",
        Dialect::Postgres => "decode(md5(CAST(i AS TEXT)), 'hex')",
    };
    let numbers = format!("WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {RECORDS})");
    for insert in [
        format!(
            "INSERT INTO task (seq, id, tenant, agent, root, ordinal, depth, state, priority, run_at, created_at, flow_key)
             SELECT i, {id}, 'default', 'agent', {id}, 0, 0, 4, 1, 0, 0, '' FROM n"
        ),
        "INSERT INTO task_review (task, repository, revision, changed_at, concluded_at, verdict)
         SELECT i, CASE WHEN i % 2 = 0 THEN 'even' ELSE 'odd' END, CAST(i AS TEXT), i,
                CASE WHEN i % 1000 = 0 THEN i END, CASE WHEN i % 1000 = 0 THEN 2 END FROM n"
            .to_owned(),
        "INSERT INTO task_workflow (task, name, version, changed_at) SELECT i, 'w' || CAST(i % 50 AS TEXT), '1', i FROM n".to_owned(),
        "INSERT INTO task_deployment (task, environment, service, version, rollout, status, changed_at)
         SELECT i, 'e' || CAST(i % 3 AS TEXT), 's' || CAST(i % 50 AS TEXT), '1', 0, i % 6, i FROM n"
            .to_owned(),
        "INSERT INTO deployed (tenant, environment, service, version, healthy, task, since)
         SELECT 'default', 'e' || CAST(i % 3 AS TEXT), 's' || CAST(i AS TEXT), '1', 1, i, i FROM n"
            .to_owned(),
    ] {
        tx.execute(&format!("{numbers} {insert}"), &[])?;
    }
    for table in ["task", "task_review", "task_workflow", "task_deployment", "deployed"] {
        if tx.dialect() == Dialect::Postgres {
            tx.execute(&format!("ANALYZE {table}"), &[])?;
        }
    }
    Ok(())
}

/// `query` with each set of these conditions.
fn sets<Q: Clone>(query: &Q, conditions: &[fn(Q) -> Q]) -> Vec<Q> {
    conditions.iter().fold(vec![query.clone()], |mut queries, condition| {
        let more: Vec<Q> = queries.iter().cloned().map(condition).collect();
        queries.extend(more);
        queries
    })
}

/// Complains of a plan that looks at a table as a whole, or sorts what it found.
fn check(what: &str, plan: &[String]) {
    let text = plan.join("\n");
    let bad = ["SCAN ", "TEMP B-TREE", "Seq Scan", "Sort "];
    assert!(!bad.iter().any(|bad| text.contains(bad)), "{what}:\n{text}");
}

async fn plans(place: TestDb) {
    let db = open(&place).await;
    db.write(fill).await.unwrap();
    db.write(|tx| {
        if tx.dialect() == Dialect::Postgres {
            // What PostgreSQL prefers depends on how much there is; what it could do does not. Connections that are made from here on
            // look at a whole table, or sort, only where no index will do.
            let name = tx.query_one("SELECT quote_ident(current_database())", &[], |row| {
                row.get::<String>(0)
            })?;
            for way in ["enable_seqscan", "enable_bitmapscan", "enable_sort"] {
                tx.execute(&format!("ALTER DATABASE {name} SET {way} = off"), &[])?;
            }
        }
        Ok(())
    })
    .await
    .unwrap();
    db.close().await.unwrap();
    let db = open(&place).await;
    db.write(|tx| {
        let reviews: [fn(ReviewQuery) -> ReviewQuery; 8] = [
            |query| query.repository("even"),
            |query| query.revision("4"),
            |query| query.verdict(Verdict::ChangesRequested),
            |query| query.concluded(true),
            |query| query.agent("agent"),
            |query| query.tenant("default"),
            |query| query.since(Timestamp::EPOCH),
            |query| query.task_state(TaskState::Dead),
        ];
        for query in sets(&ReviewQuery::new(), &reviews) {
            check(&format!("{query:?}"), &query.explain(tx));
        }
        let workflows: [fn(WorkflowQuery) -> WorkflowQuery; 5] = [
            |query| query.name("w7"),
            |query| query.version("1"),
            |query| query.ended(false),
            |query| query.since(Timestamp::EPOCH),
            |query| query.task_state(TaskState::Succeeded).task_state(TaskState::Running),
        ];
        for query in sets(&WorkflowQuery::new(), &workflows) {
            check(&format!("{query:?}"), &query.explain(tx));
        }
        let deployments: [fn(DeploymentQuery) -> DeploymentQuery; 6] = [
            |query| query.environment("e1"),
            |query| query.service("s7"),
            |query| query.version("1"),
            |query| query.unsuccessful(),
            |query| query.tenant("default"),
            |query| query.status(Status::Abandoned),
        ];
        for query in sets(&DeploymentQuery::new(), &deployments) {
            check(&format!("{query:?}"), &query.explain(tx));
        }
        let (word, column) = match tx.dialect() {
            Dialect::Sqlite => ("EXPLAIN QUERY PLAN", 3),
            Dialect::Postgres => ("EXPLAIN", 0),
        };
        for only in [false, true] {
            let sql = format!("{word} {}", deployment::live_statement(only));
            let plan = tx.query(&sql, &[&"default", &"e1", &"s7", &21_u64], |row| {
                row.get::<String>(column)
            })?;
            check("deployed", &plan);
        }
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn every_question_goes_by_an_index() {
    plans(TestDb::sqlite()).await;
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_question_goes_by_an_index_on_a_server() {
    plans(TestDb::postgres()).await;
}

async fn looks(place: TestDb) {
    let db = open(&place).await;
    db.write(fill).await.unwrap();
    for (repository, expected) in [(None, 25), (Some("even"), 25), (Some("odd"), 0)] {
        let mut query = ReviewQuery::new().verdict(Verdict::ChangesRequested).limit(4);
        if let Some(repository) = repository {
            query = query.repository(repository);
        }
        let (mut found, mut pages) = (Vec::new(), 0);
        loop {
            let asked = query.clone();
            let page = db.read(move |db| review::list(db, &asked)).await.unwrap();
            pages += 1;
            found.extend(page.records.into_iter().map(|record| record.review.revision));
            match page.next {
                Some(next) => query = query.after(next),
                None => break,
            }
        }
        let expected: Vec<String> = (1..=expected).rev().map(|n| (n * 1_000).to_string()).collect();
        assert_eq!(found, expected, "{repository:?}");
        // No look goes further than it may, and none is in vain but by its bound.
        assert!((2..=9).contains(&pages), "{repository:?}: {pages}");
    }
}

#[tokio::test]
async fn a_look_is_bounded_and_the_next_goes_on_behind_it() {
    looks(TestDb::sqlite()).await;
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_is_bounded_and_the_next_goes_on_behind_it_on_a_server() {
    looks(TestDb::postgres()).await;
}

#[tokio::test]
async fn what_is_in_place_comes_by_pages() {
    let place = TestDb::sqlite();
    let db = open(&place).await;
    db.write(fill).await.unwrap();
    let (mut query, mut seen) = (LiveQuery::new("e1").limit(150), 0);
    loop {
        let asked = query.clone();
        let page = db.read(move |db| deployment::deployed(db, &asked)).await.unwrap();
        assert!(page.services.is_sorted_by(|a, b| a.service < b.service));
        seen += page.services.len();
        match page.next {
            Some(next) => query = query.after(next),
            None => break,
        }
    }
    assert_eq!(seen as i64, (1..=RECORDS).filter(|n| n % 3 == 1).count() as i64);
}

/// A code that stands in a database keeps its meaning, and one that is not known is not taken for another.
#[test]
fn codes_stand() {
    let verdicts = [
        Verdict::Approved,
        Verdict::Rejected,
        Verdict::ChangesRequested,
        Verdict::Inconclusive,
    ];
    for (code, verdict) in (0..).zip(verdicts) {
        assert_eq!(
            (review::code(verdict).unwrap(), review::verdict(code).unwrap()),
            (code, verdict)
        );
    }
    for (code, state) in (0..).zip(STAGES) {
        assert_eq!((state.code(), StageState::from_code(code).unwrap()), (code, state));
    }
    let statuses = [
        Status::Pending,
        Status::InProgress,
        Status::Healthy,
        Status::Unhealthy,
        Status::Failed,
        Status::RolledBack,
    ];
    for (code, status) in (0..).zip(statuses) {
        assert_eq!((status.code(), Status::from_code(code).unwrap()), (code, status));
    }
    let rollouts = [Rollout::AtOnce, Rollout::Rolling, Rollout::BlueGreen, Rollout::Canary];
    for (code, rollout) in (0..).zip(rollouts) {
        assert_eq!((rollout.code(), Rollout::from_code(code).unwrap()), (code, rollout));
    }
    for code in [-1, 6, 7, i64::MAX] {
        for error in [
            review::verdict(code).unwrap_err(),
            StageState::from_code(code).unwrap_err(),
            Status::from_code(code).unwrap_err(),
            Rollout::from_code(code).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Corrupt);
        }
    }
}

const STAGES: [StageState; 5] = [
    StageState::Pending,
    StageState::Running,
    StageState::Completed,
    StageState::Failed,
    StageState::Skipped,
];

#[test]
fn a_stage_ends_once_and_only_a_failed_one_begins_again() {
    let failure = Failure::terminal("no");
    let steps = [Step::Start, Step::Complete, Step::Skip, Step::Fail(failure)];
    let table = steps.iter().map(|step| STAGES.map(|state| workflow::next(state, step)));
    use StageState::{Completed, Failed, Running, Skipped};
    let expected = [
        [Some(Running), None, None, Some(Running), None],
        [None, Some(Completed), None, None, None],
        [Some(Skipped), None, None, None, None],
        [None, Some(Failed), None, None, None],
    ];
    assert!(table.eq(expected));
}

proptest! {
    #[test]
    fn a_clipped_text_fits_and_is_the_beginning(text in "\\PC{0,3000}|[\0a-c]{0,5000}") {
        let (clipped, shown) = (clipped(&text), text.replace('\0', "\u{fffd}"));
        prop_assert!(check_text("message", &clipped).is_ok());
        prop_assert!(shown.starts_with(&clipped));
        prop_assert!(clipped.len() + 4 > limits::RECORD_TEXT_BYTES || clipped == shown);
    }

    /// Whatever is said in whatever order, a deployment never leaves what is final, and is healthy only after it began.
    #[test]
    fn a_deployment_goes_by_its_verbs(verbs in proptest::collection::vec(0..6_usize, 0..30)) {
        use deployment::Verb;
        let (mut status, mut begun) = (Status::Pending, false);
        for verb in verbs {
            let verb = [
                Verb::Begin,
                Verb::Check { name: "c".to_owned(), healthy: true, detail: None },
                Verb::Succeed,
                Verb::Ail(Failure::terminal("no")),
                Verb::Fail(Failure::terminal("no")),
                Verb::RollBack(None),
            ][verb].clone();
            let Some(next) = verb.next(status) else { continue };
            prop_assert!(status != Status::RolledBack && next != Status::Abandoned && next != Status::Pending);
            begun |= matches!(verb, Verb::Begin);
            prop_assert!(begun || next == Status::Failed || next == Status::RolledBack);
            prop_assert!(status != Status::Failed || next == Status::RolledBack);
            status = next;
        }
    }
}
