//! `allotd check`: every invariant of a data directory, offline.

use std::path::PathBuf;

use clap::Args;

use super::{CliError, output};
use crate::engine::check::check_directory;

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// The data directory
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

pub(super) fn run(args: &CheckArgs) -> Result<(), CliError> {
    if let Err(error) = std::fs::read_dir(&args.dir) {
        let path = args.dir.display();
        return Err(CliError::Failed(format!(
            "{path} cannot be read: {error}. Name the daemon's data directory"
        )));
    }
    let faults = check_directory(&args.dir);
    if faults.is_empty() {
        return output::print("no fault found\n");
    }
    for fault in &faults {
        output::print(&format!("{fault}\n"))?;
    }
    Err(CliError::Told)
}
