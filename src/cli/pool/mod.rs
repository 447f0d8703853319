//! `allotd pool …`: the operators' calls.

mod export;
mod holders;
mod hours;
mod map;
pub(crate) mod name;
mod note;
mod number;
mod release;
mod show;
mod why;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::json;

use crate::client::Call;
use crate::domain::list_name::ListName;
use crate::domain::settings::{Attempts, NextState, Order, SettingsChange, SettingsError};

use super::error::CliError;
use super::output;
use super::remote::Remote;
use super::upload::{UploadArgs, WORDING, with_query};
pub(super) use name::pool_path;

#[derive(Debug, Args)]
pub(super) struct PoolOnly {
    /// Name of the pool
    name: String,
    #[command(flatten)]
    remote: Remote,
}

/// `allotd pool pause`
#[derive(Debug, Args)]
pub(super) struct PauseArgs {
    #[command(flatten)]
    pool: PoolOnly,
    /// Why, for callers and the audit log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// `allotd pool retire`
#[derive(Debug, Args)]
pub(super) struct RetireOnly {
    #[command(flatten)]
    retire: RetireArgs,
    /// Why, for the audit log and for callers whose leases are gone
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// The heading of the settings.
const SETTINGS_HEADING: &str = "Settings of the pool";

/// Settings as flags.
#[derive(Debug, Args)]
pub(super) struct SettingArgs {
    /// In which order numbers are handed out: random (in a new pool), sequential or lowest
    #[arg(long, value_name = "ORDER", help_heading = SETTINGS_HEADING)]
    order: Option<Order>,
    /// How long a lease lasts unless the call sets it; 300 in a new pool
    #[arg(long, value_name = "SECONDS", help_heading = SETTINGS_HEADING)]
    ttl: Option<u32>,
    /// The longest lease that a call may request; 86400 in a new pool
    #[arg(long, value_name = "SECONDS", help_heading = SETTINGS_HEADING)]
    ttl_max: Option<u32>,
    /// How long a returned number rests; 0 in a new pool
    #[arg(long, value_name = "SECONDS", help_heading = SETTINGS_HEADING)]
    rest: Option<u32>,
    /// What happens to a number whose lease ends without a return: available (in a new pool), rest:SECONDS,
    /// done or retired
    #[arg(long, value_name = "THEN", help_heading = SETTINGS_HEADING)]
    on_expiry: Option<NextState>,
    /// What happens to a number at the end of its last lease of a round, where it would be leased again: 3:done after
    /// three of them, or with rest:SECONDS, retired or list:NAME; none for no limit
    #[arg(long, value_name = "MAX:THEN", value_parser = attempts, help_heading = SETTINGS_HEADING)]
    attempts: Option<AttemptsArg>,
    /// The lists whose numbers are never leased from this pool, separated by commas; empty for none
    #[arg(long, value_name = "LISTS", help_heading = SETTINGS_HEADING)]
    blocked_by: Option<String>,
    /// How many calls may wait for a number; 10000 in a new pool
    #[arg(long, value_name = "N", help_heading = SETTINGS_HEADING)]
    max_waiters: Option<u32>,
    /// Whether leases may name who holds them: true or false (in a new pool)
    #[arg(long, value_name = "BOOL", help_heading = SETTINGS_HEADING)]
    holders: Option<bool>,
    /// How many live leases a holder may have; none (in a new pool) for any number
    #[arg(long, value_name = "N", help_heading = SETTINGS_HEADING)]
    max_per_holder: Option<HolderLimit>,
    /// How many it may have before it has returned one; none (in a new pool) for as many as later
    #[arg(long, value_name = "N", help_heading = SETTINGS_HEADING)]
    first_per_holder: Option<HolderLimit>,
}

/// A limit of a holder's leases, or "none".
#[derive(Debug, Clone, Copy)]
struct HolderLimit(Option<u32>);

impl FromStr for HolderLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self(None)),
            _ => text.parse().map(|most| Self(Some(most))).map_err(|_| "give a number, or none".to_owned()),
        }
    }
}

/// The limit of attempts; `None` is none.
#[derive(Debug, Clone, Copy)]
struct AttemptsArg(Option<Attempts>);

/// The word for no limit of attempts.
const NO_ATTEMPTS: &str = "none";

fn attempts(text: &str) -> Result<AttemptsArg, SettingsError> {
    if text == NO_ATTEMPTS { Ok(AttemptsArg(None)) } else { Ok(AttemptsArg(Some(text.parse()?))) }
}

#[derive(Debug, Subcommand)]
pub(super) enum PoolCommand {
    /// Create a pool from files of numbers
    Create {
        /// Name of the pool
        name: String,
        #[command(flatten)]
        upload: UploadArgs,
        #[command(flatten)]
        settings: SettingArgs,
        /// Only show what would be read: counts, samples, and what looks odd
        #[arg(long)]
        dry_run: bool,
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
    /// Change the settings of a pool
    Set {
        /// Name of the pool
        name: String,
        #[command(flatten)]
        settings: SettingArgs,
        /// What happens to numbers returned with this outcome, such as `no_answer=rest:14400` or
        /// `do_not_call=list:optouts`; repeatable, and replaces all earlier rules
        #[arg(long = "outcome", value_name = "NAME=THEN", help_heading = SETTINGS_HEADING)]
        outcomes: Vec<String>,
        /// When numbers may be leased: a JSON file with rules, or none for always
        #[arg(long, value_name = "FILE", help_heading = SETTINGS_HEADING)]
        hours: Option<String>,
        /// A file with what to tell whoever leases from the pool, in Markdown; an empty one removes the note,
        /// "-" is standard input
        #[arg(long, value_name = "FILE", help_heading = SETTINGS_HEADING)]
        note: Option<PathBuf>,
        #[command(flatten)]
        remote: Remote,
    },
    /// Show how many numbers are open, and when that changes
    Hours(hours::HoursArgs),
    /// Show or replace the time zones of the numbers
    Zones(hours::ZonesArgs),
    /// Show the note of a pool
    Note(note::NoteArgs),
    /// Delete a pool
    Delete {
        /// Name of the pool
        name: String,
        /// Delete it even while numbers are leased
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        remote: Remote,
    },
    /// Add numbers from files
    Add {
        /// Name of the pool
        name: String,
        #[command(flatten)]
        upload: UploadArgs,
        /// Only show what would be added: counts, samples, and what looks odd
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        remote: Remote,
    },
    /// Retire the numbers in files: they are not handed out until they are reinstated
    Retire(RetireOnly),
    /// Make the retired numbers in files available again
    Reinstate(RetireArgs),
    /// End leases and rests now: of the numbers in files, or of all that are leased or resting
    Release(release::ReleaseArgs),
    /// Show who holds most leases, or what one holder has
    Holders(holders::HoldersArgs),
    /// Return all that a holder has
    ReturnHolder(holders::ReturnArgs),
    /// Write the numbers to standard output
    Export(export::ExportArgs),
    /// Look up the state of one number
    Number(number::NumberArgs),
    /// Tell whether a number can be leased, and all that is in its way
    Why(why::WhyArgs),
    /// Show which parts of the number space are in which state
    Map(map::MapArgs),
    /// Refuse new leases
    Pause(PauseArgs),
    /// Allow leases again
    Resume(PoolOnly),
    /// Start the next round: all done numbers become available again
    Round(PoolOnly),
}

#[derive(Debug, Args)]
pub(super) struct RetireArgs {
    /// Name of the pool
    name: String,
    #[command(flatten)]
    upload: UploadArgs,
    /// Only count what would change
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    remote: Remote,
}

/// The name of a list as an argument.
pub(super) fn list_name(name: &str) -> Result<ListName, CliError> {
    name.parse().map_err(|error: crate::domain::list_name::NotAListName| CliError::Usage(error.to_string()))
}

/// The word for an order, in JSON and queries alike.
fn order_word(order: Order) -> String {
    output::cell(&json!(order))
}

impl SettingArgs {
    fn parameters(&self) -> Vec<(&'static str, String)> {
        let number = |value: Option<u32>| value.map(|value| value.to_string());
        let given = [
            ("order", self.order.map(order_word)),
            ("ttl", number(self.ttl)),
            ("ttl_max", number(self.ttl_max)),
            ("rest", number(self.rest)),
            ("on_expiry", self.on_expiry.map(|then| then.to_string())),
            ("attempts", self.attempts.and_then(|given| Some(given.0?.to_string()))),
            ("blocked_by", self.blocked_by.clone()),
            ("max_waiters", number(self.max_waiters)),
            ("holders", self.holders.map(|holders| holders.to_string())),
            ("max_per_holder", number(self.max_per_holder.and_then(|limit| limit.0))),
            ("first_per_holder", number(self.first_per_holder.and_then(|limit| limit.0))),
        ];
        given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }

    fn change(&self, outcomes: &[String]) -> Result<SettingsChange, CliError> {
        let rule = |text: &String| {
            let refused = || CliError::Usage(format!("\"{text}\" is not a rule: give NAME=THEN"));
            let (name, then) = text.split_once('=').ok_or_else(refused)?;
            let then: NextState =
                then.parse().map_err(|error: SettingsError| CliError::Usage(error.to_string()))?;
            Ok::<_, CliError>((name.to_owned(), then))
        };
        let rules = outcomes.iter().map(rule).collect::<Result<BTreeMap<_, _>, _>>()?;
        let lists = self.blocked_by.iter().flat_map(|lists| lists.split(',')).filter(|list| !list.is_empty());
        let lists = lists.map(list_name).collect::<Result<Vec<_>, _>>()?;
        Ok(SettingsChange {
            order: self.order,
            ttl: self.ttl,
            ttl_max: self.ttl_max,
            rest: self.rest,
            on_expiry: self.on_expiry,
            outcomes: (!outcomes.is_empty()).then_some(rules),
            attempts: self.attempts.map(|given| given.0),
            hours: None,
            note: None,
            blocked_by: self.blocked_by.as_ref().map(|_| lists),
            max_waiters: self.max_waiters,
            holders: self.holders,
            max_per_holder: self.max_per_holder.map(|limit| limit.0),
            first_per_holder: self.first_per_holder.map(|limit| limit.0),
        })
    }
}

pub(super) fn run(command: PoolCommand) -> Result<(), CliError> {
    match command {
        PoolCommand::Create { name, upload, settings, dry_run, remote } => {
            let parameters = [settings.parameters(), dry_run_parameter(dry_run)].concat();
            upload.send(&remote, Method::PUT, &pool_path(&name, "")?, parameters)
        }
        PoolCommand::List { remote } => remote.call(Call::new(Method::GET, "/v1/pools"), show::list),
        PoolCommand::Show(args) => {
            let path = pool_path(&args.name, "")?;
            args.remote.call(Call::new(Method::GET, &path), show::pool)
        }
        PoolCommand::Set { name, settings, outcomes, hours, note, remote } => {
            let hours = hours.as_deref().map(hours::read).transpose()?;
            let note = note.as_deref().map(note::read).transpose()?;
            let body = json!(SettingsChange { hours, note, ..settings.change(&outcomes)? });
            remote.call(Call::json(Method::PATCH, &pool_path(&name, "")?, &body), show::pool)
        }
        PoolCommand::Hours(args) => hours::show(&args),
        PoolCommand::Zones(args) => hours::zones(&args),
        PoolCommand::Note(args) => note::run(&args),
        PoolCommand::Delete { name, force, remote } => {
            let path = pool_path(&name, if force { "?force=true" } else { "" })?;
            let call = Call { header: Some(WORDING), ..Call::new(Method::DELETE, &path) };
            remote.call(call, output::members)
        }
        PoolCommand::Add { name, upload, dry_run, remote } => {
            let path = pool_path(&name, "/numbers")?;
            upload.send(&remote, Method::POST, &path, dry_run_parameter(dry_run))
        }
        PoolCommand::Retire(args) => retire_or_reinstate(&args.retire, args.reason, "/retire"),
        PoolCommand::Reinstate(args) => retire_or_reinstate(&args, None, "/reinstate"),
        PoolCommand::Release(args) => release::run(&args),
        PoolCommand::Holders(args) => holders::show(&args),
        PoolCommand::ReturnHolder(args) => holders::return_all(&args),
        PoolCommand::Export(args) => export::run(args),
        PoolCommand::Number(args) => number::run(&args),
        PoolCommand::Why(args) => why::run(&args),
        PoolCommand::Map(args) => map::run(args),
        PoolCommand::Pause(args) => {
            let parameters: Vec<_> = args.reason.map(|reason| ("reason", reason)).into_iter().collect();
            let path = with_query(&pool_path(&args.pool.name, "/pause")?, &parameters);
            args.pool.remote.call(Call::new(Method::POST, &path), output::members)
        }
        PoolCommand::Resume(args) => post(&args, "/resume"),
        PoolCommand::Round(args) => post(&args, "/rounds"),
    }
}

fn post(args: &PoolOnly, action: &str) -> Result<(), CliError> {
    let path = pool_path(&args.name, action)?;
    args.remote.call(Call::new(Method::POST, &path), output::members)
}

fn retire_or_reinstate(args: &RetireArgs, reason: Option<String>, action: &str) -> Result<(), CliError> {
    let mut parameters = dry_run_parameter(args.dry_run);
    parameters.extend(reason.map(|reason| ("reason", reason)));
    args.upload.send(&args.remote, Method::POST, &pool_path(&args.name, action)?, parameters)
}

fn dry_run_parameter(dry_run: bool) -> Vec<(&'static str, String)> {
    if dry_run { vec![("dry_run", "true".to_owned())] } else { Vec::new() }
}
