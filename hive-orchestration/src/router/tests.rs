//! What holds for whatever agents there are and whatever is asked.

mod chains;
mod strategies;
mod targets;

use std::collections::BTreeSet;
use std::time::Duration;

use hive_errors::{Error, ErrorKind};
use proptest::prelude::{Just, ProptestConfig, any, prop_assert, prop_assert_eq, prop_assert_ne, prop_oneof, proptest};
use proptest::strategy::Strategy as Any;
use semver::Version;

use super::*;
use crate::registry::{Capability, Statistics, Status, Times};

const DO: Capability = Capability::new("do");

/// An agent that can do it, with nothing to do and one hand.
fn agent(name: &str) -> Candidate {
    let mut candidate = Candidate::new(name, Version::new(1, 0, 0));
    candidate.capabilities.insert(DO);
    candidate
}

fn history(completed: u64, failed: u64, mean: Duration) -> Statistics {
    Statistics {
        completed,
        failed,
        run: Some(Times::new(mean, mean)),
        ..Statistics::default()
    }
}

fn chance(seed: u64, turn: u64) -> Chance {
    Chance { seed, turn }
}

fn none(error: &Error) -> &NoRoute {
    std::error::Error::source(error).unwrap().downcast_ref().unwrap()
}

/// Agents of few names, versions and skills, in any state.
fn crowd() -> impl Any<Value = Vec<Candidate>> {
    let one = (
        (0..6u8, 0..3u64, 0..4u8),
        (0..20u64, 0..20u64, 0..8u64, 1..50u32),
        (any::<bool>(), 0..8u8),
        (0..12u64, 0..12u64, 0..10_000u64),
    );
    let one = one.prop_map(
        |((name, version, status), (running, queued, hands, weight), (able, domains), (won, lost, ms))| {
            let mut candidate = Candidate::new(format!("agent-{name}"), Version::new(version, 0, 0));
            candidate.status = [Status::Online, Status::Busy, Status::Draining, Status::Offline][usize::from(status)];
            (candidate.running, candidate.queued, candidate.concurrency) = (running, queued, hands);
            candidate.weight = weight;
            if able {
                candidate.capabilities.insert(DO);
            }
            let named = ["rust", "sql", "web"].into_iter().enumerate();
            candidate.domains = named
                .filter(|(bit, _)| domains & (1 << bit) != 0)
                .map(|(_, name)| name.to_owned())
                .collect();
            candidate.history = history(won, lost, Duration::from_millis(ms));
            candidate
        },
    );
    proptest::collection::vec(one, 0..12).prop_map(|mut crowd| {
        crowd.sort_by(|one, other| one.key().cmp(&other.key()));
        crowd.dedup_by(|one, other| one.key() == other.key());
        crowd
    })
}

fn asked() -> impl Any<Value = Request> {
    let target = prop_oneof![
        3 => Just(Target::from(DO)),
        1 => (0..6u8).prop_map(|name| Target::Agent(format!("agent-{name}"))),
        1 => (0..6u8, 0..3u8).prop_map(|(name, version)| {
            Target::Version(format!("agent-{name}"), format!(">={version}").parse().unwrap())
        }),
    ];
    let sets = (
        proptest::collection::btree_set(0..6u8, 0..3),
        proptest::collection::btree_set(prop_oneof![Just("rust"), Just("sql"), Just("web")], 0..3),
    );
    (target, sets, "[a-z]{1,8}").prop_map(|(target, (exclude, domains), key)| {
        let mut request = Request::new(target).affinity(key);
        request.exclude = exclude.into_iter().map(|name| format!("agent-{name}")).collect();
        request.domains = domains.into_iter().map(str::to_owned).collect();
        request
    })
}

/// Every router of the house.
fn routers() -> impl Any<Value = Box<dyn Router>> {
    let plain = || {
        prop_oneof![
            Just(Strategy::LeastLoaded),
            Just(Strategy::RoundRobin),
            Just(Strategy::Affinity),
            Just(Strategy::Weighted),
            Just(Strategy::Fastest),
        ]
    };
    let strategy = || prop_oneof![plain(), plain().prop_map(|then| Strategy::Specialist(Box::new(then)))];
    let stage = (strategy(), proptest::option::of(0..6u8)).prop_map(|(strategy, to)| match to {
        Some(name) => Stage::new(strategy).to(Target::Agent(format!("agent-{name}"))),
        None => Stage::new(strategy),
    });
    prop_oneof![
        strategy().prop_map(|one| Box::new(one) as Box<dyn Router>),
        proptest::collection::vec(stage, 1..4).prop_map(|stages| Box::new(Fallback::new(stages)) as Box<dyn Router>),
        Just(()).prop_map(|()| Box::new(Careless) as Box<dyn Router>),
    ]
}

/// A user's router that keeps none of the rules.
#[derive(Debug)]
struct Careless;

impl Router for Careless {
    fn name(&self) -> String {
        "careless".to_owned()
    }

    fn rank(&self, ask: &Ask<'_>, fit: &[&Candidate]) -> Result<Vec<Rank>> {
        let scores = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1.0, -0.0, 0.0];
        let ranks = (0..fit.len() + 3).map(|at| {
            let at = at as u64 ^ ask.chance.seed;
            Rank::score(scores[(at % 6) as usize], "é\n".repeat(1_000))
        });
        Ok(ranks.skip((ask.chance.seed % 5) as usize).collect())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Who is chosen is there, can do it and is not excluded, whatever the router says; everybody is explained once; and the
    /// same question has the same answer, in whatever order the candidates come.
    #[test]
    fn decisions_are_sound(
        crowd in crowd(), request in asked(), router in routers(), seed in any::<u64>(), turn in any::<u64>(),
    ) {
        let decided = decide(&*router, &request, chance(seed, turn), &crowd);
        let reasons = match &decided {
            Ok(route) => {
                let chosen = crowd.iter().find(|one| one.key() == (&route.agent, &route.version)).unwrap();
                prop_assert!(chosen.status.takes_tasks() && chosen.concurrency > 0);
                prop_assert!(!request.exclude.contains(&chosen.agent));
                prop_assert!(route.target.admits(&chosen.agent, &chosen.version, &chosen.capabilities));
                let first = &route.reasons[0];
                prop_assert_eq!((&first.agent, &first.version), (&route.agent, &route.version));
                let best = first.verdict.score().unwrap();
                for (at, reason) in route.reasons.iter().enumerate() {
                    prop_assert_eq!(matches!(reason.verdict, Verdict::Chosen { .. }), at == 0);
                    prop_assert!(reason.verdict.score().is_none_or(|score| score <= best));
                }
                &route.reasons
            }
            Err(error) => {
                prop_assert_eq!(error.kind(), ErrorKind::UnknownAgent);
                &none(error).reasons
            }
        };
        let told: BTreeSet<(&str, &Version)> = reasons.iter().map(|one| (&*one.agent, &one.version)).collect();
        prop_assert_eq!(told.len(), reasons.len());
        prop_assert_eq!(told, crowd.iter().map(Candidate::key).collect());
        prop_assert!(reasons.iter().all(|one| !one.verdict.to_string().is_empty() && one.verdict.to_string().len() <= 128));

        let mut shuffled = crowd.clone();
        shuffled.reverse();
        shuffled.rotate_left(crowd.len() / 2);
        let again = decide(&*router, &request, chance(seed, turn), &shuffled);
        match (&decided, &again) {
            (Ok(one), Ok(other)) => prop_assert_eq!(one, other),
            (Err(one), Err(other)) => prop_assert_eq!(none(one).reasons.len(), none(other).reasons.len()),
            _ => prop_assert!(false, "{:?} and {:?}", decided, again),
        }
    }

    /// When nobody can have the task, nobody could have had it.
    #[test]
    fn nobody_is_overlooked(crowd in crowd(), request in asked(), seed in any::<u64>()) {
        let could = |one: &Candidate| {
            one.status.takes_tasks()
                && one.concurrency > 0
                && !request.exclude.contains(&one.agent)
                && request.target.admits(&one.agent, &one.version, &one.capabilities)
        };
        for router in [Strategy::LeastLoaded, Strategy::RoundRobin, Strategy::Affinity, Strategy::Weighted, Strategy::Fastest] {
            let decided = decide(&router, &request, chance(seed, seed), &crowd);
            prop_assert_eq!(decided.is_ok(), crowd.iter().any(could), "{:?}", router);
        }
    }
}

#[test]
fn a_request_is_checked() {
    let long = "x".repeat(1_000);
    for (request, field) in [
        (Request::new(DO).affinity(""), "affinity"),
        (Request::new(DO).affinity(&*long), "affinity"),
        (Request::new(DO).domain("Rust"), "domain"),
        (Request::new(DO).exclude("a b"), "exclude"),
        (Request::new(Target::Agent("\0".into())), "agent"),
        (
            Request::new(Target::Version("a\nb".into(), "1".parse().unwrap())),
            "agent",
        ),
    ] {
        let error = decide(&Strategy::LeastLoaded, &request, Chance::default(), &[agent("a")]).unwrap_err();
        assert_eq!(
            (error.kind(), error.field("field")),
            (ErrorKind::InvalidInput, Some(field)),
            "{error:?}"
        );
    }
    let mut many = Request::new(DO);
    many.exclude = (0..65).map(|number| format!("n{number}")).collect();
    let error = decide(&Strategy::LeastLoaded, &many, Chance::default(), &[agent("a")]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitReached);
}

#[test]
fn who_asks_in_vain_is_told_why() {
    let mut away = agent("away");
    away.status = Status::Offline;
    let mut other = Candidate::new("other", Version::new(1, 0, 0));
    other.capabilities.insert(Capability::new("deploy.cloud"));
    let crowd = [away, other];
    let ask = |request: Request| decide(&Strategy::LeastLoaded, &request, Chance::default(), &crowd).unwrap_err();

    let error = ask(Request::new(DO));
    assert!(error.is_retryable());
    assert_eq!(error.field("candidates"), Some("away 1.0.0 is offline"));
    assert_eq!(none(&error).meant().count(), 1);

    let error = ask(Request::new(DO).exclude("away"));
    assert!(!error.is_retryable(), "time does not change what the request says");
    assert_eq!(error.field("candidates"), Some("away 1.0.0 is excluded by the request"));

    let error = ask(Request::new(Capability::new("deploy.clod")));
    assert!(!error.is_retryable());
    assert_eq!(error.hint(), "did you mean `deploy.cloud`?");
    assert_eq!(none(&error).nearest.as_deref(), Some("deploy.cloud"));

    let error = ask(Request::new(Target::Agent("othr".into())));
    assert_eq!(error.hint(), "did you mean `other`?");

    let range = Target::Version("other".into(), ">=2".parse().unwrap());
    let error = ask(Request::new(range));
    assert_eq!(none(&error).reasons.len(), 2);
    assert!(
        none(&error)
            .reasons
            .iter()
            .any(|one| one.to_string() == "other 1.0.0 is not in the range of versions")
    );
    assert!(decide(&Strategy::LeastLoaded, &Request::new(DO), Chance::default(), &[]).is_err());
}
