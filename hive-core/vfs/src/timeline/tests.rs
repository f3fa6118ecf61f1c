use crate::event::{Event, File};
use crate::timeline::{Image, Timeline};

fn write(file: File, offset: u64, byte: u8, count: usize) -> Event {
    Event::Write {
        file,
        offset,
        bytes: vec![byte; count].into(),
    }
}

fn sync(file: File, covers: usize) -> Event {
    Event::Sync { file, covers }
}

/// What `look` sees of the main file after each event, the first before any.
fn seen<'e>(events: &'e [Event], look: impl Fn(&Timeline<'e>) -> Image) -> Vec<Option<Vec<u8>>> {
    let mut timeline = Timeline::new(events);
    let mut seen = Vec::new();
    loop {
        seen.push(look(&timeline).file(File::Main).map(<[u8]>::to_vec));
        if timeline.advance().is_none() {
            return seen;
        }
    }
}

#[test]
fn only_a_sync_of_the_same_file_that_began_later_makes_a_write_certain() {
    let events = [
        write(File::Main, 0, 1, 2),
        sync(File::Log, 1),
        sync(File::Main, 0),
        write(File::Main, 2, 2, 2),
        sync(File::Main, 1),
        sync(File::Main, 5),
    ];
    let some = |bytes: &[u8]| Some(bytes.to_vec());
    assert_eq!(
        seen(&events, Timeline::lost),
        [None, None, None, None, None, some(&[1, 1]), some(&[1, 1, 2, 2])]
    );
    let whole = seen(&events, Timeline::whole);
    assert_eq!(whole[1], some(&[1, 1]));
    assert_eq!(whole[6], some(&[1, 1, 2, 2]));
}

#[test]
fn what_a_failed_sync_was_to_write_is_not_written_by_the_next() {
    let events = [
        write(File::Main, 0, 1, 1),
        Event::SyncFailed {
            file: File::Main,
            covers: 1,
        },
        write(File::Main, 1, 2, 1),
        sync(File::Main, 3),
    ];
    assert_eq!(seen(&events, Timeline::lost)[4], Some(vec![0, 2]));
    assert_eq!(seen(&events, Timeline::whole)[4], Some(vec![1, 2]));
}

#[test]
fn a_removal_is_certain_after_any_sync_and_takes_what_was_before_it() {
    let events = [
        write(File::Main, 0, 1, 1),
        Event::Delete { file: File::Main },
        sync(File::Log, 2),
        write(File::Main, 0, 2, 1),
        sync(File::Main, 4),
    ];
    let mut timeline = Timeline::new(&events);
    for _ in 0..3 {
        timeline.advance();
    }
    assert_eq!(timeline.pending(), 0);
    for seed in 0..50 {
        assert_eq!(timeline.some(seed).file(File::Main), None);
    }
    assert_eq!(seen(&events, Timeline::lost)[5], Some(vec![2]));
}

#[test]
fn a_cut_takes_what_is_behind_it() {
    let events = [
        write(File::Main, 0, 1, 4),
        Event::Truncate {
            file: File::Main,
            bytes: 1,
        },
        write(File::Main, 2, 2, 1),
    ];
    assert_eq!(seen(&events, Timeline::whole)[3], Some(vec![1, 0, 2]));
}

#[test]
fn a_write_is_torn_between_sectors_and_shows_what_was_there_before() {
    let events = [
        write(File::Main, 0, 1, 2048),
        sync(File::Main, 1),
        // From the middle of the first sector to the middle of the last.
        write(File::Main, 256, 2, 1536),
    ];
    let mut timeline = Timeline::new(&events);
    while timeline.advance().is_some() {}
    let mut found = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let image = timeline.torn(seed).unwrap();
        let bytes = image.file(File::Main).unwrap().to_vec();
        assert_eq!((&bytes[..256], &bytes[1792..]), (&[1; 256][..], &[1; 256][..]));
        let parts = [256..512, 512..1024, 1024..1536, 1536..1792].map(|part| {
            let part = &bytes[part];
            assert!(part.iter().all(|byte| *byte == part[0]));
            part[0]
        });
        found.insert(parts);
    }
    assert_eq!(found.len(), 16, "every mixture comes up");
    // One sector is there or not.
    let one = [write(File::Main, 600, 1, 100)];
    let mut timeline = Timeline::new(&one);
    timeline.advance();
    assert!(timeline.torn(1).is_none());
}

#[test]
fn any_of_what_is_uncertain_may_be_there() {
    let events = [
        write(File::Main, 0, 1, 1),
        write(File::Main, 1, 2, 1),
        write(File::Log, 0, 3, 1),
    ];
    let mut timeline = Timeline::new(&events);
    while timeline.advance().is_some() {}
    let found: std::collections::BTreeSet<_> = (0..300)
        .map(|seed| {
            let image = timeline.some(seed);
            (
                image.file(File::Main).map(<[u8]>::to_vec),
                image.file(File::Log).is_some_and(|log| !log.is_empty()),
            )
        })
        .collect();
    assert!(
        found.contains(&(Some(vec![0, 2]), false)),
        "the second without the first: {found:?}"
    );
    assert!(found.contains(&(None, true)));
    assert_eq!(timeline.only(File::Log).file(File::Main), None);
    assert_eq!(timeline.only(File::Main).file(File::Main), Some(&[1, 2][..]));
}
