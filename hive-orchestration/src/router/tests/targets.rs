use super::*;

#[test]
fn the_text_of_a_target_reads_back() {
    for text in [
        "agent:reviewer",
        "agent:reviewer@^1.2",
        "agent:a@>=1, <3",
        "capability:review.rust",
        "agent:a@*",
    ] {
        let target: Target = text.parse().unwrap();
        assert_eq!(target.to_string(), text);
        let json = serde_json::to_string(&target).unwrap();
        assert_eq!(serde_json::from_str::<Target>(&json).unwrap(), target);
    }
}

#[test]
fn hostile_texts_are_refused() {
    let long = format!("agent:a@{}", ">=1,".repeat(1_000));
    for text in [
        "",
        "agent",
        "agent:",
        "agent:a b",
        "agent:a@",
        "agent:a@one",
        "capability:A",
        "capability:",
        "tool:a",
        "agent:a\0",
        &long,
    ] {
        let error = text.parse::<Target>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{text}");
        assert!(format!("{error:?}").len() < 1_000);
    }
}

proptest! {
    #[test]
    fn no_text_panics_and_what_is_read_reads_back(text in "(agent|capability)?:?[a-z.@^<>=,*0-9 é-]{0,40}") {
        if let Ok(target) = text.parse::<Target>() {
            prop_assert_eq!(target.to_string().parse::<Target>().unwrap(), target);
        }
    }

    #[test]
    fn a_request_is_stored_whole(request in asked()) {
        let json = serde_json::to_string(&request).unwrap();
        prop_assert_eq!(serde_json::from_str::<Request>(&json).unwrap(), request);
    }
}

/// What is stored is read by later releases.
#[test]
fn the_stored_form() {
    let request = Request::new(DO).affinity("k").domain("rust").exclude("slow");
    expect_test::expect![[r#"{"target":"capability:do","affinity":"k","domains":["rust"],"exclude":["slow"]}"#]]
        .assert_eq(&serde_json::to_string(&request).unwrap());
    expect_test::expect![[r#"{"target":"agent:a"}"#]]
        .assert_eq(&serde_json::to_string(&Request::new(Target::Agent("a".into()))).unwrap());
}
