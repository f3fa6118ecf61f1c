use hive_core::db::{Db, Options};
use proptest::prelude::*;

use super::*;

#[tokio::test]
async fn the_hot_queries_use_their_indexes() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(Options::file(dir.path().join("hive.db")).migrations(&MIGRATIONS))
        .await
        .unwrap();
    let plan = |sql: &'static str, count: usize| {
        let db = db.clone();
        async move {
            let sql = format!("EXPLAIN QUERY PLAN {sql}");
            db.read(move |db| {
                let nothing = None::<i64>;
                let params = vec![&nothing as &dyn ToValue; count];
                db.query(&sql, &params, |row| row.get::<String>(3))
            })
            .await
            .unwrap()
        }
    };
    for (sql, count, expected) in [
        (BY_ID, 1, "SEARCH event USING INDEX sqlite_autoindex_event_1 (id=?)"),
        (HEAD, 0, "SEARCH event"),
        (
            FORWARD.sqlite[0],
            11,
            "SEARCH event USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
        ),
        (
            FORWARD.sqlite[1],
            11,
            "SEARCH event USING INDEX event_by_correlation (correlation=? AND rowid>? AND rowid<?)",
        ),
        (
            BACKWARD.sqlite[0],
            11,
            "SEARCH event USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
        ),
        (
            BACKWARD.sqlite[1],
            11,
            "SEARCH event USING INDEX event_by_correlation (correlation=? AND rowid>? AND rowid<?)",
        ),
        (
            COUNT.sqlite[0],
            11,
            "SEARCH event USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
        ),
        (NEXT_ABOVE, 1, "SEARCH event USING INTEGER PRIMARY KEY (rowid>?)"),
        (NEXT_BELOW, 1, "SEARCH event USING INTEGER PRIMARY KEY (rowid<?)"),
    ] {
        // One step and no sorting: the rows come in the order of their sequences by themselves.
        assert_eq!(plan(sql, count).await, [expected], "{sql}");
    }
}

proptest! {
    #[test]
    fn the_range_of_a_pattern_holds_all_its_topics(
        pattern in "(a|b|-|\\*)(\\.(a|b|/|\\*)){0,3}(\\.>)?",
        topic in "(a|b|-)(\\.(a|b|/)){0,4}",
    ) {
        let (pattern, topic) = (Pattern::new(pattern).unwrap(), Topic::new(topic).unwrap());
        let (from, below) = pattern_range(&pattern);
        let inside = from.is_none_or(|from| topic.as_str() >= from.as_str())
            && below.is_none_or(|below| topic.as_str() < below.as_str());
        prop_assert!(inside || !pattern.matches(&topic), "{pattern} {topic}");
    }
}
