//! `allotd token check`

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;

use crate::auth::tokens_file::{self, Entry, TokensFileError};
use crate::cli::error::CliError;
use crate::cli::figures::many;
use crate::cli::output;

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The tokens file
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(super) fn run(args: &CheckArgs) -> Result<(), CliError> {
    let entries = match tokens_file::read(&args.file) {
        Ok(entries) => entries,
        Err(TokensFileError::Faults { faults, .. }) => {
            let lines: Vec<_> = faults.iter().map(ToString::to_string).collect();
            output::print(&format!("{}\n", lines.join("\n")))?;
            return Err(CliError::Failed(format!(
                "{} has {}: a daemon would not take it",
                args.file.display(),
                many(faults.len(), "fault")
            )));
        }
        Err(error @ TokensFileError::File(_)) => return Err(CliError::Failed(error.to_string())),
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let rows: String = entries.iter().map(|entry| row(entry, now)).collect();
    output::print(&format!("{rows}{}, no faults\n", many(entries.len(), "principal")))
}

fn row(Entry { principal, hashes, certificates }: &Entry, now_unix_seconds: u64) -> String {
    let expires = match principal.expires {
        None => "stays valid".to_owned(),
        Some(at) if at.unix_seconds() <= now_unix_seconds => format!("EXPIRED {at}"),
        Some(at) => format!("expires {at}"),
    };
    format!(
        "{}: {}, pools {}, {}, {}, {expires}\n",
        principal.name,
        principal.role,
        principal.scope,
        many(hashes.len(), "token"),
        many(certificates.len(), "certificate")
    )
}
