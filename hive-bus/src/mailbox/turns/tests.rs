use proptest::prelude::*;

use super::*;

/// Serves whatever is ready, and says who was served each time.
fn serve(rounds: impl IntoIterator<Item = [bool; LANES]>) -> Vec<Option<usize>> {
    let mut turns = Turns::default();
    let mut served = Vec::new();
    for ready in rounds {
        let chosen = choose(&turns, ready);
        if let Some(lane) = chosen {
            turns.taken(lane, ready);
        }
        served.push(chosen);
    }
    served
}

#[test]
fn the_most_urgent_first_and_nobody_last_for_ever() {
    let all = serve(vec![[true; LANES]; 30]);
    let row: String = all.iter().map(|lane| char::from(b'0' + lane.unwrap() as u8)).collect();
    expect_test::expect!["000000000000123000000000012300"].assert_eq(&row);
    // One that comes late waits as long.
    let late = serve((0..30).map(|round| [true, false, false, round >= 20]));
    assert_eq!(late.iter().position(|lane| *lane == Some(3)), None);
    let late = serve((0..40).map(|round| [true, false, false, round >= 20]));
    assert_eq!(late.iter().position(|lane| *lane == Some(3)), Some(32));
    assert_eq!(serve([[false; LANES], [false, false, true, true]]), [None, Some(2)]);
}

proptest! {
    #[test]
    fn whoever_waits_is_served_in_time(rounds in proptest::collection::vec(any::<[bool; LANES]>(), 1..400)) {
        let served = serve(rounds.clone());
        let mut waited = [0_usize; LANES];
        for (ready, served) in rounds.iter().zip(served) {
            prop_assert_eq!(served.is_none(), ready.iter().all(|ready| !ready));
            let Some(served) = served else { continue };
            prop_assert!(ready[served]);
            // Nobody more urgent is passed over, unless for one whose time has come.
            if let Some(urgent) = (0..served).find(|lane| ready[*lane]) {
                prop_assert!(waited[served] >= PASSED_OVER_MAX as usize, "{} before {}", served, urgent);
            }
            for lane in 0..LANES {
                waited[lane] = if ready[lane] && lane != served { waited[lane] + 1 } else { 0 };
                prop_assert!(waited[lane] < PASSED_OVER_MAX as usize + LANES);
            }
        }
    }

    #[test]
    fn the_most_urgent_has_most_of_the_time(rounds in 100_usize..1_000) {
        let served = serve(vec![[true; LANES]; rounds]);
        let urgent = served.iter().filter(|lane| **lane == Some(0)).count();
        prop_assert!(urgent * 10 >= rounds * 7);
    }
}
