use expect_test::expect;

use super::*;

fn samples() -> Vec<Schedule> {
    let anchor = "2026-01-01T00:00:30Z".parse().unwrap();
    vec![
        Schedule::cron("0 3 * * *").unwrap(),
        Schedule::cron("@daily")
            .unwrap()
            .zone("Europe/Berlin")
            .unwrap()
            .catch_up(CatchUp::Skip),
        Schedule::every(Duration::from_secs(90))
            .anchor(anchor)
            .unwrap()
            .catch_up(CatchUp::All { at_most: 7 }),
        Schedule::once(anchor).jitter(Duration::from_millis(1_500)),
    ]
}

/// What was stored once must be read for ever: a change here needs a new version.
#[test]
fn stored_forms() {
    let lines: Vec<String> = samples().iter().map(|schedule| encode(schedule).unwrap()).collect();
    expect![[r#"
        {"version":"1","timing":{"cron":{"expression":"0 3 * * *","zone":"UTC"}},"catch_up":"latest","jitter_us":0}
        {"version":"1","timing":{"cron":{"expression":"@daily","zone":"Europe/Berlin"}},"catch_up":"skip","jitter_us":0}
        {"version":"1","timing":{"every":{"period_us":90000000,"anchor":"2026-01-01T00:00:30.000000Z"}},"catch_up":{"all":{"at_most":7}},"jitter_us":0}
        {"version":"1","timing":{"once":{"at":"2026-01-01T00:00:30.000000Z"}},"catch_up":"latest","jitter_us":1500000}"#]].assert_eq(&lines.join("\n"));
}

#[test]
fn what_was_stored_is_read() {
    for schedule in samples() {
        assert_eq!(decode(&encode(&schedule).unwrap()).unwrap(), schedule);
    }
}

#[test]
fn what_nobody_wrote_is_corrupt() {
    for text in [
        "",
        "{}",
        r#"{"version":"2"}"#,
        r#"{"version":"1","timing":{"cron":{"expression":"x","zone":"UTC"}},"catch_up":"latest","jitter_us":0}"#,
    ] {
        assert_eq!(decode(text).unwrap_err().kind(), ErrorKind::Corrupt, "{text}");
    }
}

#[test]
fn a_zone_that_is_not_here_can_be_read_and_shown() {
    let text = encode(&Schedule::cron("@daily").unwrap().zone("Europe/Berlin").unwrap()).unwrap();
    let elsewhere = decode(&text.replace("Berlin", "Atlantis")).unwrap();
    assert_eq!(elsewhere.to_string(), "cron @daily in Europe/Atlantis");
    let error = elsewhere.next("name", Timestamp::EPOCH).unwrap_err();
    assert_eq!(error.field("value"), Some("Europe/Atlantis"));
}
