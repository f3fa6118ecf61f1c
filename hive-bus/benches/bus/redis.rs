//! The bus on a Redis server, beside the bare client that appends the same bytes in pipelines.

use std::sync::Arc;

use hive_bus::Bus;
use hive_bus::transport::redis::{Options, Redis};
use hive_core::clock::SystemClock;
use hive_core::id::IdSource;
use hive_core::testing;
use hive_core_bench::{Bar, Figures, Measured, measure};
use redis::aio::MultiplexedConnection;
use tokio::runtime::Runtime;

use crate::publish::{self, ALL, Publishers};

pub(crate) fn run(runtime: &Runtime, figures: &mut Figures) -> Vec<(String, Bar)> {
    let server = testing::Redis::start();
    let bus = runtime.block_on(async {
        let transport = Redis::open(Options::new(server.url())).await.unwrap();
        Bus::over(Arc::new(transport), Arc::new(SystemClock), IdSource::system())
    });
    let raw = runtime.block_on(async {
        let client = redis::Client::open(server.url()).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    });
    for publishers in ALL {
        publish::compare(
            figures,
            "redis",
            publishers,
            &|| bare(runtime, &raw, publishers),
            &|| publish::own(runtime, &bus, publishers),
        );
    }
    publish::consume(runtime, figures, &bus, "redis");
    runtime.block_on(bus.shutdown()).unwrap();
    vec![
        ("bus.redis.raw_ratio.100".to_owned(), Bar::Ratio(0.5)),
        ("bus.redis.raw_ratio.batched".to_owned(), Bar::Ratio(0.5)),
    ]
}

fn bare(runtime: &Runtime, connection: &MultiplexedConnection, publishers: Publishers) -> Measured {
    let connection = connection.clone();
    measure(runtime, publishers.load(), move |number| {
        let mut connection = connection.clone();
        async move {
            let mut pipeline = redis::pipe();
            for at in 0..publishers.batch as i64 {
                let event = publish::as_text(number * 100 + at);
                pipeline.cmd("XADD").arg("raw").arg("*").arg("e").arg(event).ignore();
            }
            let _: () = pipeline.query_async(&mut connection).await.unwrap();
        }
    })
}
