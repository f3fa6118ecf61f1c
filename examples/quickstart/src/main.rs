//! The first page: one agent, one durable task.
fn main() {}
