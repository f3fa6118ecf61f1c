use std::fs;
use std::path::Path;

use hive_core::db::ToValue;

use super::Bench;

/// Every SQL statement in this crate's code, tests apart, as it stands there.
fn statements() -> Vec<String> {
    let mut found = literals();
    found.retain(|text| is_statement(text) && !is_postgres(text) && !text.contains('{'));
    found
}

/// Every text in this crate's code, tests apart, and the code between texts.
pub(super) fn literals() -> Vec<String> {
    let mut found = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    found
}

fn collect(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        // The testing kit only looks at what others wrote.
        let is_test = path
            .file_stem()
            .is_some_and(|stem| stem == "tests" || stem == "testing");
        if is_test {
            continue;
        }
        if path.is_dir() {
            collect(&path, found);
        } else {
            let text = fs::read_to_string(&path).unwrap();
            // The statements hold no quotes, so what stands between two is a literal or the code between two literals.
            found.extend(text.split('"').map(str::to_owned));
        }
    }
}

pub(super) fn is_statement(text: &str) -> bool {
    let starts = ["SELECT ", "UPDATE ", "DELETE FROM ", "INSERT INTO ", "WITH "];
    starts.iter().any(|start| text.starts_with(start))
}

/// Whether the statement is PostgreSQL's alone.
pub(super) fn is_postgres(text: &str) -> bool {
    [
        "string_to_array",
        "json_to_recordset",
        "pg_advisory",
        "FOR NO KEY UPDATE",
        "FOR KEY SHARE",
        "SKIP LOCKED",
    ]
    .iter()
    .any(|word| text.contains(word))
}

/// One past the highest parameter.
fn parameters(sql: &str) -> usize {
    let numbers = sql.split('?').skip(1).map(|rest| {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<usize>().unwrap()
    });
    numbers.max().unwrap_or(0)
}

/// How SQLite would go about it, one line for each table.
async fn plan(bench: &Bench, sql: &str) -> Vec<String> {
    let explain = format!("EXPLAIN QUERY PLAN {sql}");
    bench
        .db
        .write(move |tx| {
            let nothing: Option<i64> = None;
            let params: Vec<&dyn ToValue> = vec![&nothing; parameters(&explain)];
            tx.query(&explain, &params, |row| row.get::<String>(3))
        })
        .await
        .unwrap()
}

/// What a statement costs must not grow with tasks that have ended, nor with what a task did long ago.
#[tokio::test]
async fn no_statement_scans() {
    let bench = Bench::new().await;
    let statements = statements();
    assert!(statements.len() > 40, "{} statements were found", statements.len());
    let mut scans = Vec::new();
    for sql in &statements {
        for line in plan(&bench, sql).await {
            let own = |table: &str| line == format!("SCAN {table}") || line.starts_with(&format!("SCAN {table} "));
            let scans_rows = [
                "task",
                "task_body",
                "task_output",
                "task_note",
                "journal",
                "inbox",
                "stream",
                "stream_piece",
                "instance",
                "flow_use",
                "budget",
                "budget_hold",
                "budget_wait",
                "hold",
                "task_review",
                "task_workflow",
                "task_stage",
                "task_deployment",
                "task_check",
                "memory_entry",
                "deployed",
                "t",
                "b",
                "s",
                "child",
            ]
            .into_iter()
            .any(own);
            // These hold live tasks only.
            let live = [
                "task_ready",
                "task_later",
                "task_running",
                "task_held",
                "task_resumed",
                "instance_open",
            ];
            if scans_rows && !live.into_iter().any(|index| line.ends_with(&format!(" INDEX {index}"))) {
                scans.push(format!("{line}: {sql}"));
            }
        }
    }
    // How many tasks there are at all is a question for people, and limits change by their hand.
    scans.retain(|scan| {
        !scan.contains("SELECT state, count(*) FROM task GROUP BY state")
            && !scan.contains("UPDATE flow_use SET most = ?1")
    });
    assert_eq!(scans, [""; 0]);
}

/// The statements that run again and again, by a word of theirs, and the index that each goes by.
#[tokio::test]
async fn hot_statements_go_by_their_own_index() {
    let bench = Bench::new().await;
    let statements = statements();
    for (words, index, sorted) in [
        ("WHERE state = 0 AND run_at <= ?1 ORDER BY run_at", "task_later", true),
        ("AND (tenant, flow_key) > (?2, ?3)", "task_ready", true),
        ("ORDER BY priority DESC, seq LIMIT ?4", "task_ready", true),
        ("AND priority = ?6\n", "task_ready", true),
        ("AND resumed = 1 AND agent = ?1", "task_resumed", true),
        ("LIMIT ?3) AS found", "task_ready", true),
        ("WHERE state = 2 AND epoch <> ?1", "task_running", true),
        ("deadline <= ?1 ORDER BY deadline", "task_deadline", true),
        ("SELECT min(run_at)", "task_deadline", true),
        ("wake_at <= ?1 ORDER BY wake_at", "journal_timer", true),
        ("SELECT min(run_at)", "task_later", true),
        ("SELECT min(run_at)", "journal_timer", true),
        ("AND state <> 2 AND state = 1) RETURNING", "journal_open", true),
        ("AND state <> 2 AND state = 4) RETURNING", "journal_open", true),
        (
            "AND state <> 2 AND state IN (0, 3))\n         ORDER BY state DESC",
            "journal_open",
            false,
        ),
        (
            "AND state <> 2 AND state IN (0, 3))\n         ORDER BY at",
            "journal_open",
            false,
        ),
        ("WHERE parent IN (SELECT value FROM json_each(?1))", "task_child", false),
        ("AND state = 0 AND signal = ?2", "journal_signal", false),
        ("journal.note IS NOT NULL", "journal_people", true),
        ("event_probe = ?2 AND event_after < ?3", "journal_event ", false),
        ("AND event_shape > ?1", "journal_event ", true),
        ("AND (at, task, key) > (?1, ?2, ?3)", "journal_event_at", true),
        ("AND event_after < ?1 AND at < ?2", "journal_event_after", true),
        ("SELECT min(event_after)", "journal_event_after", true),
        ("FROM inbox WHERE task = ?1 AND name = ?2", "inbox_task", true),
        ("AND state = 0 AND run_at = ?4", "task_held", true),
        ("WHERE parent = ?1 AND call = ?2 ORDER BY ordinal", "task_child", true),
        ("kind = 12 AND state = 0 AND signal = ?1", "journal_post", false),
        ("SELECT min(remaining)", "journal_post", true),
        ("ORDER BY priority DESC, seq LIMIT 1) RETURNING", "letter_next", true),
        ("AND t.idempotency = ?3", "task_idempotency", true),
        ("AND single = ?3", "task_single", true),
    ] {
        let sql = statements
            .iter()
            .find(|sql| sql.contains(words))
            .unwrap_or_else(|| panic!("{words} is gone"));
        let plan = plan(&bench, sql).await.join("\n");
        assert!(plan.contains(index), "{words} goes without {index}:\n{plan}");
        assert!(!sorted || !plan.contains("TEMP B-TREE"), "{words} sorts:\n{plan}");
    }
}
