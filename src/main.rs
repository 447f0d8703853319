//! The `allotd` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    allotd::cli::Cli::from_command_line().run()
}
