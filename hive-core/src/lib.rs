//! Ids, clock, configuration, database and model port of a hive.
