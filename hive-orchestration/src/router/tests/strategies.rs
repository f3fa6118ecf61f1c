use std::collections::BTreeMap;

use super::*;

fn crowd_of(count: usize) -> Vec<Candidate> {
    (0..count).map(|number| agent(&format!("agent-{number}"))).collect()
}

fn decided(router: &dyn Router, request: &Request, chance: Chance, crowd: &[Candidate]) -> String {
    decide(router, request, chance, crowd).unwrap().agent
}

/// How many of so many tasks each gets.
fn shares(router: &dyn Router, crowd: &[Candidate], tasks: u64) -> BTreeMap<String, u64> {
    let mut shares = BTreeMap::new();
    for task in 0..tasks {
        let request = Request::new(DO).affinity(format!("key-{task}"));
        *shares
            .entry(decided(router, &request, chance(task, task), crowd))
            .or_default() += 1;
    }
    shares
}

proptest! {
    #[test]
    fn the_least_loaded_has_the_least_load(crowd in crowd(), seed in any::<u64>()) {
        if let Ok(route) = decide(&Strategy::LeastLoaded, &Request::new(DO), chance(seed, 0), &crowd) {
            let fit = crowd.iter().filter(|one| Unfit::judge(&DO.into(), false, one).is_none());
            let least = fit.clone().map(Candidate::load).fold(f64::INFINITY, f64::min);
            let chosen = fit.clone().find(|one| one.key() == (&route.agent, &route.version)).unwrap();
            prop_assert!(chosen.load() <= least);
        }
    }

    #[test]
    fn round_robin_is_fair_within_one(count in 1..9usize, tasks in 1..100u64, first in any::<u64>()) {
        let crowd = crowd_of(count);
        let mut shares: BTreeMap<String, u64> = crowd.iter().map(|one| (one.agent.clone(), 0)).collect();
        for task in 0..tasks {
            let turn = (first >> 1) + task;
            *shares.get_mut(&decided(&Strategy::RoundRobin, &Request::new(DO), chance(7, turn), &crowd)).unwrap() += 1;
        }
        let (most, least) = (shares.values().max().unwrap(), shares.values().min().unwrap());
        prop_assert!(most - least <= 1, "{:?}", shares);
    }

    /// No key moves between two that were there before, and the new one gets its share.
    #[test]
    fn affinity_moves_only_what_the_new_one_takes(count in 1..9usize, salt in any::<u32>()) {
        let before = crowd_of(count);
        let mut after = before.clone();
        after.push(agent("newcomer"));
        let keys = 600u32;
        let mut moved = 0;
        for key in 0..keys {
            let request = Request::new(DO).affinity(format!("{salt}-{key}"));
            // Chance has no say in it.
            let old = decided(&Strategy::Affinity, &request, chance(u64::from(key), 0), &before);
            let new = decided(&Strategy::Affinity, &request, chance(u64::from(salt), 9), &after);
            if new != old {
                prop_assert_eq!(new, "newcomer");
                moved += 1;
            }
        }
        // Six standard deviations.
        let share = 1.0 / (count as f64 + 1.0);
        let spread = 6.0 * (f64::from(keys) * share * (1.0 - share)).sqrt();
        prop_assert!((f64::from(moved) - f64::from(keys) * share).abs() < spread, "{} of {}", moved, keys);
    }

    #[test]
    fn shares_follow_the_weights(weights in proptest::collection::vec(1..20u32, 1..6)) {
        let mut crowd = crowd_of(weights.len());
        for (one, weight) in crowd.iter_mut().zip(&weights) {
            one.weight = *weight;
        }
        let tasks = 2_000;
        for router in [Strategy::Weighted, Strategy::Affinity] {
            let shares = shares(&router, &crowd, tasks);
            let sum: u32 = weights.iter().sum();
            for one in &crowd {
                let share = f64::from(one.weight) / f64::from(sum);
                let got = shares.get(&one.agent).copied().unwrap_or(0) as f64;
                let spread = 6.0 * (tasks as f64 * share * (1.0 - share)).sqrt() + 1.0;
                prop_assert!((got - tasks as f64 * share).abs() < spread, "{:?}: {:?} of {:?}", router, shares, weights);
            }
        }
    }

    #[test]
    fn ties_are_shared_out_by_the_seed(count in 2..6usize) {
        let crowd = crowd_of(count);
        let shares = shares(&Strategy::LeastLoaded, &crowd, 500);
        prop_assert_eq!(shares.len(), count);
        prop_assert!(shares.values().all(|share| *share > 500 / count as u64 / 2), "{:?}", shares);
    }
}

/// Keys that went to an agent yesterday must go to it tomorrow, in whatever release.
#[test]
fn keys_stay_where_they_are() {
    let crowd = crowd_of(8);
    let places: Vec<String> = ["", "customer-7", "é", "https://example.org/?a=b", "0"]
        .into_iter()
        .map(|key| {
            decided(
                &Strategy::Affinity,
                &Request::new(DO).affinity(format!("k{key}")),
                chance(1, 1),
                &crowd,
            )
        })
        .collect();
    expect_test::expect!["agent-0 agent-2 agent-2 agent-1 agent-1"].assert_eq(&places.join(" "));
}

#[test]
fn a_new_version_takes_over_the_keys_of_the_old() {
    let mut crowd = crowd_of(4);
    let newer: Vec<Candidate> = crowd
        .iter()
        .map(|one| Candidate {
            version: Version::new(2, 0, 0),
            ..one.clone()
        })
        .collect();
    let both: Vec<Candidate> = crowd.iter().cloned().chain(newer).collect();
    for key in 0..100 {
        let request = Request::new(DO).affinity(format!("key-{key}"));
        let old = decide(&Strategy::Affinity, &request, Chance::default(), &crowd).unwrap();
        let new = decide(&Strategy::Affinity, &request, Chance::default(), &both).unwrap();
        assert_eq!((old.agent, new.version.major), (new.agent, 2));
    }
    crowd[0].version = Version::new(3, 0, 0);
}

#[test]
fn affinity_without_a_key_is_an_error_and_not_a_guess() {
    let error = decide(&Strategy::Affinity, &Request::new(DO), Chance::default(), &crowd_of(2)).unwrap_err();
    assert_eq!(
        (error.kind(), error.field("field")),
        (ErrorKind::InvalidInput, Some("affinity"))
    );
}

#[test]
fn the_fastest_is_who_is_done_first() {
    let with = |name: &str, ms: u64, completed: u64, failed: u64, queued: u64| Candidate {
        history: history(completed, failed, Duration::from_millis(ms)),
        queued,
        ..agent(name)
    };
    let wins = |crowd: &[Candidate]| decided(&Strategy::Fastest, &Request::new(DO), chance(3, 0), crowd);
    assert_eq!(
        wins(&[with("slow", 900, 50, 0, 0), with("quick", 100, 50, 0, 0)]),
        "quick"
    );
    // What fails two times of three takes three times as long.
    assert_eq!(
        wins(&[with("steady", 250, 60, 0, 0), with("shaky", 100, 20, 40, 0)]),
        "steady"
    );
    // A queue counts as well.
    assert_eq!(
        wins(&[with("crowded", 100, 50, 0, 30), with("free", 900, 50, 0, 0)]),
        "free"
    );
    // One that only ever failed has no chance against one that works.
    assert_eq!(
        wins(&[with("broken", 1, 0, 50, 0), with("works", 40, 50, 0, 0)]),
        "works"
    );
}

#[test]
fn who_is_not_known_is_tried_now_and_then() {
    let mut crowd = crowd_of(3);
    for one in &mut crowd[..2] {
        one.history = history(50, 0, Duration::from_millis(10));
    }
    let tried = shares(&Strategy::Fastest, &crowd, 2_000)["agent-2"];
    assert!((120..280).contains(&tried), "{tried} of 2000");
    // Nobody is known: the least loaded.
    let mut strangers = crowd_of(3);
    strangers[0].running = 1;
    strangers[2].running = 1;
    assert_eq!(shares(&Strategy::Fastest, &strangers, 100).len(), 1);
}

#[test]
fn a_specialist_is_at_home_in_most_and_in_little_else() {
    let with = |name: &str, domains: &[&str]| Candidate {
        domains: domains.iter().map(|name| (*name).to_owned()).collect(),
        ..agent(name)
    };
    let router = Strategy::Specialist(Box::new(Strategy::LeastLoaded));
    let crowd = [
        with("all", &["rust", "sql", "web"]),
        with("both", &["rust", "sql"]),
        with("one", &["rust"]),
        with("none", &[]),
    ];
    let ask = |domains: &[&str], crowd: &[Candidate]| {
        let request = domains
            .iter()
            .fold(Request::new(DO), |request, domain| request.domain(*domain));
        decide(&router, &request, Chance::default(), crowd).map(|route| route.agent)
    };
    assert_eq!(ask(&["rust"], &crowd).unwrap(), "one");
    assert_eq!(ask(&["rust", "sql"], &crowd).unwrap(), "both");
    assert_eq!(ask(&["web"], &crowd).unwrap(), "all");
    assert_eq!(ask(&["cooking"], &crowd).unwrap(), "none");
    // No generalist: nobody, rather than anybody.
    let error = ask(&["cooking"], &crowd[..3]).unwrap_err();
    assert!(
        error
            .field("candidates")
            .unwrap()
            .contains("one 1.0.0 is at home elsewhere"),
        "{error:?}"
    );
}

#[test]
fn among_specialists_the_inner_strategy_decides() {
    let mut crowd = crowd_of(3);
    for one in &mut crowd {
        one.domains.insert("rust".to_owned());
    }
    crowd[0].running = 5;
    crowd[2].running = 5;
    let router = Strategy::Specialist(Box::new(Strategy::LeastLoaded));
    let route = decide(&router, &Request::new(DO).domain("rust"), Chance::default(), &crowd).unwrap();
    assert_eq!(route.agent, "agent-1");
    assert_eq!(
        route.reasons[0].to_string(),
        "agent-1 1.0.0 knows 1 of 1 domains, has 0 tasks for 1 hand"
    );
    assert_eq!(route.strategy, "specialist, least-loaded");
}
