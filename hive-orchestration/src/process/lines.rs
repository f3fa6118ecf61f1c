//! Lines of bounded length from a pipe.

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

/// What a pipe had to give.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A line without its end; the last one may have had none.
    Line(Vec<u8>),
    /// A line that is too long; this is how it begins. Nothing more is read.
    TooLong(Vec<u8>),
    /// Nobody writes any more.
    End,
}

/// Reads line by line and never keeps more than one of them.
#[derive(Debug)]
pub(super) struct Lines<R> {
    stream: BufReader<R>,
    line: Vec<u8>,
    max: usize,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(super) fn new(stream: R, max: usize) -> Self {
        Self {
            stream: BufReader::new(stream),
            line: Vec::new(),
            max,
        }
    }

    /// The next line that is not blank.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self) -> io::Result<Next> {
        loop {
            let fresh = self.stream.fill_buf().await?;
            if fresh.is_empty() {
                return Ok(match std::mem::take(&mut self.line) {
                    rest if is_blank(&rest) => Next::End,
                    rest => Next::Line(rest),
                });
            }
            let end = fresh.iter().position(|byte| *byte == b'\n');
            let part = fresh.get(..end.unwrap_or(fresh.len())).unwrap_or_default();
            if self.line.len() + part.len() > self.max {
                let room = self.max - self.line.len();
                self.line.extend_from_slice(part.get(..room).unwrap_or_default());
                return Ok(Next::TooLong(std::mem::take(&mut self.line)));
            }
            self.line.extend_from_slice(part);
            let used = part.len() + usize::from(end.is_some());
            self.stream.consume(used);
            if end.is_some() {
                let line = std::mem::take(&mut self.line);
                if !is_blank(&line) {
                    return Ok(Next::Line(line));
                }
            }
        }
    }
}

fn is_blank(line: &[u8]) -> bool {
    line.iter().all(u8::is_ascii_whitespace)
}
