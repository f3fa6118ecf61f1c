//! The strategies that come with the house.

use hive_errors::Result;

use super::{Ask, Candidate, Chance, Rank, Router, lacks, score};

/// How one of several agents is chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Strategy {
    /// Whoever has the fewest running and waiting tasks for what it can run at once.
    #[default]
    LeastLoaded,
    /// One after another. As long as the same agents are there, none gets two tasks more than another.
    RoundRobin,
    /// By the request's [affinity key](super::Request::affinity): the same key goes to the same agent, each agent has a share
    /// of the keys by its weight, and when one comes or goes no other keys move than those that it takes or leaves. The newest
    /// of several versions of an agent gets them all.
    Affinity,
    /// By chance, with shares by weight.
    Weighted,
    /// Whoever may be expected to be done first, failures, waiting tasks and all. Of ten tasks one goes to agents that have
    /// not done enough of late to be judged, if there are any: otherwise they never would.
    Fastest,
    /// Whoever is at home in most of the request's [domains](super::Request::domain), and in the fewest others; when nobody is
    /// at home in any, whoever has no domain. Others are declined. Between those that remain another strategy decides.
    Specialist(Box<Strategy>),
}

/// Below this many ended attempts a history says little.
const HISTORY_LEAST: u64 = 5;

/// One of this many tasks goes to those that cannot be judged.
const EXPLORED: u64 = 10;

impl Router for Strategy {
    fn name(&self) -> String {
        match self {
            Self::LeastLoaded => "least-loaded".to_owned(),
            Self::RoundRobin => "round-robin".to_owned(),
            Self::Affinity => AFFINITY.to_owned(),
            Self::Weighted => "weighted".to_owned(),
            Self::Fastest => "fastest".to_owned(),
            Self::Specialist(then) => format!("specialist, {}", then.name()),
        }
    }

    fn rank(&self, ask: &Ask<'_>, fit: &[&Candidate]) -> Result<Vec<Rank>> {
        Ok(match self {
            Self::LeastLoaded => fit.iter().map(|one| least_loaded(one)).collect(),
            Self::RoundRobin => round_robin(ask.chance.turn, fit.len()),
            Self::Affinity => return affinity(ask, fit),
            Self::Weighted => fit.iter().map(|one| weighted(ask.chance, one)).collect(),
            Self::Fastest => fastest(ask.chance, fit),
            Self::Specialist(then) => return specialist(then, ask, fit),
        })
    }
}

const AFFINITY: &str = "affinity";

fn least_loaded(one: &Candidate) -> Rank {
    let tasks = one.running.saturating_add(one.queued);
    let (tasks_are, hands) = (count(tasks, "task"), count(one.concurrency, "hand"));
    Rank::score(1.0 / (1.0 + one.load()), format!("has {tasks_are} for {hands}"))
}

fn count(number: u64, what: &str) -> String {
    if number == 1 {
        format!("1 {what}")
    } else {
        format!("{number} {what}s")
    }
}

#[expect(clippy::cast_precision_loss, reason = "places in a list of candidates are small")]
fn round_robin(turn: u64, fit: usize) -> Vec<Rank> {
    let fit = fit as u64;
    let rank = |place: u64| {
        let away = (place + fit - turn % fit) % fit;
        let why = match away {
            0 => "has its turn".to_owned(),
            away => format!("has its turn in {away}"),
        };
        Rank::score((fit - away) as f64 / fit as f64, why)
    };
    (0..fit).map(rank).collect()
}

fn affinity(ask: &Ask<'_>, fit: &[&Candidate]) -> Result<Vec<Rank>> {
    let Some(key) = &ask.request.affinity else {
        return Err(lacks(
            AFFINITY,
            "affinity",
            "give the request a key with Request::affinity, or the hive another strategy",
        ));
    };
    let key = score::key(key);
    let rank = |one: &&Candidate| {
        let newer = |other: &&&Candidate| other.agent == one.agent && other.version > one.version;
        match fit.iter().find(newer) {
            Some(newer) => Rank::declined(format!("is older than {}", newer.version)),
            None => Rank::score(
                score::rendezvous(score::mix(key, &one.agent, None), one.weight),
                format!("has drawn for the key with the weight {}", one.weight),
            ),
        }
    };
    Ok(fit.iter().map(rank).collect())
}

fn weighted(chance: Chance, one: &Candidate) -> Rank {
    Rank::score(
        score::rendezvous(score::mix(chance.seed, &one.agent, Some(&one.version)), one.weight),
        format!("has drawn with the weight {}", one.weight),
    )
}

fn fastest(chance: Chance, fit: &[&Candidate]) -> Vec<Rank> {
    let is_known = |one: &Candidate| one.history.ended() >= HISTORY_LEAST && one.history.run.is_some();
    let known = fit.iter().filter(|one| is_known(one)).count();
    // Not the number by which ties are decided, lest the die fall for the same one each time.
    let explores =
        known == 0 || (known < fit.len() && score::mix(chance.seed, "explore", None).is_multiple_of(EXPLORED));
    let rank = |one: &&Candidate| match (explores, is_known(one)) {
        (false, true) => expected(one),
        (true, false) => match least_loaded(one) {
            Rank::Score { score, why } => Rank::score(1.0 + score, format!("is tried, and {why}")),
            Rank::Declined { why } => Rank::declined(why),
        },
        (false, false) => Rank::score(0.0, "has not done enough of late to be judged"),
        (true, true) => Rank::score(0.0, "is known, and others are tried this time"),
    };
    fit.iter().map(rank).collect()
}

/// By how long it will take until a task that is given to it now has succeeded.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts of attempts are far below 2^52, and an estimate need not be exact"
)]
fn expected(one: &Candidate) -> Rank {
    let history = &one.history;
    let run = history.run.map_or(0.0, |run| run.mean.as_secs_f64());
    // As if there had been one success more, so that an agent that only ever failed has a time, if a long one.
    let share = (history.completed as f64 + 1.0) / (history.ended() as f64 + 1.0);
    // What is before it, when all hands work.
    let rounds = 1.0 + one.load().floor();
    let expected = run * rounds / share;
    let percent = (share * 100.0).round();
    Rank::score(
        1.0 / (1e-6 + expected),
        format!(
            "should take {expected:.3} s: {run:.3} s a run, {percent} % succeed, load {:.2}",
            one.load()
        ),
    )
}

fn specialist(then: &Strategy, ask: &Ask<'_>, fit: &[&Candidate]) -> Result<Vec<Rank>> {
    let asked = &ask.request.domains;
    if asked.is_empty() {
        return then.rank(ask, fit);
    }
    // How many of the domains it knows, and how many others.
    let known = |one: &Candidate| {
        let known = one.domains.intersection(asked).count();
        (known, one.domains.len() - known)
    };
    let most = fit.iter().map(|one| known(one).0).max().unwrap_or(0);
    let least = fit
        .iter()
        .filter(|one| known(one).0 == most)
        .map(|one| known(one).1)
        .min();
    let takes =
        |one: &Candidate| (known(one).0, Some(known(one).1)) == (most, least) && (most > 0 || one.domains.is_empty());
    let taken: Vec<&Candidate> = fit.iter().copied().filter(|one| takes(one)).collect();
    let mut ranks = if taken.is_empty() {
        Vec::new()
    } else {
        then.rank(ask, &taken)?
    }
    .into_iter();
    let of = asked.len();
    let rank = |one: &&Candidate| {
        let (own, others) = known(one);
        if !takes(one) {
            return Rank::declined(match own {
                0 if one.domains.is_empty() => "is no specialist, and there are some".to_owned(),
                0 => "is at home elsewhere".to_owned(),
                own => format!("knows {own} of {of} domains and {others} others; another fits better"),
            });
        }
        let skill = if own == 0 {
            "is no specialist, as there are none".to_owned()
        } else {
            format!("knows {own} of {of} domains")
        };
        match ranks.next() {
            Some(Rank::Score { score, why }) => Rank::score(score, format!("{skill}, {why}")),
            Some(Rank::Declined { why }) => Rank::declined(format!("{skill}, {why}")),
            None => Rank::declined("was not judged"),
        }
    };
    Ok(fit.iter().map(rank).collect())
}
