//! One statement on its way to the server and back.

use std::pin::{Pin, pin};
use std::task::Poll;

use futures_core::Stream;
use hive_errors::{Error, ErrorKind, Result};
use tokio_postgres::types::BorrowToSql;
use tokio_postgres::{Client, Row, Statement};

use crate::db::dialect;
use crate::db::postgres::values::Bound;
use crate::db::value::ToValue;
use crate::limits;

/// Rows and how many the statement inserted, updated, deleted or found.
pub(in crate::db::postgres) struct Answer {
    pub(in crate::db::postgres) rows: Vec<Row>,
    pub(in crate::db::postgres) count: u64,
}

/// Why a statement did not come to its end.
pub(super) enum Stop {
    /// The transaction could not be begun, or a savepoint not be set.
    Ahead(tokio_postgres::Error),
    Server(tokio_postgres::Error),
    Ours(Error),
}

pub(super) fn bound<'a>(params: &'a [&'a dyn ToValue]) -> impl ExactSizeIterator<Item = Bound<'a>> {
    params.iter().map(|param| Bound(param.to_value()))
}

pub(super) async fn answer<P, I>(
    client: &Client,
    known: Option<Statement>,
    sql: &str,
    params: I,
) -> Result<(Statement, Answer), Stop>
where
    P: BorrowToSql,
    I: ExactSizeIterator<Item = P>,
{
    let statement = match known {
        Some(statement) => statement,
        None => client.prepare(&dialect::postgres(sql)).await.map_err(Stop::Server)?,
    };
    if statement.params().len() != params.len() {
        let error = Error::new(ErrorKind::Storage, "the number of values is not that of the parameters")
            .terminal()
            .with("values", params.len())
            .with("parameters", statement.params().len())
            .with("sql", dialect::one_line(sql))
            .with_hint("correct the statement; it fails whenever it runs");
        return Err(Stop::Ours(error));
    }
    let stream = client.query_raw(&statement, params).await.map_err(Stop::Server)?;
    let mut stream = pin!(stream);
    let mut rows = Vec::new();
    let mut bytes = 0_usize;
    while let Some(row) = next(stream.as_mut()).await {
        let row = row.map_err(Stop::Server)?;
        bytes = bytes.saturating_add(row.raw_size_bytes());
        if bytes > limits::DB_ANSWER_BYTES_MAX {
            let error = Error::new(ErrorKind::LimitReached, "the answer is larger than can be held")
                .with("limit_bytes", limits::DB_ANSWER_BYTES_MAX)
                .with("sql", dialect::one_line(sql))
                .with_hint("read it in pages: WHERE key > ?1 ORDER BY key LIMIT …");
            return Err(Stop::Ours(error));
        }
        rows.push(row);
    }
    let count = stream.rows_affected().unwrap_or_default();
    Ok((statement, Answer { rows, count }))
}

async fn next<S: Stream>(mut stream: Pin<&mut S>) -> Option<S::Item> {
    std::future::poll_fn(|cx| match stream.as_mut().poll_next(cx) {
        Poll::Ready(item) => Poll::Ready(item),
        Poll::Pending => Poll::Pending,
    })
    .await
}
