//! Reviews a git repository with a hive of durable agents.
