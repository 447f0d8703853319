//! The commands, one file each.

mod backup;
mod bench;
mod check;
mod completions;
mod demo;
mod figures;
mod give_back;
mod lease;
mod man;
mod output;
mod pool;
mod progress;
mod renew;
mod serve;
mod stats;
mod upload;
mod watch;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use thiserror::Error;

use crate::client::{self, Call, ClientError, Server};

/// Hands out numbers of huge pools, each to exactly one holder at a time
#[derive(Debug, Parser)]
#[command(name = "allotd", version, arg_required_else_help = true, after_help = FIRST_STEPS)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon
    Serve(crate::config::ServeArgs),
    /// Run the daemon with a pool "demo" of real mobile ranges, and say what to try
    Demo(demo::DemoArgs),
    /// Create, show and change pools
    #[command(subcommand)]
    Pool(pool::PoolCommand),
    /// Lease numbers
    Lease(lease::LeaseArgs),
    /// Renew leases
    Renew(renew::RenewArgs),
    /// Return numbers
    Return(give_back::ReturnArgs),
    /// Show what the daemon counts
    Stats(stats::StatsArgs),
    /// Put a load on a daemon, and show how it does
    Bench(bench::BenchArgs),
    /// Have the daemon make a backup of all its pools
    Backup(backup::BackupArgs),
    /// Make a data directory of a backup
    Restore(backup::RestoreArgs),
    /// Check a data directory that no daemon uses, or a backup
    Check(check::CheckArgs),
    /// Print what a shell reads to complete commands and flags
    Completions(completions::CompletionsArgs),
    /// Print the manual page, or write a page for each command
    Man(man::ManArgs),
}

/// Which daemon to talk to.
#[derive(Debug, Clone, Args)]
struct ServerArgs {
    /// The daemon to talk to: http://HOST:PORT or unix:PATH
    #[arg(long, env = "ALLOTD_SERVER", hide_env_values = true, default_value = "http://127.0.0.1:7979", value_name = "URL", help_heading = DAEMON_HEADING)]
    server: String,
}

impl ServerArgs {
    fn server(&self) -> Result<Server, CliError> {
        Ok(self.server.parse()?)
    }
}

/// Which daemon to talk to, and how to show its answers.
#[derive(Debug, Clone, Args)]
struct Remote {
    #[command(flatten)]
    server: ServerArgs,
    /// Show the answer as the daemon gives it, in JSON
    #[arg(long, env = "ALLOTD_JSON", hide_env_values = true, num_args = 0..=1, default_missing_value = "true", require_equals = true, default_value = "false", value_name = "BOOL", hide_default_value = true, hide_possible_values = true, help_heading = DAEMON_HEADING)]
    json: bool,
}

/// The heading of the flags that nearly all commands have.
const DAEMON_HEADING: &str = "The daemon and its answers";

/// What follows the list of the commands.
const FIRST_STEPS: &str = "\
First steps:
  allotd demo                        a daemon with 40 million numbers, and what to try
  allotd serve --data ./data         a daemon of your own
  allotd pool create ru numbers.txt  a pool of the numbers in a file
  allotd lease ru                    a number of it, for a while
  allotd stats --watch               what goes on

Exit codes: 0 done, 1 refused or failed (with one line that says why), 2 wrong usage.
\"allotd help COMMAND\" tells more of a command.";

impl Remote {
    fn server(&self) -> Result<Server, CliError> {
        self.server.server()
    }

    /// Makes a call and shows its answer: as it is with `--json`, else by `show`.
    fn call(&self, call: Call<'_>, show: impl FnOnce(&serde_json::Value) -> String) -> Result<(), CliError> {
        let answer = client::send(&self.server()?, call)?;
        if self.json {
            return output::print(&format!("{answer}\n"));
        }
        let value = serde_json::from_str(&answer).map_err(|error| ClientError::Answer(error.to_string()))?;
        output::print(&show(&value))
    }
}

/// Why a command ends with an exit code other than 0.
#[derive(Debug, Error)]
enum CliError {
    /// Wrong usage: exit code 2.
    #[error("{0}")]
    Usage(String),
    /// Refused or failed: exit code 1.
    #[error("{0}")]
    Failed(String),
    /// Said on standard output already: exit code 1.
    #[error("")]
    Told,
}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Address(_) => Self::Usage(error.to_string()),
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<crate::config::ConfigError> for CliError {
    fn from(error: crate::config::ConfigError) -> Self {
        Self::Usage(error.to_string())
    }
}

impl Cli {
    /// Runs the command: 0 done, 1 refused or failed, 2 wrong usage.
    pub fn run(self) -> ExitCode {
        let result = match self.command {
            Command::Serve(args) => serve::run(args),
            Command::Demo(args) => demo::run(args),
            Command::Pool(command) => pool::run(command),
            Command::Lease(args) => lease::run(args),
            Command::Renew(args) => renew::run(&args),
            Command::Return(args) => give_back::run(args),
            Command::Stats(args) => stats::run(&args),
            Command::Bench(args) => bench::run(&args),
            Command::Backup(args) => backup::back_up(&args),
            Command::Restore(args) => backup::run_restore(&args),
            Command::Check(args) => check::run(&args),
            Command::Completions(args) => completions::run(&args),
            Command::Man(args) => man::run(&args),
        };
        let (message, code) = match result {
            Ok(()) => return ExitCode::SUCCESS,
            Err(CliError::Usage(message)) => (message, 2),
            Err(CliError::Failed(message)) => (message, 1),
            Err(CliError::Told) => return ExitCode::from(1),
        };
        // One line, whatever the message holds.
        let line = message.split_whitespace().collect::<Vec<_>>().join(" ");
        // Where standard error is closed there is nobody to tell.
        let _ = writeln!(io::stderr(), "allotd: {line}");
        ExitCode::from(code)
    }
}
