//! `allotd backup` and `allotd restore`

use std::path::PathBuf;

use clap::Args;
use hyper::Method;
use serde_json::json;

use crate::backup::restore::{Serving, restore};
use crate::client::Call;
use crate::disk::device::RealDisk;
use crate::sys::umask;

use super::error::CliError;
use super::figures::many;
use super::output;
use super::remote::Remote;

#[derive(Debug, Args)]
pub(super) struct BackupArgs {
    /// Name of the backup in the daemon's backup directory [default: the current time]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Read the backup back from the disk and compare it with its checksums before it gets its name
    #[arg(long)]
    verify: bool,
    /// Keep this many backups that are named by their time, and remove older ones
    #[arg(long, value_name = "N")]
    keep: Option<u32>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub(super) struct RestoreArgs {
    /// The backup's directory
    #[arg(value_name = "BACKUP")]
    backup: PathBuf,
    /// The data directory to create: empty, or not existing yet
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Leave the pools open: a number that was leased after the backup can get a second holder
    #[arg(long)]
    serve_at_once: bool,
}

/// Makes the daemon back up all its pools.
pub(super) fn back_up(args: &BackupArgs) -> Result<(), CliError> {
    let mut body = serde_json::Map::new();
    body.extend(args.name.as_ref().map(|name| ("name".to_owned(), json!(name))));
    body.extend(args.verify.then(|| ("verify".to_owned(), json!(true))));
    body.extend(args.keep.map(|keep| ("keep".to_owned(), json!(keep))));
    let body = json!(body);
    args.remote.call(Call::json(Method::POST, "/v1/backup", &body), output::members)
}

/// Creates a data directory from a backup.
pub(super) fn run_restore(args: &RestoreArgs) -> Result<(), CliError> {
    umask::keep_private();
    let serving = if args.serve_at_once { Serving::AtOnce } else { Serving::OnceLeasesEnded };
    let restored = restore(&RealDisk, &args.backup, &args.dir, serving)
        .map_err(|error| CliError::Failed(format!("nothing was restored: {error}")))?;
    let paused = restored.paused_until.map_or_else(String::new, |until| {
        format!(
            "Leases given after the backup are unknown: the pools are paused until the longest can have ended, the last \
             at {until}.\nIf none is live, \"allotd pool resume POOL\" or \"allotd serve --serve-at-once\" opens them now.\n"
        )
    });
    output::print(&format!(
        "restored {}, {}, {} bytes, as of {}, to {}\n{paused}",
        many(restored.pools as usize, "pool"),
        many(restored.numbers as usize, "number"),
        restored.bytes,
        restored.as_of,
        args.dir.display()
    ))
}
