//! Durable events, topics and subscriptions of a hive.
