//! `allotd man`: the manual pages.

use std::path::PathBuf;

use clap::{Args, Command, CommandFactory};
use clap_mangen::Man;

use crate::cli::Cli;

use super::error::CliError;
use super::output;

#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// Directory for a page of each command; without it, the page of allotd itself goes to standard output
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// The command as the pages describe it: the first steps belong to the help only.
fn command() -> Command {
    Cli::command().disable_help_subcommand(true).after_help(None)
}

pub(super) fn run(args: &ManArgs) -> Result<(), CliError> {
    let Some(dir) = &args.dir else {
        let mut page = Vec::new();
        Man::new(command()).render(&mut page).map_err(|error| CliError::Failed(error.to_string()))?;
        return output::print(&String::from_utf8_lossy(&page));
    };
    let written = std::fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(command(), dir));
    written.map_err(|error| {
        CliError::Failed(format!(
            "the pages cannot be written to {}: {error}. Give another directory",
            dir.display()
        ))
    })
}
