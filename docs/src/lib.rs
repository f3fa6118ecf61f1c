//! The guides of Hive, compiled and run, and the tests that police the house.
