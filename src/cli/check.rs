//! `allotd check`: checks every invariant of a data directory, offline.

use std::path::PathBuf;

use clap::Args;

use crate::check::check_directory;

use super::error::CliError;
use super::figures::many;
use super::output;

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// The data directory, or the backup
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

pub(super) fn run(args: &CheckArgs) -> Result<(), CliError> {
    let checked = check_directory(&args.dir).map_err(|error| CliError::Failed(error.to_string()))?;
    for fault in &checked.faults {
        output::print(&format!("{fault}\n"))?;
    }
    if checked.faults.is_empty() {
        return output::print(&format!(
            "{}, {}: no fault found\n",
            many(checked.pools, "pool"),
            many(checked.numbers as usize, "number")
        ));
    }
    Err(CliError::AlreadyLogged)
}
