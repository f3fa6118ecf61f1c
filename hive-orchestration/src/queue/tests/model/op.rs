//! What can be done to a queue.

use proptest::prelude::*;

/// Which of the leases that were ever given out: of those that hold, if any does, or of all.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pick {
    pub(super) fresh: bool,
    pub(super) place: usize,
}

#[derive(Clone, Debug)]
pub(super) struct New {
    pub(super) agent: usize,
    pub(super) tenant: usize,
    pub(super) priority: i64,
    pub(super) input: u8,
    /// Seconds.
    pub(super) delay: Option<u64>,
    /// Seconds.
    pub(super) within: Option<u64>,
    pub(super) idempotency: Option<u8>,
    /// A key, and whether it is given back at the start.
    pub(super) single: Option<(u8, bool)>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    Output,
    /// So many attempts in all, seconds between them.
    Retryable {
        attempts: u32,
        delay: u64,
    },
    Terminal,
    Released,
}

#[derive(Clone, Debug)]
pub(super) enum Wait {
    Timer(u64),
    Signal { name: u8, timeout: Option<u64> },
    Children { agents: Vec<usize>, parallel: usize },
}

#[derive(Clone, Debug)]
pub(super) enum Op {
    Submit(New),
    Claim {
        who: usize,
        total: usize,
    },
    /// Together with the ends of earlier runs of the same tasks, perhaps.
    Finish {
        ends: Vec<(Pick, End)>,
        zombies: bool,
    },
    Park {
        lease: Pick,
        key: u8,
        wait: Wait,
    },
    /// Registers a wait and goes on.
    Sync {
        lease: Pick,
        key: u8,
        wait: Wait,
    },
    Record {
        lease: Pick,
        key: u8,
    },
    Siblings {
        lease: Pick,
        key: u8,
    },
    Signal {
        task: usize,
        name: u8,
    },
    Cancel(usize),
    Pause(usize),
    Resume(usize),
    /// A process dies, and another begins in its place.
    Crash(usize),
    Beat(usize),
    /// Who has been silent for longer has ended.
    Silence(u64),
    Recover(usize),
    GiveBack {
        who: usize,
        known: usize,
    },
    /// Seconds, forwards or back.
    Clock(i64),
    Redrive(usize),
    /// What ended so long ago.
    Forget(i64),
    /// One more crash, and it has been one too many.
    Doom(usize),
}

pub(super) const PROCESSES: usize = 3;
/// The scopes that are paused: an agent, a tenant, everything.
pub(super) const SCOPES: usize = 3;

fn pick() -> impl Strategy<Value = Pick> {
    (prop::bool::weighted(0.8), any::<usize>()).prop_map(|(fresh, place)| Pick { fresh, place })
}

fn new() -> impl Strategy<Value = New> {
    let key = || prop::option::weighted(0.2, 0..2_u8);
    (
        (0..2_usize, 0..2_usize, 0..4_i64, 0..2_u8),
        prop::option::weighted(0.3, 0..6_u64),
        prop::option::weighted(0.2, 1..12_u64),
        key(),
        prop::option::weighted(0.2, (0..2_u8, any::<bool>())),
    )
        .prop_map(
            |((agent, tenant, priority, input), delay, within, idempotency, single)| New {
                agent,
                tenant,
                priority,
                input,
                delay,
                within,
                idempotency,
                single,
            },
        )
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        4 => Just(End::Output),
        2 => (1..4_u32, 0..4_u64).prop_map(|(attempts, delay)| End::Retryable { attempts, delay }),
        1 => Just(End::Terminal),
        1 => Just(End::Released),
    ]
}

fn wait() -> impl Strategy<Value = Wait> {
    prop_oneof![
        2 => (0..5_u64).prop_map(Wait::Timer),
        3 => (0..2_u8, prop::option::weighted(0.4, 0..5_u64)).prop_map(|(name, timeout)| Wait::Signal { name, timeout }),
        3 => (prop::collection::vec(0..2_usize, 0..4), 1..4_usize)
            .prop_map(|(agents, parallel)| Wait::Children { agents, parallel }),
    ]
}

pub(super) fn ops() -> impl Strategy<Value = Vec<Op>> {
    let key = || 0..3_u8;
    let op = prop_oneof![
        10 => new().prop_map(Op::Submit),
        16 => (0..PROCESSES, 0..4_usize).prop_map(|(who, total)| Op::Claim { who, total }),
        14 => (prop::collection::vec((pick(), end()), 1..4), prop::bool::weighted(0.2))
            .prop_map(|(ends, zombies)| Op::Finish { ends, zombies }),
        9 => (pick(), key(), wait()).prop_map(|(lease, key, wait)| Op::Park { lease, key, wait }),
        3 => (pick(), key(), wait()).prop_map(|(lease, key, wait)| Op::Sync { lease, key, wait }),
        2 => (pick(), key()).prop_map(|(lease, key)| Op::Record { lease, key }),
        1 => (pick(), key()).prop_map(|(lease, key)| Op::Siblings { lease, key }),
        4 => (any::<usize>(), 0..2_u8).prop_map(|(task, name)| Op::Signal { task, name }),
        2 => any::<usize>().prop_map(Op::Cancel),
        1 => (0..SCOPES).prop_map(Op::Pause),
        2 => (0..SCOPES).prop_map(Op::Resume),
        2 => (0..PROCESSES).prop_map(Op::Crash),
        1 => (0..PROCESSES).prop_map(Op::Beat),
        2 => (0..6_u64).prop_map(Op::Silence),
        3 => (0..PROCESSES).prop_map(Op::Recover),
        1 => (0..PROCESSES, any::<usize>()).prop_map(|(who, known)| Op::GiveBack { who, known }),
        5 => (0..6_i64).prop_map(Op::Clock),
        1 => (-10..0_i64).prop_map(Op::Clock),
        2 => any::<usize>().prop_map(Op::Redrive),
        1 => (-1..6_i64).prop_map(Op::Forget),
        1 => any::<usize>().prop_map(Op::Doom),
    ];
    prop::collection::vec(op, 1..80)
}
