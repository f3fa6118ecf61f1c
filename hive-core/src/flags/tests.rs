use super::*;

const ON: Flag = Flag::new("on-by-default", true, "is on");
const OFF: Flag = Flag::new("off-by-default", false, "is off");
const FOREIGN: Flag = Flag::new("foreign", true, "belongs to someone else");

fn flags() -> Flags {
    Flags::new([ON, OFF, ON]).unwrap()
}

#[test]
fn flags_start_in_their_default_and_turn() {
    let flags = flags();
    let clone = flags.clone();
    assert!(flags.enabled(ON) && !flags.enabled(OFF));
    flags.set("off-by-default", true).unwrap();
    flags.set(ON.name(), false).unwrap();
    assert!(!clone.enabled(ON) && clone.enabled(OFF));
    let listed: Vec<_> = flags
        .list()
        .map(|state| (state.flag.name(), state.enabled, state.flag.about()))
        .collect();
    assert_eq!(
        listed,
        [("off-by-default", true, "is off"), ("on-by-default", false, "is on")]
    );
    assert_eq!(
        format!("{flags:?}"),
        r#"{"off-by-default": true, "on-by-default": false}"#
    );
}

#[test]
fn an_unknown_name_is_refused_and_changes_nothing() {
    let flags = flags();
    let error = flags.set("off-by-defualt", true).unwrap_err();
    assert_eq!(
        (error.kind(), error.field("nearest")),
        (ErrorKind::NotFound, Some("off-by-default"))
    );
    let error = flags.set("something", true).unwrap_err();
    assert_eq!((error.field("flag"), error.field("nearest")), (Some("something"), None));
    assert!(flags.set_all([("off-by-default", true), ("typo", true)]).is_err());
    assert!(!flags.enabled(OFF), "set_all must turn all or none");
    flags
        .set_all([("off-by-default", true), ("on-by-default", false)])
        .unwrap();
    assert!(flags.enabled(OFF) && !flags.enabled(ON));
}

#[test]
fn a_flag_that_is_not_registered_stays_in_its_default() {
    let flags = flags();
    assert!(flags.enabled(FOREIGN));
    assert_eq!(flags.watch(FOREIGN).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn one_name_is_one_flag() {
    let error = Flags::new([ON, Flag::new("on-by-default", false, "is on")]).unwrap_err();
    assert_eq!(
        (error.kind(), error.field("flag")),
        (ErrorKind::Config, Some("on-by-default"))
    );
}

#[tokio::test]
async fn a_watcher_sees_turns_and_only_turns() {
    let flags = flags();
    let mut watch = flags.watch(OFF).unwrap();
    flags.set("off-by-default", false).unwrap();
    flags.set("on-by-default", false).unwrap();
    tokio::select! {
        biased;
        _ = watch.changed() => panic!("nothing was turned"),
        () = tokio::task::yield_now() => {}
    }
    flags.set("off-by-default", true).unwrap();
    assert!(watch.changed().await);
    assert!(watch.enabled());
    drop(flags);
    tokio::select! {
        biased;
        _ = watch.changed() => panic!("nobody can turn it any more"),
        () = tokio::task::yield_now() => {}
    }
}
