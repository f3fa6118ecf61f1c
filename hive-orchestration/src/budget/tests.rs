use std::sync::Arc;

use hive_core::clock::Timestamp;
use hive_core::db::Db;
use hive_core::id::IdSource;
use hive_core::model::scripted::Scripted;
use hive_core::model::{ModelHandle, Request};
use hive_core::testing::TestDb;
use hive_errors::ErrorKind;
use proptest::prelude::*;

use super::book::{Book, Count, Need};
use super::ledger::{Chain, Terms};
use super::meter::{Meter, Metered, Rules, metered, spend};
use super::*;

fn book(tokens: u64, calls: u64) -> Book {
    let count = |limit: u64| Count {
        limit: Some(i64::try_from(limit).unwrap()),
        ..Count::default()
    };
    Book {
        seq: 1,
        id: IdSource::system().next(),
        fails: false,
        started_at: None,
        wall_us: None,
        deepest: None,
        counts: [count(tokens), Count::default(), count(calls), Count::default()],
    }
}

#[derive(Clone, Debug)]
enum Op {
    Reserve(u64),
    /// One of those that are reserved, and what was really used.
    Settle(usize, u64),
    Raise(u64),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        4 => (0_u64..60).prop_map(Op::Reserve),
        3 => (0_usize..8, 0_u64..80).prop_map(|(which, used)| Op::Settle(which, used)),
        1 => (0_u64..50).prop_map(Op::Raise),
    ];
    proptest::collection::vec(op, 1..60)
}

proptest! {
    /// Whatever is reserved, settled and granted: what counts is never beyond the limit, and nothing is lost or made up.
    #[test]
    fn what_is_used_is_never_beyond_the_limit(limit in 0_u64..200, ops in ops()) {
        let (mut book, mut open) = (book(limit, 1 << 40), Vec::new());
        let (mut limit, mut truth) = (limit, 0);
        for op in ops {
            match op {
                Op::Reserve(tokens) => {
                    let need = Need::from(Spend::tokens(tokens).calls(1));
                    let short = book.short(&need, Timestamp::EPOCH);
                    prop_assert_eq!(short.is_none(), tokens == 0 || truth + tokens <= limit);
                    match short {
                        // With as much more it would do.
                        Some(short) => prop_assert_eq!(short.missing, truth + tokens - limit),
                        None => {
                            book.draw(&need);
                            open.push(tokens);
                            truth += tokens;
                        }
                    }
                }
                Op::Settle(which, used) if !open.is_empty() => {
                    let reserved = open.swap_remove(which % open.len());
                    book.settle(Spend::tokens(reserved).calls(1), Spend::tokens(used).calls(1));
                    truth = truth - reserved + used;
                }
                Op::Settle(..) => {}
                Op::Raise(more) => {
                    book.raise(&Budget::new().tokens(more)).unwrap();
                    limit += more;
                }
            }
            let [tokens, ..] = book.counts;
            prop_assert!(tokens.used >= 0 && tokens.used.unsigned_abs() <= limit);
            prop_assert_eq!(tokens.used.unsigned_abs() + tokens.over.unsigned_abs(), truth);
            prop_assert!(tokens.over == 0 || tokens.used.unsigned_abs() == limit);
        }
    }

    /// No number brings a book out of order.
    #[test]
    fn the_largest_numbers_do_no_harm(numbers in proptest::collection::vec(any::<u64>(), 1..20)) {
        let mut book = book(limits::BUDGET_MOST, limits::BUDGET_MOST);
        for number in numbers {
            book.draw(&Need::from(Spend::tokens(number).micro_usd(number)));
            book.settle(Spend::none(), Spend::tokens(number).calls(number));
            book.raise(&Budget::new().tokens(number)).unwrap();
            for count in book.counts {
                prop_assert!(count.room() >= 0 && count.used >= 0 && count.over >= 0);
            }
        }
    }
}

#[test]
fn what_is_lacking_is_told() {
    let mut book = book(100, 2);
    book.deepest = Some(3);
    let now = Timestamp::from_micros(10_000_000);
    let short = |book: &Book, need: Need| book.short(&need, now).map(|short| (short.resource, short.missing));
    assert_eq!(
        short(&book, Spend::tokens(100).calls(2).micro_usd(1 << 40).into()),
        None
    );
    assert_eq!(
        short(&book, Spend::tokens(130).calls(3).into()),
        Some((Resource::Tokens, 30))
    );
    assert_eq!(short(&book, Spend::none().calls(3).into()), Some((Resource::Calls, 1)));
    let deep = |depth| Need {
        depth,
        ..Need::default()
    };
    assert_eq!(short(&book, deep(3)), None);
    assert_eq!(short(&book, deep(5)), Some((Resource::Depth, 2)));
    // Its time does not run before it has started.
    book.wall_us = Some(4_000_000);
    assert_eq!(short(&book, Need::default()), None);
    book.started_at = Some(Timestamp::from_micros(6_000_001));
    assert_eq!(short(&book, Need::default()), None);
    book.started_at = Some(Timestamp::from_micros(3_000_000));
    assert_eq!(short(&book, Need::default()), Some((Resource::WallTime, 3_000)));
    book.raise(&Budget::new().wall_time(Duration::from_secs(4)).depth(2))
        .unwrap();
    assert_eq!(short(&book, deep(5)), None);
}

#[test]
fn only_what_is_limited_is_raised() {
    for (more, field) in [
        (Budget::new().micro_usd(1), "micro_usd"),
        (Budget::new().tokens(1).children(1), "children"),
        (Budget::new().depth(1), "depth"),
        (Budget::new().wall_time(Duration::from_secs(1)), "wall_time"),
    ] {
        let mut raised = book(10, 10);
        let before = raised.clone();
        let error = raised.raise(&more).unwrap_err();
        assert_eq!(
            (error.kind(), error.field("field")),
            (ErrorKind::InvalidInput, Some(field))
        );
        assert_eq!(raised, before);
    }
}

#[test]
fn numbers_that_no_account_holds_are_refused() {
    let beyond = limits::BUDGET_MOST + 1;
    for (budget, field) in [
        (Budget::new().tokens(beyond), "tokens"),
        (Budget::new().children(u64::MAX), "children"),
        (Budget::new().wall_time(Duration::MAX), "wall_time"),
        (Budget::new().each_step(Spend::none().calls(beyond)), "calls"),
    ] {
        let error = budget.check().unwrap_err();
        assert_eq!(
            (error.kind(), error.field("field")),
            (ErrorKind::InvalidInput, Some(field))
        );
    }
    Budget::new().tokens(limits::BUDGET_MOST).check().unwrap();
}

async fn metered_by(model: ModelHandle, limited: bool) -> ModelHandle {
    // Nothing is looked up in it.
    let db = Db::open(TestDb::sqlite_in_memory().options()).await.unwrap();
    let rules = Rules::new(Chain::default().with(1));
    let terms = Terms {
        limited,
        ..Terms::default()
    };
    rules.terms(async |_| Ok(terms)).await.unwrap();
    let rules = Arc::new(rules);
    ModelHandle::new(Metered { model, db, rules })
}

fn echo() -> ModelHandle {
    let echo = Scripted::new()
        .when(
            |request| !request.prompt.contains("fail"),
            |request| Ok(format!("{:?}", request.max_output_tokens)),
        )
        .on_failure("fail", ErrorKind::Model, "no")
        .with_cost_micro_usd(7);
    ModelHandle::new(echo)
}

#[tokio::test]
async fn a_model_gets_what_is_left_and_no_more() {
    let model = metered_by(echo(), true).await;
    let meter = Meter::new(Spend::tokens(10).micro_usd(100).calls(3), [true; 3]);
    let work = async {
        // Two words are asked, one is answered.
        assert_eq!(model.ask("a b").await.unwrap(), "Some(10)");
        let request = Request::new("a b").with_max_output_tokens(4);
        assert_eq!(model.complete(request).await.unwrap().text, "Some(4)");
        assert!(spend(Spend::tokens(2)));
        assert_eq!(model.ask("a b").await.unwrap(), "Some(2)");
        model.ask("a b").await.unwrap_err()
    };
    let refused = metered(Some(meter.clone()), work).await;
    assert_eq!(
        (refused.kind(), refused.field("resource")),
        (ErrorKind::BudgetExhausted, Some("calls"))
    );
    assert_eq!(meter.used(false), Spend::tokens(11).micro_usd(21).calls(3));
    // Whoever is cut off has used all of it, and no less than is known.
    assert_eq!(meter.used(true), Spend::tokens(11).micro_usd(100).calls(3));
}

#[tokio::test]
async fn what_nobody_knows_counts_as_used() {
    let model = metered_by(echo(), true).await;
    let reserved = Spend::tokens(10).micro_usd(100).calls(3);
    // A failure that cost nothing is a call.
    let meter = Meter::new(reserved, [true; 3]);
    metered(Some(meter.clone()), model.ask("fail")).await.unwrap_err();
    assert_eq!(meter.used(false), Spend::none().calls(1));
    // A call that nobody waits for any more has used what it could.
    let meter = Meter::new(reserved, [true; 3]);
    let given_up = async {
        let mut call = Box::pin(model.ask("a"));
        futures_poll(&mut call);
    };
    let hanging = metered_by(ModelHandle::new(Hanging), true).await;
    metered(Some(meter.clone()), given_up).await;
    assert_eq!(meter.used(false).calls, 1);
    let meter = Meter::new(reserved, [true; 3]);
    let given_up = async {
        let mut call = Box::pin(hanging.ask("a"));
        futures_poll(&mut call);
    };
    metered(Some(meter.clone()), given_up).await;
    assert_eq!(meter.used(false), reserved);
}

/// Polls once.
fn futures_poll<F: Future + Unpin>(future: &mut F) {
    let mut task = std::task::Context::from_waker(std::task::Waker::noop());
    let _ready = std::pin::Pin::new(future).poll(&mut task);
}

#[derive(Debug)]
struct Hanging;

#[async_trait::async_trait]
impl hive_core::model::Model for Hanging {
    fn name(&self) -> &str {
        "hanging"
    }

    async fn complete(&self, _request: Request) -> Result<hive_core::model::Reply> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_model_is_not_called_without_a_reservation() {
    let error = metered_by(echo(), true).await.ask("a").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    // Unless nobody has to count it.
    metered_by(echo(), false).await.ask("a").await.unwrap();
    assert!(!spend(Spend::none()));
}

#[test]
fn a_budget_is_written_as_it_is_read() {
    let budget = Budget::new()
        .tokens(1)
        .depth(2)
        .each_step(Spend::tokens(3).calls(1))
        .fail_when_exhausted();
    let text = serde_json::to_string(&budget).unwrap();
    assert_eq!(serde_json::from_str::<Budget>(&text).unwrap(), budget);
    assert_eq!(
        serde_json::from_str::<Spend>(r#"{"tokens":3}"#).unwrap(),
        Spend::tokens(3)
    );
}
