//! Reviews a git repository with a hive of durable agents; see `hive-review --help`.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    // A wrong option ends the program here with exit code 2.
    hive_review::cli::main(hive_review::cli::Args::parse())
}
