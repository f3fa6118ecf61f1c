use clap::CommandFactory;

use super::*;

#[test]
fn the_options_are_consistent() {
    Args::command().debug_assert();
}

#[test]
fn wrong_options_are_refused() {
    for wrong in [
        &["--range", "a..b", "--diff", "x"][..],
        &["--model", "gpt"],
        &["--jobs", "0"],
        &["--fail-on", "urgent"],
        &["--unknown"],
    ] {
        let error = Args::try_parse_from([&["hive-review"], wrong].concat()).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{wrong:?}");
    }
}

#[test]
fn the_model_is_only_asked_when_the_user_says_so() {
    let Ok((reviewer, word)) = choose(Model::Auto) else {
        panic!("auto always works")
    };
    assert_eq!(reviewer, Reviewer::Rules);
    assert!(word.contains("rules (offline)"), "{word}");
}

#[test]
fn each_generation_is_the_next_and_the_directory_hides_itself() {
    let home = tempfile::tempdir().unwrap();
    let place = Place::of(Some(home.path()), "x");
    assert_eq!(
        (
            place.generation(),
            place.begin_generation().unwrap(),
            place.generation()
        ),
        (0, 1, 1)
    );
    let place = Place::of(None, "x");
    assert!(place.directory.ends_with(".hive/review/x") && place.directory.is_absolute());
}
