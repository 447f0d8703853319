//! `allotd pool hours` and `allotd pool zones`

use std::fs;
use std::path::PathBuf;

use clap::Args;
use hyper::Method;
use serde_json::Value;

use crate::cli::error::CliError;
use crate::cli::output;
use crate::cli::remote::Remote;
use crate::client::{self, Call, Payload};
use crate::domain::hours::Hours;

use super::name::pool_path;

/// The word that removes the hours.
const NONE: &str = "none";

#[derive(Debug, Args)]
pub(in crate::cli) struct HoursArgs {
    /// Name of the pool
    name: String,
    /// The time, such as 2026-11-23T22:05:00Z; now if it is left out
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ZonesArgs {
    /// Name of the pool
    name: String,
    /// Replace the table by a CSV with the columns prefix,zones or first,last,zones
    #[arg(long, value_name = "FILE", group = "change")]
    set: Option<PathBuf>,
    /// Replace it by a table that comes with the daemon: phone
    #[arg(long, value_name = "TABLE", group = "change")]
    builtin: Option<String>,
    /// Remove it
    #[arg(long, group = "change")]
    remove: bool,
    #[command(flatten)]
    remote: Remote,
}

/// The hours in a JSON file; `none` removes them.
pub(super) fn read(file: &str) -> Result<Option<Hours>, CliError> {
    if file == NONE {
        return Ok(None);
    }
    let text = fs::read_to_string(file).map_err(|error| CliError::Usage(format!("{file}: {error}")))?;
    serde_json::from_str(&text).map(Some).map_err(|error| CliError::Usage(format!("{file}: {error}")))
}

/// `allotd pool hours`
pub(super) fn show(args: &HoursArgs) -> Result<(), CliError> {
    let query = args.at.as_ref().map_or(String::new(), |at| format!("?at={}", at.replace('+', "%2B")));
    let path = pool_path(&args.name, &format!("/hours{query}"))?;
    args.remote.call(Call::new(Method::GET, &path), output::members)
}

/// `allotd pool zones`
pub(super) fn zones(args: &ZonesArgs) -> Result<(), CliError> {
    let path = pool_path(&args.name, "/zones")?;
    match (&args.set, &args.builtin) {
        (Some(file), _) => {
            let payload = Payload::files(std::slice::from_ref(file), |_| ())
                .map_err(|error| CliError::Usage(format!("{}: {error}", file.display())))?;
            let call = Call { content_type: Some("text/csv"), payload, ..Call::new(Method::PUT, &path) };
            args.remote.call(call, output::members)
        }
        (None, Some(table)) => {
            let path = format!("{path}?builtin={table}");
            args.remote.call(Call::new(Method::PUT, &path), output::members)
        }
        (None, None) if args.remove => args.remote.call(Call::new(Method::DELETE, &path), output::members),
        (None, None) => {
            let table = client::send(&args.remote.server()?, Call::new(Method::GET, &path))?;
            if args.remote.json {
                return output::print(&format!("{}\n", Value::from(table)));
            }
            output::print(&table)
        }
    }
}
