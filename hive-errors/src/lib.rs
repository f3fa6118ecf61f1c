//! What went wrong in a hive and what to do next.
