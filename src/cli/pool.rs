//! `allotd pool …`: the operators' calls.

use std::collections::BTreeMap;
use std::io::IsTerminal;

use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Value, json};

use super::upload::{UploadArgs, with_query};
use super::{CliError, Remote, output};
use crate::client::{self, Call};
use crate::engine::settings::{Order, PoolName, SettingsChange, Then};

#[derive(Debug, Args)]
pub(super) struct PoolOnly {
    /// The pool
    name: String,
    #[command(flatten)]
    remote: Remote,
}

/// Settings as flags.
#[derive(Debug, Args)]
pub(super) struct SettingArgs {
    /// In which order numbers are handed out: random, sequential or lowest
    #[arg(long)]
    order: Option<Order>,
    /// How long a lease lasts unless the call says
    #[arg(long, value_name = "SECONDS")]
    ttl: Option<u32>,
    /// The longest lease that a call may ask for
    #[arg(long, value_name = "SECONDS")]
    ttl_max: Option<u32>,
    /// How long a returned number rests
    #[arg(long, value_name = "SECONDS")]
    rest: Option<u32>,
    /// What becomes of a number whose lease ends: available, rest:SECONDS, done or retired
    #[arg(long, value_name = "THEN")]
    on_expiry: Option<Then>,
}

#[derive(Debug, Subcommand)]
pub(super) enum PoolCommand {
    /// Create a pool from files of numbers
    Create {
        /// The pool
        name: String,
        #[command(flatten)]
        upload: UploadArgs,
        #[command(flatten)]
        settings: SettingArgs,
        #[command(flatten)]
        remote: Remote,
    },
    /// List the pools
    List {
        #[command(flatten)]
        remote: Remote,
    },
    /// Show a pool, its counts and its settings
    Show(PoolOnly),
    /// Change settings
    Set {
        /// The pool
        name: String,
        #[command(flatten)]
        settings: SettingArgs,
        /// A rule, such as `no_answer=rest:14400`; all rules are replaced by those given
        #[arg(long = "outcome", value_name = "NAME=THEN")]
        outcomes: Vec<String>,
        #[command(flatten)]
        remote: Remote,
    },
    /// Delete a pool
    Delete {
        /// The pool
        name: String,
        /// Even while numbers are leased
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        remote: Remote,
    },
    /// Add numbers
    Add {
        /// The pool
        name: String,
        #[command(flatten)]
        upload: UploadArgs,
        #[command(flatten)]
        remote: Remote,
    },
    /// Retire numbers: they are never handed out again
    Retire(MarkArgs),
    /// Take numbers out of retirement
    Reinstate(MarkArgs),
    /// Write the numbers to standard output
    Export {
        /// The pool
        name: String,
        /// Only those in these states, separated by commas
        #[arg(long)]
        state: Option<String>,
        /// Only those within these prefixes or ranges, separated by commas
        #[arg(long, value_name = "PREFIX")]
        within: Option<String>,
        /// With state, generation and times, as CSV
        #[arg(long, conflicts_with = "roaring")]
        csv: bool,
        /// As a portable Roaring bitmap
        #[arg(long)]
        roaring: bool,
        #[command(flatten)]
        remote: Remote,
    },
    /// Refuse new leases
    Pause(PoolOnly),
    /// Allow leases again
    Resume(PoolOnly),
    /// Start the next round: all that is done becomes available again
    Round(PoolOnly),
}

#[derive(Debug, Args)]
pub(super) struct MarkArgs {
    /// The pool
    name: String,
    #[command(flatten)]
    upload: UploadArgs,
    /// Only count
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    remote: Remote,
}

/// A name that is safe in a path.
pub(super) fn checked_name(name: &str) -> Result<PoolName, CliError> {
    name.parse().map_err(|error: crate::engine::settings::SettingsError| CliError::Usage(error.to_string()))
}

fn pool_path(name: &str, rest: &str) -> Result<String, CliError> {
    Ok(format!("/v1/pools/{}{rest}", checked_name(name)?))
}

/// A word of an enum that JSON and queries write alike.
fn order_word(order: Order) -> String {
    output::cell(&json!(order))
}

fn then_word(then: Then) -> String {
    match then {
        Then::Rest(seconds) => format!("rest:{seconds}"),
        other => output::cell(&json!(other)),
    }
}

impl SettingArgs {
    fn parameters(&self) -> Vec<(&'static str, String)> {
        let seconds = |value: Option<u32>| value.map(|seconds| seconds.to_string());
        let given = [
            ("order", self.order.map(order_word)),
            ("ttl", seconds(self.ttl)),
            ("ttl_max", seconds(self.ttl_max)),
            ("rest", seconds(self.rest)),
            ("on_expiry", self.on_expiry.map(then_word)),
        ];
        given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }

    fn change(&self, outcomes: &[String]) -> Result<SettingsChange, CliError> {
        let rule = |text: &String| {
            let refused = || CliError::Usage(format!("\"{text}\" is no rule: give NAME=THEN"));
            let (name, then) = text.split_once('=').ok_or_else(refused)?;
            let then: Then = then.parse().map_err(|error: crate::engine::settings::SettingsError| {
                CliError::Usage(error.to_string())
            })?;
            Ok::<_, CliError>((name.to_owned(), then))
        };
        let rules = outcomes.iter().map(rule).collect::<Result<BTreeMap<_, _>, _>>()?;
        Ok(SettingsChange {
            order: self.order,
            ttl: self.ttl,
            ttl_max: self.ttl_max,
            rest: self.rest,
            on_expiry: self.on_expiry,
            outcomes: (!outcomes.is_empty()).then_some(rules),
        })
    }
}

pub(super) fn run(command: PoolCommand) -> Result<(), CliError> {
    match command {
        PoolCommand::Create { name, upload, settings, remote } => {
            upload.send(&remote, Method::PUT, &pool_path(&name, "")?, settings.parameters())
        }
        PoolCommand::List { remote } => remote.call(Call::new(Method::GET, "/v1/pools"), list),
        PoolCommand::Show(args) => {
            let path = pool_path(&args.name, "")?;
            args.remote.call(Call::new(Method::GET, &path), output::members)
        }
        PoolCommand::Set { name, settings, outcomes, remote } => {
            let body = json!(settings.change(&outcomes)?);
            remote.call(Call::json(Method::PATCH, &pool_path(&name, "")?, &body), output::members)
        }
        PoolCommand::Delete { name, force, remote } => {
            let path = pool_path(&name, if force { "?force=true" } else { "" })?;
            remote.call(Call::new(Method::DELETE, &path), output::members)
        }
        PoolCommand::Add { name, upload, remote } => {
            upload.send(&remote, Method::POST, &pool_path(&name, "/numbers")?, Vec::new())
        }
        PoolCommand::Retire(args) => mark(&args, "/retire"),
        PoolCommand::Reinstate(args) => mark(&args, "/reinstate"),
        PoolCommand::Export { name, state, within, csv, roaring, remote } => {
            let accept = match (csv, roaring) {
                (true, _) => "text/csv",
                (_, true) => "application/octet-stream",
                _ => "text/plain",
            };
            export(&remote, &pool_path(&name, "/numbers")?, state, within, accept)
        }
        PoolCommand::Pause(args) => post(&args, "/pause"),
        PoolCommand::Resume(args) => post(&args, "/resume"),
        PoolCommand::Round(args) => post(&args, "/rounds"),
    }
}

fn post(args: &PoolOnly, action: &str) -> Result<(), CliError> {
    let path = pool_path(&args.name, action)?;
    args.remote.call(Call::new(Method::POST, &path), output::members)
}

fn mark(args: &MarkArgs, action: &str) -> Result<(), CliError> {
    let parameters = if args.dry_run { vec![("dry_run", "true".to_owned())] } else { Vec::new() };
    args.upload.send(&args.remote, Method::POST, &pool_path(&args.name, action)?, parameters)
}

fn export(
    remote: &Remote,
    path: &str,
    state: Option<String>,
    within: Option<String>,
    accept: &str,
) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    if accept == "application/octet-stream" && out.is_terminal() {
        return Err(CliError::Usage("a Roaring bitmap is not for a terminal: add > FILE".to_owned()));
    }
    let given = [("state", state), ("within", within)];
    let parameters: Vec<_> = given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    let path = with_query(path, &parameters);
    let call = Call { accept: Some(accept), ..Call::new(Method::GET, &path) };
    Ok(client::send_to(&remote.server()?, call, &mut out)?)
}

fn list(answer: &Value) -> String {
    const COLUMNS: [&str; 9] =
        ["pool", "numbers", "available", "leased", "resting", "done", "retired", "round", "paused"];
    let row = |pool: &Value| COLUMNS.iter().map(|name| output::cell(&pool[*name])).collect();
    let rows: Vec<_> = answer["pools"].as_array().into_iter().flatten().map(row).collect();
    output::table(&COLUMNS, &rows)
}
