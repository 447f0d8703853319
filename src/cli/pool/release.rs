//! `allotd pool release`

use clap::Args;
use hyper::Method;

use crate::cli::error::CliError;
use crate::cli::output;
use crate::cli::remote::Remote;
use crate::cli::upload::{UploadArgs, with_query};
use crate::client::Call;

use super::name::pool_path;

#[derive(Debug, Args)]
pub(in crate::cli) struct ReleaseArgs {
    /// Name of the pool
    name: String,
    #[command(flatten)]
    upload: Option<UploadArgs>,
    /// Instead of files: all numbers in these states, leased or resting or both, separated by a comma
    #[arg(long, value_name = "STATE", conflicts_with = "files", required_unless_present_any = ["files", "holder"])]
    state: Option<String>,
    /// Instead of files: all that this holder has
    #[arg(long, value_name = "NAME", conflicts_with_all = ["files", "state"])]
    holder: Option<String>,
    /// Only those within these prefixes or ranges, separated by commas
    #[arg(long, value_name = "PREFIX", requires = "state", conflicts_with = "files")]
    within: Option<String>,
    /// Why, for the audit log and for callers whose leases are gone
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Only count what would change
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    remote: Remote,
}

pub(super) fn run(args: &ReleaseArgs) -> Result<(), CliError> {
    let path = pool_path(&args.name, "/release")?;
    let dry_run = args.dry_run.then(|| "true".to_owned());
    let given = [
        ("dry_run", dry_run),
        ("state", args.state.clone()),
        ("within", args.within.clone()),
        ("holder", args.holder.clone()),
        ("reason", args.reason.clone()),
    ];
    let parameters: Vec<_> = given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    match &args.upload {
        Some(upload) => upload.send(&args.remote, Method::POST, &path, parameters),
        None => args.remote.call(Call::new(Method::POST, &with_query(&path, &parameters)), output::members),
    }
}
