//! `allotd token new`

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::Args;

use crate::auth::access_token::AccessToken;
use crate::auth::{secret_file, tokens_file};
use crate::cli::error::CliError;
use crate::cli::output;

#[derive(Debug, Args)]
pub(crate) struct NewArgs {
    /// Name of the caller, in the log and in the statistics
    #[arg(value_name = "NAME")]
    name: String,
    /// What it may do: client, viewer, operator or admin
    #[arg(long, value_name = "ROLE")]
    role: String,
    /// Its pools: a name, the beginning of names such as 'ru*', or '*' for all; may be repeated
    #[arg(long, value_name = "PATTERN", value_delimiter = ',', required = true)]
    pools: Vec<String>,
    /// How long it is valid, such as 90d or 12h [default: until it is removed]
    #[arg(long, value_name = "TIME", value_parser = time_from_now)]
    expires: Option<Duration>,
    /// Write the token to this new file, which only its owner can read, instead of printing it
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Let a viewer see single numbers
    #[arg(long)]
    numbers: bool,
    #[command(flatten)]
    limits: LimitArgs,
}

/// The limits, which are also keys of an entry.
#[derive(Debug, Args)]
struct LimitArgs {
    /// Let its returns retire numbers, or forbid it [default: true for operator and admin]
    #[arg(long, value_name = "BOOL")]
    may_retire: Option<bool>,
    /// Connections at a time
    #[arg(long, value_name = "N")]
    max_connections: Option<u64>,
    /// Requests a second
    #[arg(long, value_name = "N")]
    requests_per_second: Option<u64>,
    /// Numbers leased a second
    #[arg(long, value_name = "N")]
    numbers_per_second: Option<u64>,
    /// Largest count of a lease
    #[arg(long, value_name = "N")]
    max_count: Option<u64>,
    /// Longest ttl of a lease, in seconds
    #[arg(long, value_name = "N")]
    max_ttl: Option<u64>,
    /// Largest body of a request, in bytes
    #[arg(long, value_name = "N")]
    max_body_bytes: Option<u64>,
    /// Live leases that were made under an Idempotency-Key
    #[arg(long, value_name = "N")]
    max_keyed_leases: Option<u64>,
    /// Live leases; needs --max-ttl
    #[arg(long, value_name = "N")]
    max_live_leases: Option<u64>,
}

/// How long from now.
fn time_from_now(text: &str) -> Result<Duration, &'static str> {
    humantime::parse_duration(text).map_err(|_| "give how long from now, such as 90d or 12h")
}

/// Why the token is not in its file. One that is there may be somebody's token.
fn unwritten(path: &Path, error: &io::Error) -> String {
    let path = path.display();
    match error.kind() {
        io::ErrorKind::AlreadyExists => {
            format!("{path} is there already, and is not overwritten: give another --out, or remove it first")
        }
        _ => format!("{path} cannot be written: {error}"),
    }
}

pub(super) fn run(args: &NewArgs) -> Result<(), CliError> {
    let failed = |error: &dyn std::fmt::Display| CliError::Failed(error.to_string());
    let token = AccessToken::random().map_err(|error| failed(&error))?;
    let entry = args.entry(&token)?;
    // What the daemon would refuse is refused here.
    tokens_file::parse(&entry).map_err(|faults| {
        CliError::Usage(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    })?;
    match &args.out {
        Some(path) => secret_file::write_token(path, &token)
            .map_err(|error| CliError::Failed(unwritten(path, &error)))?,
        None => {
            output::print(&format!(
                "Give this token to {}. It is shown only now:\n{}\n\nAdd this to the tokens file:\n",
                args.name,
                token.reveal()
            ))?;
        }
    }
    output::print(&entry)
}

impl NewArgs {
    /// The entry for the tokens file.
    fn entry(&self, token: &AccessToken) -> Result<String, CliError> {
        let quoted = |text: &str| toml::Value::from(text).to_string();
        let pools = self.pools.iter().map(|pool| quoted(pool)).collect::<Vec<_>>().join(", ");
        let mut text = format!(
            "[[token]]\nname = {}\nrole = {}\npools = [{pools}]\nsha256 = [\"{}\"]\n",
            quoted(&self.name),
            quoted(&self.role),
            token.hash()
        );
        let mut put = |key: &str, value: String| {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{key} = {value}");
        };
        if let Some(expires) = self.expires {
            let at = SystemTime::now().checked_add(expires).ok_or_else(|| {
                CliError::Usage("--expires is too long: leave it out for a token that stays valid".to_owned())
            })?;
            put("expires", format!("\"{}\"", humantime::format_rfc3339_seconds(at)));
        }
        if self.numbers {
            put("numbers", "true".to_owned());
        }
        let limits = &self.limits;
        if let Some(may_retire) = limits.may_retire {
            put("may_retire", may_retire.to_string());
        }
        for (key, value) in [
            ("max_connections", limits.max_connections),
            ("requests_per_second", limits.requests_per_second),
            ("numbers_per_second", limits.numbers_per_second),
            ("max_count", limits.max_count),
            ("max_ttl", limits.max_ttl),
            ("max_body_bytes", limits.max_body_bytes),
            ("max_keyed_leases", limits.max_keyed_leases),
            ("max_live_leases", limits.max_live_leases),
        ] {
            if let Some(value) = value {
                put(key, value.to_string());
            }
        }
        Ok(text)
    }
}
