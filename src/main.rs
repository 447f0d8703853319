//! The `allotd` binary.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    allotd::cli::Cli::parse().run()
}
