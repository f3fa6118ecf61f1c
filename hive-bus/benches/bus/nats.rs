//! The bus on a NATS server, beside the bare client that publishes the same bytes to a stream and awaits the acknowledgements.

use std::sync::Arc;

use async_nats::jetstream::{self, stream};
use hive_bus::Bus;
use hive_bus::transport::nats::{Nats, Options};
use hive_core::clock::SystemClock;
use hive_core::id::IdSource;
use hive_core::testing;
use hive_core_bench::{Bar, Figures, Measured, measure};
use tokio::runtime::Runtime;

use crate::publish::{self, ALL, Publishers};

pub(crate) fn run(runtime: &Runtime, figures: &mut Figures) -> Vec<(String, Bar)> {
    let server = testing::Nats::start();
    let bus = runtime.block_on(async {
        let transport = Nats::open(Options::new(server.url())).await.unwrap();
        Bus::over(Arc::new(transport), Arc::new(SystemClock), IdSource::system())
    });
    let raw = runtime.block_on(raw(server.url()));
    for publishers in ALL {
        publish::compare(
            figures,
            "nats",
            publishers,
            &|| bare(runtime, &raw, publishers),
            &|| publish::own(runtime, &bus, publishers),
        );
    }
    publish::consume(runtime, figures, &bus, "nats");
    runtime.block_on(bus.shutdown()).unwrap();
    vec![
        ("bus.nats.raw_ratio.100".to_owned(), Bar::Ratio(0.5)),
        ("bus.nats.raw_ratio.batched".to_owned(), Bar::Ratio(0.5)),
    ]
}

/// A stream of its own on the same server. The library takes no credentials from the url.
async fn raw(url: &str) -> jetstream::Context {
    let (credentials, address) = url.strip_prefix("nats://").unwrap().split_once('@').unwrap();
    let (user, password) = credentials.split_once(':').unwrap();
    let options = async_nats::ConnectOptions::with_user_and_password(user.to_owned(), password.to_owned());
    let context = jetstream::new(options.connect(address).await.unwrap());
    let config = stream::Config {
        name: "RAW".to_owned(),
        subjects: vec!["raw.>".to_owned()],
        ..stream::Config::default()
    };
    context.create_stream(config).await.unwrap();
    context
}

fn bare(runtime: &Runtime, context: &jetstream::Context, publishers: Publishers) -> Measured {
    let context = context.clone();
    measure(runtime, publishers.load(), move |number| {
        let context = context.clone();
        async move {
            let mut acknowledgements = Vec::new();
            for at in 0..publishers.batch as i64 {
                let number = number * 100 + at;
                let subject = format!("raw.bench.item.{}", number.rem_euclid(100));
                let sent = context.publish(subject, publish::as_text(number).into()).await;
                acknowledgements.push(sent.unwrap());
            }
            for acknowledgement in acknowledgements {
                acknowledgement.await.unwrap();
            }
        }
    })
}
