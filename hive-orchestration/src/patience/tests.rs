use std::cell::Cell;

use hive_core::clock::{ManualClock, Timestamp};
use hive_core::rng::SeededRng;

use super::*;

/// Asks something that fails with `kind` the first three times.
async fn asked(kind: ErrorKind, unwanted: &CancellationToken) -> (Result<u32>, u32) {
    let (clock, rng, tries) = (ManualClock::new(Timestamp::EPOCH), SeededRng::new(7), Cell::new(0));
    let insisting = Patience::new(&clock, &rng).insist("it could not be asked", unwanted, async || {
        tries.set(tries.get() + 1);
        if tries.get() <= 3 {
            return Err(Error::new(kind, "not now"));
        }
        Ok(42)
    });
    let passing = async {
        loop {
            clock.advance(limits::DISPATCH_TICK);
            tokio::task::yield_now().await;
        }
    };
    let answer = tokio::select! {
        answer = insisting => answer,
        () = passing => unreachable!(),
    };
    (answer, tries.get())
}

#[tokio::test]
async fn only_what_may_pass_is_asked_again() {
    let wanted = CancellationToken::new();
    for kind in [
        ErrorKind::Storage,
        ErrorKind::DiskFull,
        ErrorKind::DatabaseLocked,
        ErrorKind::Overloaded,
    ] {
        let (answer, tries) = asked(kind, &wanted).await;
        assert_eq!((answer.unwrap(), tries), (42, 4), "{kind}");
    }
    for kind in [
        ErrorKind::LeaseLost,
        ErrorKind::ShuttingDown,
        ErrorKind::Conflict,
        ErrorKind::Corrupt,
    ] {
        let (answer, tries) = asked(kind, &wanted).await;
        assert_eq!((answer.unwrap_err().kind(), tries), (kind, 1));
    }
}

#[tokio::test]
async fn nobody_insists_on_what_nobody_wants() {
    let unwanted = CancellationToken::new();
    unwanted.cancel();
    let (answer, tries) = asked(ErrorKind::DiskFull, &unwanted).await;
    assert_eq!((answer.unwrap_err().kind(), tries), (ErrorKind::DiskFull, 1));
}
