//! What is written before the power goes, and what must be found afterwards.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use hive_core::db::{Db, Snapshot, Tx};
use hive_core::rng::{Rng, SeededRng};
use hive_core_vfs::Watched;
use hive_errors::{Error, ErrorKind, Result};
use tokio::task::JoinSet;

use super::super::open;

const TASKS: u64 = 16;
/// How often the database is closed and opened again.
const SESSIONS: u64 = 4;
/// Closures of one task in one session.
const CLOSURES: u64 = 180;
/// Of closures without a database, in one run.
const BARE: u64 = 400;

/// What a closure does to one row and its twin.
#[derive(Clone, Debug)]
enum Change {
    Put { id: i64, bytes: usize, fill: u8 },
    Delete { id: i64 },
}

/// What one closure does.
#[derive(Clone, Debug)]
struct Plan {
    changes: Vec<Change>,
    /// It does all of it and then fails.
    fails: bool,
}

/// Rows as one number that does not depend on their order.
type Digest = u64;

fn digest(id: i64, bytes: usize, fill: u8) -> Digest {
    SeededRng::new(id.cast_unsigned() << 32 ^ (bytes as u64) << 8 ^ u64::from(fill)).next_u64()
}

/// The content after each closure.
#[derive(Debug)]
pub(super) struct Model {
    /// By serial number; the first is the empty database.
    digests: Vec<Digest>,
    failed: usize,
}

impl Model {
    /// `done` holds what each closure that was acknowledged did, by its serial number.
    fn new(done: BTreeMap<u64, Vec<Change>>, failed: usize) -> Self {
        let mut rows = BTreeMap::new();
        let mut digests = vec![0];
        let mut whole: Digest = 0;
        for (serial, changes) in done {
            assert_eq!(serial, digests.len() as u64, "a serial number is missing");
            for change in changes {
                let (id, new) = match change {
                    Change::Put { id, bytes, fill } => (id, Some(digest(id, bytes, fill))),
                    Change::Delete { id } => (id, None),
                };
                let old = match new {
                    Some(new) => rows.insert(id, new),
                    None => rows.remove(&id),
                };
                whole = whole.wrapping_sub(old.unwrap_or(0)).wrapping_add(new.unwrap_or(0));
            }
            digests.push(whole);
        }
        Self { digests, failed }
    }

    /// How many closures succeeded.
    pub(super) fn len(&self) -> usize {
        self.digests.len() - 1
    }

    pub(super) fn failed(&self) -> usize {
        self.failed
    }
}

/// One party's rows: nobody else touches them, so it knows which are there.
struct Party {
    rng: SeededRng,
    first: i64,
    there: Vec<i64>,
    next: i64,
}

impl Party {
    fn new(seed: u64, number: u64) -> Self {
        let first = i64::try_from(number).unwrap() * 1_000_000;
        Self {
            rng: SeededRng::new(seed ^ (number + 1) << 48),
            first,
            there: Vec::new(),
            next: 0,
        }
    }

    fn below(&self, limit: u64) -> u64 {
        self.rng.next_u64() % limit
    }

    fn plan(&mut self) -> Plan {
        let count = 1 + self.below(3);
        let fails = self.below(12) == 0;
        let kept = (self.there.clone(), self.next);
        let changes = (0..count).map(|_| self.change()).collect();
        if fails {
            (self.there, self.next) = kept;
        }
        Plan { changes, fails }
    }

    fn change(&mut self) -> Change {
        let some = usize::try_from(self.rng.next_u64() >> 1).unwrap() % self.there.len().max(1);
        if self.there.len() > 10 || (!self.there.is_empty() && self.below(3) == 0) {
            return Change::Delete {
                id: self.there.swap_remove(some),
            };
        }
        let id = if self.below(2) == 0 && !self.there.is_empty() {
            self.there[some]
        } else {
            self.next += 1;
            self.there.push(self.first + self.next);
            self.first + self.next
        };
        let bytes = match self.below(12) {
            0 => 4_096 + self.below(16_384),
            1 => 0,
            _ => self.below(400),
        };
        Change::Put {
            id,
            bytes: usize::try_from(bytes).unwrap(),
            fill: self.rng.next_u64().to_le_bytes()[0],
        }
    }
}

/// Content that says what it must be.
fn sum(bytes: usize, fill: u8) -> i64 {
    i64::try_from(bytes).unwrap() << 8 | i64::from(fill)
}

const PUT_ROW: &str = "INSERT INTO row (id, body) VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET body = excluded.body";
const PUT_TWIN: &str =
    "INSERT INTO twin (id, length) VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET length = excluded.length";
const DELETE_TWIN: &str = "DELETE FROM twin WHERE id = ?1";
const DELETE_ROW: &str = "DELETE FROM row WHERE id = ?1";
const COUNT: &str = "UPDATE serial SET last = last + 1";
const LAST: &str = "SELECT last FROM serial";

/// Carries out a plan within its closure and gives its serial number.
fn carry_out(tx: &mut Tx<'_>, plan: &Plan) -> Result<u64> {
    tx.execute(COUNT, &[])?;
    let serial: i64 = tx.query_one(LAST, &[], |row| row.get(0))?;
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
    if plan.fails {
        return Err(Error::new(ErrorKind::Conflict, "changed my mind"));
    }
    Ok(serial.cast_unsigned())
}

/// Makes the table of serial numbers.
async fn prepare(db: &Db) {
    db.write(|tx| {
        tx.execute("CREATE TABLE serial (last INTEGER NOT NULL) STRICT", &[])?;
        tx.execute("INSERT INTO serial VALUES (0)", &[]).map(drop)
    })
    .await
    .unwrap();
}

/// Many tasks write through the database, which is closed and opened in between.
pub(super) fn run(watched: &Watched, seed: u64) -> Model {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let done = Arc::new(Mutex::new((BTreeMap::new(), 0)));
        let mut parties: Vec<Party> = (0..TASKS).map(|task| Party::new(seed, task)).collect();
        for session in 0..SESSIONS {
            let db = open(watched.path()).await.unwrap();
            if session == 0 {
                prepare(&db).await;
            }
            let mut tasks = JoinSet::new();
            for party in parties.drain(..) {
                tasks.spawn(write(db.clone(), party, watched.marker(), Arc::clone(&done)));
            }
            parties = tasks.join_all().await;
            // The last handle's drop is a way to close it as well.
            if session % 2 == 0 {
                db.close().await.unwrap();
            }
        }
        let (done, failed) = std::mem::take(&mut *done.lock().unwrap());
        Model::new(done, failed)
    })
}

type Done = Arc<Mutex<(BTreeMap<u64, Vec<Change>>, usize)>>;

async fn write(db: Db, mut party: Party, mark: impl Fn(u64) + Clone + Send + Sync + 'static, done: Done) -> Party {
    for _ in 0..CLOSURES {
        let plan = party.plan();
        let (own, hook) = (plan.clone(), mark.clone());
        let answer = db
            .write(move |tx| {
                let serial = carry_out(tx, &own)?;
                let hook = hook.clone();
                // A hook may tell others: what it rests on must be on disk by then.
                tx.on_commit(move || hook(serial));
                Ok(serial)
            })
            .await;
        match answer {
            Ok(serial) => {
                mark(serial);
                done.lock().unwrap().0.insert(serial, plan.changes);
            }
            Err(error) => {
                assert!(plan.fails, "{error:?}");
                done.lock().unwrap().1 += 1;
            }
        }
    }
    party
}

/// The same through a bare connection with `settings`, one commit for each closure, promised when the commit returns.
pub(super) fn run_bare(watched: &Watched, seed: u64, settings: &str) -> Model {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let db = open(watched.path()).await.unwrap();
        prepare(&db).await;
        db.close().await.unwrap();
    });
    let conn = rusqlite::Connection::open(watched.path()).unwrap();
    conn.execute_batch(settings).unwrap();
    let mut party = Party::new(seed, 0);
    let mut done = BTreeMap::new();
    for _ in 0..BARE {
        let plan = party.plan();
        if plan.fails {
            continue;
        }
        conn.execute_batch("BEGIN IMMEDIATE").unwrap();
        conn.execute(COUNT, []).unwrap();
        let serial: i64 = conn.query_row(LAST, [], |row| row.get(0)).unwrap();
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
        conn.execute_batch("COMMIT").unwrap();
        watched.mark(serial.cast_unsigned());
        done.insert(serial.cast_unsigned(), plan.changes);
    }
    Model::new(done, 0)
}

/// Opens what a power cut left and says what is wrong with it.
pub(super) async fn examine(path: &Path, promised: u64, model: &Model) -> Result<(), String> {
    let db = open(path)
        .await
        .map_err(|error| format!("it does not open: {error:?}"))?;
    let found = db.read(look).await;
    let (integrity, serial, content) = found.map_err(|error| format!("it cannot be read: {error:?}"))?;
    if integrity != "ok" {
        return Err(format!("it is corrupt: {integrity}"));
    }
    let content = content?;
    if serial < promised {
        return Err(format!(
            "acknowledged and gone: {serial} closures are there of {promised}"
        ));
    }
    let expected = usize::try_from(serial)
        .ok()
        .and_then(|serial| model.digests.get(serial));
    if expected != Some(&content) {
        return Err(format!("the content is not that of {serial} closures"));
    }
    // Work goes on.
    let count = |tx: &mut Tx<'_>| tx.execute("UPDATE row SET id = id WHERE id < 0", &[]);
    db.write(count)
        .await
        .map_err(|error| format!("it cannot be written: {error:?}"))?;
    db.close()
        .await
        .map_err(|error| format!("it cannot be closed: {error:?}"))
}

/// Whether the file is whole, the last serial number, and the rows or what is wrong with them.
fn look(db: &Snapshot<'_>) -> Result<(String, u64, Result<Digest, String>)> {
    let integrity: String = db.query_one("PRAGMA integrity_check", &[], |row| row.get(0))?;
    if integrity != "ok" {
        return Ok((integrity, 0, Ok(0)));
    }
    let tables = "SELECT count(*) FROM sqlite_schema WHERE name = 'serial'";
    let prepared: i64 = db.query_one(tables, &[], |row| row.get(0))?;
    // Not there at all, or with its row.
    let serial: i64 = if prepared == 0 {
        0
    } else {
        db.query_one(LAST, &[], |row| row.get(0))?
    };
    let mut content: Result<Digest, String> = Ok(0);
    let pairs = "SELECT row.id, body, twin.id, length FROM row FULL JOIN twin ON row.id = twin.id";
    db.each(pairs, &[], |row| {
        let (id, twin): (Option<i64>, Option<i64>) = (row.get(0)?, row.get(2)?);
        if id != twin {
            content = Err(format!("a closure is there by halves: row {id:?}, twin {twin:?}"));
            return Ok(false);
        }
        let (id, length): (i64, i64) = (row.get(0)?, row.get(3)?);
        let (bytes, fill) = (usize::try_from(length >> 8).unwrap(), length.to_le_bytes()[0]);
        if row.blob(1)? != vec![fill; bytes] {
            content = Err(format!("the content is not that of the twin's closure in row {id}"));
            return Ok(false);
        }
        content = content
            .as_ref()
            .map(|sum| sum.wrapping_add(digest(id, bytes, fill)))
            .map_err(Clone::clone);
        Ok(true)
    })?;
    Ok((integrity, serial.cast_unsigned(), content))
}
