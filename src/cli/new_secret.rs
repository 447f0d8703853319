//! `allotd new-secret`: another key of the tokens for a data directory, offline.

use std::path::PathBuf;

use clap::Args;

use crate::store::secret::replace_secret;

use super::error::CliError;
use super::output;

#[derive(Debug, Args)]
pub(super) struct NewSecretArgs {
    /// The data directory
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

pub(super) fn run(args: &NewSecretArgs) -> Result<(), CliError> {
    replace_secret(&args.dir).map_err(|error| CliError::Failed(error.to_string()))?;
    output::print(
        "A new secret is in place. Tokens and Idempotency-Keys issued before are stale: leases that are live end at \
         their time, or by an operator's \"allotd pool release\".\n",
    )
}
