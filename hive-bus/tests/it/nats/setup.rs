//! Opening a transport: what is made on the server, and what is refused.

use std::num::NonZeroU64;

use hive_bus::ErrorKind;
use hive_bus::transport::Transport;
use hive_bus::transport::nats::{Nats, Options};
use hive_core::testing;

use super::{Place, events, log, numbers};

#[tokio::test]
async fn what_is_there_is_taken_as_it_is() {
    let place = Place::shared();
    let one = place.open().await;
    one.publish(events("a", 0..3)).await.unwrap();
    // A keeper has the stream keep less.
    let jetstream = place.jetstream().await;
    let mut config = jetstream
        .get_stream(&place.name)
        .await
        .unwrap()
        .cached_info()
        .config
        .clone();
    config.max_messages = 2;
    jetstream.update_stream(&config).await.unwrap();

    let other = Nats::open(place.options().events_max(NonZeroU64::new(100).unwrap()))
        .await
        .unwrap();
    assert_eq!(numbers(&log(&other).await), [1, 2]);
    let now = jetstream
        .get_stream(&place.name)
        .await
        .unwrap()
        .cached_info()
        .config
        .max_messages;
    assert_eq!(now, 2, "what a keeper has set stays");
    place.end().await;
}

#[tokio::test]
async fn limits_are_given_to_the_server() {
    let place = Place::shared();
    let keeps = NonZeroU64::new(50).unwrap();
    let transport = Nats::open(place.options().events_max(keeps)).await.unwrap();
    let sequences = transport.publish(events("a", 0..120)).await.unwrap();
    assert_eq!(numbers(&log(&transport).await), (70..120).collect::<Vec<_>>());
    assert_eq!(
        transport.get(&sequences[60..75]).await.unwrap().len(),
        5,
        "what is not kept is left out"
    );
    // A cursor far behind goes on with the oldest that is there.
    let page = transport.read(&super::everything(), sequences[3], 10).await.unwrap();
    assert_eq!(numbers(&page.events), (70..80).collect::<Vec<_>>());
    place.end().await;
}

#[tokio::test]
async fn what_does_not_fit_is_refused() {
    let place = Place::shared();
    let transport = place.open().await;
    let taken = [
        // Another prefix for the same stream, another name for the same subjects.
        place.options().prefix("elsewhere"),
        Options::new(&place.url)
            .name("T_other")
            .prefix(format!("t.{}", place.name)),
        // No names, no addresses.
        place.options().name("a.b"),
        place.options().name(""),
        place.options().prefix("a..b"),
        place.options().prefix("a.>"),
        place.options().replicas(0),
        Options::new(&place.url)
            .name(format!("{}_3", place.name))
            .prefix("t.three")
            .replicas(3),
        place.options_at(""),
        place.options_at("http://127.0.0.1:4222"),
        place.options_at("nats://user:secret@:x"),
    ];
    for options in taken {
        let shown = format!("{options:?}");
        let error = Nats::open(options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{shown}: {error:?}");
        assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    }
    transport.close().await.unwrap();
    place.end().await;
}

#[tokio::test]
async fn a_wrong_password_is_said_and_not_shown() {
    let server = testing::Nats::shared();
    let (_, address) = server.url().rsplit_once('@').unwrap();
    let error = Nats::open(Options::new(format!("nats://hive:wrong-secret@{address}")))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
    let shown = format!("{error:?} {}", hive_errors::Report::new(&error));
    assert!(shown.contains(address) && !shown.contains("wrong-secret"), "{shown}");
}

#[tokio::test]
async fn clones_and_debugging_show_no_secrets() {
    let place = Place::shared();
    let transport = place.open().await;
    let (user, _) = place.url.rsplit_once('@').unwrap();
    let password = user.rsplit_once(':').unwrap().1;
    for shown in [format!("{:?}", transport.clone()), format!("{:?}", place.options())] {
        assert!(!shown.contains(password), "{shown}");
    }
    place.end().await;
}
