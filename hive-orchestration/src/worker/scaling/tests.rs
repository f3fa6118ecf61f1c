use super::*;

/// Slots that are all busy with tasks of `task_s`, looked at every second: what the pace is in the end.
fn steady(slots: u32, task_s: f64, looks: u32) -> Observation {
    let mut pace = Pace::default();
    let mut seen = Observation::default();
    for look in 0..=looks {
        let at = f64::from(look);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "small and positive"
        )]
        let done = (at * f64::from(slots) / task_s).floor() as u64;
        let count = Count {
            at: Duration::from_secs(look.into()),
            arrived: 5 * u64::from(look) + 100,
            done,
            worked: Duration::from_secs(look.into()) * slots,
        };
        seen = Observation::default();
        pace.note(count, &mut seen);
    }
    seen
}

#[test]
fn the_pace_of_tasks_that_take_longer_than_a_look_is_known() {
    for (slots, task_s) in [(1, 10.0), (4, 10.0), (7, 3.0), (2, 0.1)] {
        let seen = steady(slots, task_s, 200);
        assert!((seen.busy - f64::from(slots)).abs() < 1e-6, "{seen:?}");
        assert!((seen.arrivals_per_s - 5.0).abs() < 1e-6, "{seen:?}");
        let off = seen.service_per_s * task_s;
        assert!((0.75..1.25).contains(&off), "{slots} slots, {task_s} s: {seen:?}");
    }
}

#[test]
fn nothing_is_said_where_nothing_is_known() {
    // One look is none.
    assert_eq!(steady(3, 1.0, 0), Observation::default());
    // No time has passed, and the clock goes back.
    let mut pace = Pace::default();
    for at in [5, 5, 3] {
        let mut seen = Observation::default();
        let count = Count {
            at: Duration::from_secs(at),
            arrived: 7,
            ..Count::default()
        };
        pace.note(count, &mut seen);
        assert_eq!(seen, Observation::default());
    }
    // Counters that fell, because others took what was ready.
    let mut seen = Observation::default();
    let count = Count {
        at: Duration::from_secs(9),
        ..Count::default()
    };
    pace.note(count, &mut seen);
    assert_eq!(seen, Observation::default());
}

#[test]
fn what_was_long_ago_does_not_count() {
    let mut pace = Pace::default();
    let mut seen = Observation::default();
    let (mut done, mut worked) = (0, Duration::ZERO);
    // Ten a second, then one in ten.
    for (looks, each) in [(300, 10), (300, 0)] {
        for look in 0..looks {
            done += if each == 0 { u64::from(look % 10 == 0) } else { each };
            worked += Duration::from_secs(1);
            let at = worked;
            pace.note(
                Count {
                    at,
                    done,
                    worked,
                    ..Count::default()
                },
                &mut seen,
            );
        }
    }
    assert!((0.07..0.13).contains(&seen.service_per_s), "{seen:?}");
}
