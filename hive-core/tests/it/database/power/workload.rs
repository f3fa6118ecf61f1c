//! What happens before the power goes.

use std::sync::Arc;

use hive_core::db::{Db, Tx, Write};
use hive_core_vfs::{Call, Fault, File, How, Watched};
use hive_errors::{Error, ErrorKind, Result};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::super::open;
use super::examine::{content, sum};
use super::model::{Change, Model, Party, Plan};

const PARTIES: u64 = 16;
/// How often the database is closed and opened again.
const SESSIONS: u64 = 4;
/// Closures of one party in one session.
const CLOSURES: u64 = 180;
/// Closures of one party while the disk fails now and then.
const TROUBLED: u64 = 300;
/// Closures of the bare connection.
const BARE: u64 = 400;

/// What became of a workload.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) model: Arc<Model>,
    /// How many closures were acknowledged, and how many were not.
    pub(super) done: u64,
    pub(super) refused: u64,
}

const PUT_ROW: &str = "INSERT INTO row (id, body) VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET body = excluded.body";
const PUT_TWIN: &str =
    "INSERT INTO twin (id, length) VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET length = excluded.length";
const DELETE_TWIN: &str = "DELETE FROM twin WHERE id = ?1";
const DELETE_ROW: &str = "DELETE FROM row WHERE id = ?1";
const NAME: &str = "SELECT name FROM serial";
const COUNT: &str = "UPDATE serial SET last = ?1, name = ?2";

/// Carries out a plan within its closure and gives the name of the state it makes.
fn carry_out(tx: &mut Tx<'_>, plan: &Plan, model: &Model) -> Result<u64> {
    let before: i64 = tx.query_one(NAME, &[], |row| row.get(0))?;
    for change in &plan.changes {
        match change {
            Change::Put { id, bytes, fill } => {
                tx.execute(PUT_ROW, &[id, &vec![*fill; *bytes]])?;
                tx.execute(PUT_TWIN, &[id, &sum(*bytes, *fill)])?;
            }
            Change::Delete { id } => {
                tx.execute(DELETE_TWIN, &[id])?;
                tx.execute(DELETE_ROW, &[id])?;
            }
        }
    }
    let (serial, name) = model.grow(before.cast_unsigned(), plan.delta);
    tx.execute(COUNT, &[&serial.cast_signed(), &name.cast_signed()])?;
    if plan.fails {
        return Err(Error::new(ErrorKind::Conflict, "changed my mind"));
    }
    Ok(name)
}

/// Makes the table that says which state the database is in.
async fn prepare(db: &Db) {
    db.write(|tx| {
        tx.execute(
            "CREATE TABLE serial (last INTEGER NOT NULL, name INTEGER NOT NULL) STRICT",
            &[],
        )?;
        tx.execute("INSERT INTO serial VALUES (0, 0)", &[]).map(drop)
    })
    .await
    .unwrap();
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

/// Many parties write through the database, which is closed and opened in between.
pub(super) fn run(watched: &Watched, seed: u64) -> Ran {
    runtime().block_on(async {
        let model = Arc::new(Model::new());
        let (mut done, mut refused) = (0, 0);
        let mut parties: Vec<Party> = (0..PARTIES).map(|number| Party::new(seed, number)).collect();
        for session in 0..SESSIONS {
            let db = open(watched.path()).await.unwrap();
            if session == 0 {
                prepare(&db).await;
            }
            let mut tasks = JoinSet::new();
            for mut party in parties.drain(..) {
                let (db, model, mark) = (db.clone(), Arc::clone(&model), watched.marker());
                tasks.spawn(async move {
                    let mut done = 0;
                    for _ in 0..CLOSURES {
                        let plan = party.plan();
                        match write(&db, plan.clone(), &model, &mark).await {
                            Ok(()) => {
                                party.done();
                                done += 1;
                            }
                            Err(error) => assert!(plan.fails, "{error:?}"),
                        }
                    }
                    (party, done)
                });
            }
            for (party, count) in tasks.join_all().await {
                parties.push(party);
                done += count;
                refused += CLOSURES - count;
            }
            // The last handle's drop is a way to close it as well.
            if session % 2 == 0 {
                db.close().await.unwrap();
            }
        }
        Ran { model, done, refused }
    })
}

/// One closure, promised as early as anybody can hear of it; a relaxed one with the next durable one, which may have seen it.
async fn write(
    db: &Db,
    plan: Plan,
    model: &Arc<Model>,
    mark: &(impl Fn(u64) + Clone + Send + Sync + 'static),
) -> Result<()> {
    let (own, hook) = (Arc::clone(model), mark.clone());
    let relaxed = plan.relaxed;
    let asked = if relaxed { Write::relaxed() } else { Write::durable() };
    let name = db
        .write_with(asked, move |tx| {
            let name = carry_out(tx, &plan, &own)?;
            let hook = hook.clone();
            // A hook may tell others: what it rests on must be on disk by then.
            if !relaxed {
                tx.on_commit(move || hook(name));
            }
            Ok(name)
        })
        .await?;
    if !relaxed {
        mark(name);
    }
    Ok(())
}

/// The same while the disk fails now and then. The database stays open all the while.
pub(super) fn run_with_faults(watched: &Watched, seed: u64) -> Ran {
    runtime().block_on(async {
        let model = Arc::new(Model::new());
        let (mut done, mut refused) = (0, 0);
        let db = open(watched.path()).await.unwrap();
        prepare(&db).await;
        // Whatever else fails: one sync of each file does, the first time that it comes to it.
        for file in [File::Main, File::Log] {
            watched.fail(Fault::new(Call::Sync, How::Broken).on(file).times(1));
        }
        let mut tasks = JoinSet::new();
        for number in 0..8 {
            let party = Party::new(seed, number);
            let (db, model, watched) = (db.clone(), Arc::clone(&model), watched.clone());
            tasks.spawn(trouble(db, party, model, watched));
        }
        for counts in tasks.join_all().await {
            done += counts.0;
            refused += counts.1;
        }
        watched.heal();
        // Whatever the last fault has left: it goes on.
        db.write(|_| Ok(())).await.unwrap();
        db.close().await.unwrap();
        let db = open(watched.path()).await.unwrap();
        let found = db.read(content).await.unwrap();
        db.close().await.unwrap();
        let (serial, name, digest) = found.unwrap();
        model.judge(name, serial, name, digest).unwrap();
        Ran { model, done, refused }
    })
}

async fn trouble(db: Db, mut party: Party, model: Arc<Model>, watched: Watched) -> (u64, u64) {
    let mark = watched.marker();
    let (mut done, mut refused) = (0, 0);
    for _ in 0..TROUBLED {
        if party.below(60) == 0 {
            watched.fail(fault(&party));
        }
        let plan = party.plan();
        match write(&db, plan.clone(), &model, &mark).await {
            Ok(()) => {
                party.done();
                done += 1;
            }
            Err(error) => {
                refused += 1;
                let troubles = [ErrorKind::Storage, ErrorKind::DiskFull];
                let own = plan.fails && error.kind() == ErrorKind::Conflict;
                assert!(own || troubles.contains(&error.kind()), "{error:?}");
            }
        }
    }
    (done, refused)
}

fn fault(party: &Party) -> Fault {
    let (call, how, file) = match party.below(8) {
        0 => (Call::Write, How::Broken, File::Log),
        1 => (Call::Write, How::Full, File::Log),
        2 => (Call::Write, How::Half, File::Log),
        3 | 4 => (Call::Sync, How::Broken, File::Log),
        5 => (Call::Write, How::Half, File::Main),
        6 => (Call::Sync, How::Broken, File::Main),
        _ => (Call::Read, How::Broken, File::Main),
    };
    // The main file is only synced when the log is folded in.
    let after = if file == File::Main { 1 } else { 30 };
    Fault::new(call, how)
        .on(file)
        .after(party.below(after))
        .times(1 + party.below(3))
}

/// The same through a bare connection with `settings`, one commit for each closure, promised when the commit returns.
pub(super) fn run_bare(watched: &Watched, seed: u64, settings: &str) -> Ran {
    runtime().block_on(async {
        let db = open(watched.path()).await.unwrap();
        prepare(&db).await;
        db.close().await.unwrap();
    });
    let conn = rusqlite::Connection::open(watched.path()).unwrap();
    conn.execute_batch(settings).unwrap();
    let model = Arc::new(Model::new());
    let mut party = Party::new(seed, 0);
    let (mut done, mut before) = (0, 0);
    for _ in 0..BARE {
        let plan = party.plan();
        conn.execute_batch("BEGIN IMMEDIATE").unwrap();
        for change in &plan.changes {
            match change {
                Change::Put { id, bytes, fill } => {
                    conn.execute(PUT_ROW, (id, vec![*fill; *bytes])).unwrap();
                    conn.execute(PUT_TWIN, (id, sum(*bytes, *fill))).unwrap();
                }
                Change::Delete { id } => {
                    conn.execute(DELETE_TWIN, [id]).unwrap();
                    conn.execute(DELETE_ROW, [id]).unwrap();
                }
            }
        }
        let (serial, name) = model.grow(before, plan.delta);
        conn.execute(COUNT, (serial.cast_signed(), name.cast_signed())).unwrap();
        conn.execute_batch("COMMIT").unwrap();
        watched.mark(name);
        party.done();
        (done, before) = (done + 1, name);
    }
    Ran {
        model,
        done,
        refused: 0,
    }
}
