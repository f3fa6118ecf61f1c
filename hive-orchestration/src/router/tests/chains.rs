use super::*;

fn agents() -> Vec<Candidate> {
    let mut other = Candidate::new("spare", Version::new(1, 0, 0));
    other.capabilities.insert(Capability::new("anything"));
    let mut expert = agent("expert");
    expert.domains.insert("rust".to_owned());
    vec![expert, agent("plain"), other]
}

fn chain() -> Fallback {
    Fallback::new([
        Stage::new(Strategy::Specialist(Box::new(Strategy::LeastLoaded))),
        Stage::new(Strategy::LeastLoaded),
        Stage::new(Strategy::LeastLoaded).to(Capability::new("anything")),
    ])
}

fn route(request: &Request, crowd: &[Candidate]) -> Result<(String, String)> {
    decide(&chain(), request, Chance::default(), crowd).map(|route| (route.agent, route.target.to_string()))
}

#[test]
fn the_first_stage_that_has_somebody_decides() {
    let own = "capability:do".to_owned();
    let mut crowd = agents();
    let request = Request::new(DO).domain("rust");
    assert_eq!(route(&request, &crowd).unwrap(), ("expert".to_owned(), own.clone()));
    crowd[0].status = Status::Offline;
    assert_eq!(route(&request, &crowd).unwrap(), ("plain".to_owned(), own.clone()));
    crowd[1].domains.insert("cooking".to_owned());
    // Declined by the first stage as a specialist in something else, welcome to the second.
    assert_eq!(route(&request, &crowd).unwrap(), ("plain".to_owned(), own));
    crowd[1].status = Status::Draining;
    let spare = ("spare".to_owned(), "capability:anything".to_owned());
    assert_eq!(route(&request, &crowd).unwrap(), spare);
    crowd[2].status = Status::Offline;
    let error = route(&request, &crowd).unwrap_err();
    // Each with what the stage said that meant it.
    let none = none(&error);
    let told: Vec<String> = none.reasons.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "expert 1.0.0 is offline",
            "plain 1.0.0 is about to stop",
            "spare 1.0.0 is offline"
        ]
    );
    assert_eq!(none.target, DO.into());
}

#[test]
fn an_exclusion_holds_in_every_stage() {
    let request = Request::new(DO).exclude("expert").exclude("plain").exclude("spare");
    assert!(route(&request, &agents()).is_err());
}

#[test]
fn a_chain_without_stages_has_nobody_and_one_without_end_has_an_end() {
    assert!(decide(&Fallback::new([]), &Request::new(DO), Chance::default(), &agents()).is_err());
    let far = (0..limits::FALLBACKS_MAX).map(|_| Stage::new(Strategy::LeastLoaded).to(Target::Agent("nobody".into())));
    let chain = Fallback::new(far.chain([Stage::new(Strategy::LeastLoaded)]));
    assert!(decide(&chain, &Request::new(DO), Chance::default(), &agents()).is_err());
}

const PATIENCE: Duration = Duration::from_secs(60);

fn deferred(agent: &str) -> Deferred<'_> {
    Deferred {
        agent,
        started: false,
        waited: PATIENCE,
    }
}

fn again(request: &Request, deferred: Deferred<'_>, crowd: &[Candidate]) -> Reroute {
    reroute(
        &Strategy::LeastLoaded,
        request,
        deferred,
        PATIENCE,
        Chance::default(),
        crowd,
    )
    .unwrap()
}

#[test]
fn a_task_moves_only_when_its_agent_stays_away_and_nothing_of_it_has_run() {
    let mut crowd = agents();
    let request = Request::new(DO);
    let stays = |why: &'static str| Reroute::Stay { why };
    assert_eq!(again(&request, deferred("expert"), &crowd), stays("the agent is back"));
    crowd[0].status = Status::Offline;
    match again(&request, deferred("expert"), &crowd) {
        Reroute::Move(route) => assert_eq!(route.agent, "plain"),
        stay @ Reroute::Stay { .. } => panic!("{stay:?}"),
    }
    let started = Deferred {
        started: true,
        ..deferred("expert")
    };
    assert_eq!(again(&request, started, &crowd), stays("its journal is the agent's"));
    let early = Deferred {
        waited: PATIENCE - Duration::from_micros(1),
        ..deferred("expert")
    };
    assert_eq!(again(&request, early, &crowd), stays("the agent may come back"));
    let named = Request::new(Target::Agent("expert".into()));
    assert_eq!(
        again(&named, deferred("expert"), &crowd),
        stays("the agent was named by who submitted it")
    );
    // Also one that nobody has heard of for long.
    match again(&request, deferred("forgotten"), &crowd) {
        Reroute::Move(route) => assert_eq!(route.agent, "plain"),
        stay @ Reroute::Stay { .. } => panic!("{stay:?}"),
    }
    crowd[1].status = Status::Offline;
    assert_eq!(
        again(&request, deferred("expert"), &crowd),
        stays("nobody else can be had")
    );
}

#[test]
fn a_router_that_cannot_judge_is_not_nobody() {
    let mut crowd = agents();
    crowd[0].status = Status::Offline;
    let asked = reroute(
        &Strategy::Affinity,
        &Request::new(DO),
        deferred("expert"),
        PATIENCE,
        Chance::default(),
        &crowd,
    );
    assert_eq!(asked.unwrap_err().kind(), ErrorKind::InvalidInput);
}

proptest! {
    /// A task that moves goes to somebody else who is there.
    #[test]
    fn a_task_moves_to_another(crowd in crowd(), request in asked(), router in routers(), name in 0..6u8, seed in any::<u64>()) {
        let agent = format!("agent-{name}");
        if let Ok(Reroute::Move(route)) =
            reroute(&*router, &request, deferred(&agent), PATIENCE, chance(seed, seed), &crowd)
        {
            prop_assert_ne!(&route.agent, &agent);
            prop_assert!(matches!(request.target, Target::Capability(_)));
        }
    }
}
