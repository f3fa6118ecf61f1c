//! Many calls as one: what callers ask for at the same time is done together, and each gets its own answer.
//!
//! Nobody waits for company. A caller puts down what it wants and asks for a turn. Who gets one takes what was put down until
//! then, whoever it is from, and does it; what is put down meanwhile goes with the next. So a lone caller is as quick as ever,
//! and a crowd shares what one piece of work costs: a journey to a server, a commit.
//!
//! ```
//! use hive_core::gather::Gather;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> hive_errors::Result<()> {
//! let gather = Gather::new(1, 100, |number: &u64| (1, *number as usize));
//! // However many call it at the same time: one piece of work for up to a hundred of them.
//! let double = async |numbers: Vec<u64>| Ok(numbers.into_iter().map(|number| Ok(2 * number)).collect());
//! assert_eq!(gather.call(21, double).await?, 42);
//! # Ok(()) }
//! ```
//!
//! # Cancel safety
//!
//! A caller that goes away may have been served or not. Whoever it was working for at that moment ask again, with the same
//! values: the work must come to the same when it is done twice.

mod meeting;
mod sync;

#[cfg(test)]
mod tests;

pub use self::meeting::Gather;
