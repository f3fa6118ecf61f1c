//! What a program is, and how one is made up.

use hive_core::db::Cell;
use proptest::prelude::*;

use super::statements::{QUERIES, SETS, Slot, WRITES, WRONG};

pub(super) type Program = Vec<Call>;

/// One call of the database.
#[derive(Clone, Debug)]
pub(super) enum Call {
    Write {
        mode: Mode,
        acts: Vec<Act>,
        end: End,
    },
    Read {
        acts: Vec<Act>,
        end: End,
    },
    /// One row of a set.
    Append {
        set: usize,
        row: Vec<Cell>,
    },
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Mode {
    Durable,
    Relaxed,
    ReadCommitted,
}

/// How a closure, or an attempt within one, ends when nothing went wrong before.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    Keep,
    Fail,
    Panic,
}

/// One step of a closure.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// A statement. One that goes on does so after a failure, too.
    Run {
        statement: Statement,
        how: How,
        goes_on: bool,
    },
    InsertAll {
        set: usize,
        rows: Vec<Vec<Cell>>,
        goes_on: bool,
    },
    Attempt {
        acts: Vec<Act>,
        end: End,
        goes_on: bool,
    },
    Hook,
    Notify,
}

#[derive(Clone)]
pub(super) struct Statement {
    pub(super) sql: &'static str,
    pub(super) params: Vec<Cell>,
}

impl Statement {
    /// Whether it writes and has rows to show for it.
    pub(super) fn returns(&self) -> bool {
        self.sql.contains("RETURNING")
    }
}

impl std::fmt::Debug for Statement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} with {:?}", self.sql, self.params)
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) enum How {
    Execute,
    /// All rows.
    Query,
    First,
    One,
    /// Stops after so many rows.
    Each(usize),
    /// Every column read as a type that may not fit.
    Misread(usize),
}

pub(super) fn programs() -> impl Strategy<Value = Program> {
    prop::collection::vec(call(), 1..6)
}

fn call() -> impl Strategy<Value = Call> {
    let mode = prop_oneof![6 => Just(Mode::Durable), 1 => Just(Mode::Relaxed), 2 => Just(Mode::ReadCommitted)];
    let write = (mode, acts(2), end()).prop_map(|(mode, acts, end)| Call::Write { mode, acts, end });
    let read = (prop::collection::vec(read_act(), 1..4), end()).prop_map(|(acts, end)| Call::Read { acts, end });
    let append = (0..SETS.len()).prop_flat_map(|set| row(set).prop_map(move |row| Call::Append { set, row }));
    prop_oneof![8 => write, 2 => read, 1 => append]
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![20 => Just(End::Keep), 3 => Just(End::Fail), 1 => Just(End::Panic)]
}

fn acts(depth: u32) -> BoxedStrategy<Vec<Act>> {
    prop::collection::vec(act(depth), 1..6).boxed()
}

fn act(depth: u32) -> BoxedStrategy<Act> {
    let goes_on = prop::bool::weighted(0.3);
    let write = (of(WRITES), how_to_write(), goes_on).prop_map(|(statement, how, goes_on)| Act::Run {
        statement,
        how,
        goes_on,
    });
    let rows = (0..SETS.len()).prop_flat_map(|set| {
        (
            prop::collection::vec(row(set).prop_map(one_of_many), 0..5),
            prop::bool::weighted(0.3),
        )
            .prop_map(move |(rows, goes_on)| Act::InsertAll { set, rows, goes_on })
    });
    let simple = prop_oneof![
        14 => write,
        6 => read_act(),
        2 => rows,
        1 => Just(Act::Hook),
        1 => Just(Act::Notify),
    ];
    if depth == 0 {
        return simple.boxed();
    }
    let attempt = (acts(depth - 1), end(), prop::bool::weighted(0.8));
    let attempt = attempt.prop_map(|(acts, end, goes_on)| Act::Attempt { acts, end, goes_on });
    prop_oneof![16 => simple, 3 => attempt].boxed()
}

fn read_act() -> impl Strategy<Value = Act> {
    let wrong = (of(WRONG), how(), prop::bool::weighted(0.5));
    let right = (of(QUERIES), how(), prop::bool::weighted(0.3));
    prop_oneof![1 => wrong, 12 => right].prop_map(|(statement, how, goes_on)| Act::Run {
        statement,
        how,
        goes_on,
    })
}

fn how_to_write() -> impl Strategy<Value = How> {
    prop_oneof![6 => Just(How::Execute), 1 => Just(How::Query), 1 => Just(How::First)]
}

fn how() -> impl Strategy<Value = How> {
    prop_oneof![
        6 => Just(How::Query),
        2 => Just(How::First),
        2 => Just(How::One),
        1 => (0..3_usize).prop_map(How::Each),
        1 => (0..4_usize).prop_map(How::Misread),
    ]
}

fn of(list: &'static [(&'static str, &'static [Slot])]) -> impl Strategy<Value = Statement> {
    (0..list.len()).prop_flat_map(move |index| {
        let (sql, slots) = list[index];
        let params: Vec<BoxedStrategy<Cell>> = slots.iter().map(|slot| slot.strategy()).collect();
        params.prop_map(move |params| Statement { sql, params })
    })
}

fn row(set: usize) -> impl Strategy<Value = Vec<Cell>> {
    let slots = SETS[set].1;
    slots.iter().map(|slot| slot.strategy()).collect::<Vec<_>>()
}

/// A row of several. What cannot be stored at all is refused before a set is sent to a server, and by a file when its turn comes
/// after rows that may fail first: so it comes alone.
fn one_of_many(row: Vec<Cell>) -> Vec<Cell> {
    let storable = |cell: Cell| {
        let nan = matches!(&cell, Cell::Real(number) if number.is_nan());
        let nul = matches!(&cell, Cell::Text(text) if text.contains('\0'));
        if nan || nul { Cell::Null } else { cell }
    };
    row.into_iter().map(storable).collect()
}
