//! `allotd apply`: makes pools, lists and tokens what a file says, after it has shown the difference.

mod file;
mod plan;
mod settings;
mod tokens;

use std::path::PathBuf;

use clap::Args;

use super::error::CliError;
use super::output;
use super::remote::ServerArgs;
use file::ApplyFile;
use plan::Plan;

#[derive(Debug, Args)]
pub(super) struct ApplyArgs {
    /// What is wanted, in TOML; files that it names are found from its directory
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Only show what would change
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Shows the difference, and then makes the changes in its order. Ends at the first that fails: what was done
/// before stays, and the same file goes on from there.
pub(super) fn run(args: &ApplyArgs) -> Result<(), CliError> {
    let wanted = ApplyFile::read(&args.file)?;
    let server = args.server.server()?;
    let Plan { steps, left_out } = Plan::of(&wanted, &server)?;
    let lines: Vec<_> = steps.iter().flat_map(|step| &step.lines).map(|line| format!("{line}\n")).collect();
    output::print(&lines.concat())?;
    if !left_out.is_empty() {
        output::print(&format!("not in the file, and left as they are: {}\n", left_out.join(", ")))?;
    }
    if steps.is_empty() {
        return output::print("nothing to change\n");
    }
    if args.dry_run {
        return output::print("nothing was changed: this was a dry run\n");
    }
    let made = steps.len();
    for step in steps {
        step.run(&server)?;
    }
    output::print(&format!("{made} {} made\n", if made == 1 { "change" } else { "changes" }))
}
