//! The commands, one file each.

mod advice;
mod apply;
mod audit;
mod backup;
mod bench;
mod check;
mod cluster;
mod completions;
mod demo;
mod doctor;
pub(crate) mod error;
mod events;
mod export;
mod figures;
mod lease;
mod list;
mod man;
mod new_secret;
mod number_files;
pub(crate) mod output;
mod pool;
mod preview;
mod progress;
pub(crate) mod remote;
mod renew;
mod return_lease;
mod serve;
mod sources;
mod stats;
mod token;
mod upload;
mod workbook;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use error::CliError;

/// Hands out numbers from huge pools, each to exactly one holder at a time
#[derive(Debug, Parser)]
#[command(name = "allotd", version, arg_required_else_help = true, after_help = FIRST_STEPS)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon
    Serve(serve::ServeCommand),
    /// Run the daemon with a pool "demo" of real mobile ranges, and print what to try
    Demo(demo::DemoArgs),
    /// Create, show and change pools
    #[command(subcommand)]
    Pool(Box<pool::PoolCommand>),
    /// Create, show and change the lists of numbers that pools must not lease
    #[command(subcommand)]
    List(list::ListCommand),
    /// Make pools, lists and tokens what a file says, after showing the difference
    Apply(apply::ApplyArgs),
    /// Lease numbers
    Lease(lease::LeaseArgs),
    /// Renew leases
    Renew(renew::RenewArgs),
    /// Print what happened to the numbers of a pool
    Events(events::EventsArgs),
    /// Return numbers
    Return(return_lease::ReturnArgs),
    /// Show what the daemon counts
    Stats(stats::StatsArgs),
    /// Look at a running daemon: what is wrong, and what to do
    Doctor(doctor::DoctorArgs),
    /// Show what operators changed last, and who
    Audit(audit::AuditArgs),
    /// Make tokens for a daemon's callers, and check its tokens file
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Put load on a daemon, and show how it performs
    Bench(bench::BenchArgs),
    /// Show and change who is primary of a cluster
    #[command(subcommand)]
    Cluster(cluster::ClusterCommand),
    /// Make the daemon back up all its pools
    Backup(backup::BackupArgs),
    /// Write the numbers of a pool in a backup and their states, without a daemon
    Export(export::ExportArgs),
    /// Create a data directory from a backup
    Restore(backup::RestoreArgs),
    /// Check a data directory that no daemon uses, or a backup
    Check(check::CheckArgs),
    /// Give a data directory that lost its secret another, which makes all tokens stale
    NewSecret(new_secret::NewSecretArgs),
    /// Print the completion script of a shell
    Completions(completions::CompletionsArgs),
    /// Print the manual page, or write a page for each command
    Man(man::ManArgs),
}

/// What follows the list of the commands.
const FIRST_STEPS: &str = "\
First steps:
  allotd demo                        a daemon with 40 million numbers, and what to try
  allotd serve --data ./data         a daemon of your own
  allotd pool create ru numbers.txt  a pool from a file of numbers
  allotd lease ru                    a number from it, for a while
  allotd stats --watch               what happens, live

Exit codes: 0 done, 1 refused or failed (with one line that says why), 2 wrong usage.
\"allotd help COMMAND\" describes a command.";

impl Cli {
    /// Reads the command line and the environment. Ends the process if it is wrong, or asks for help.
    pub fn from_command_line() -> Self {
        sources::matches(&Self::command())
            .and_then(|matches| {
                let mut cli = Self::from_arg_matches(&matches)?;
                let args = match &mut cli.command {
                    Command::Serve(args) => Some(args.serve_args()),
                    Command::Demo(args) => Some(args.serve_args()),
                    _ => None,
                };
                if let (Some(args), Some((_, own))) = (args, matches.subcommand()) {
                    args.given = sources::given(own);
                }
                Ok(cli)
            })
            .unwrap_or_else(|error| error.exit())
    }

    /// Runs the command: 0 done, 1 refused or failed, 2 wrong usage.
    pub fn run(self) -> ExitCode {
        let result = match self.command {
            Command::Serve(args) => serve::run(args),
            Command::Demo(args) => demo::run(args),
            Command::Pool(command) => pool::run(*command),
            Command::List(command) => list::run(command),
            Command::Apply(args) => apply::run(&args),
            Command::Lease(args) => lease::run(args),
            Command::Renew(args) => renew::run(&args),
            Command::Events(args) => events::run(&args),
            Command::Return(args) => return_lease::run(args),
            Command::Stats(args) => stats::run(&args),
            Command::Doctor(args) => doctor::run(&args),
            Command::Audit(args) => audit::run(&args),
            Command::Token(command) => token::run(command),
            Command::Bench(args) => bench::run(&args),
            Command::Cluster(command) => cluster::run(&command),
            Command::Backup(args) => backup::back_up(&args),
            Command::Export(args) => export::run(&args),
            Command::Restore(args) => backup::run_restore(&args),
            Command::Check(args) => check::run(&args),
            Command::NewSecret(args) => new_secret::run(&args),
            Command::Completions(args) => completions::run(&args),
            Command::Man(args) => man::run(&args),
        };
        let (message, code) = match result {
            Ok(()) => return ExitCode::SUCCESS,
            Err(CliError::Usage(message)) => (message, 2),
            Err(CliError::Failed(message)) => (message, 1),
            Err(CliError::Refused(error)) => (error.to_string(), 1),
            Err(CliError::AlreadyLogged) => return ExitCode::from(1),
        };
        // One line, whatever the message holds.
        let line = message.split_whitespace().collect::<Vec<_>>().join(" ");
        // If standard error is closed, nobody can read the message.
        let _ = writeln!(io::stderr(), "allotd: {}", output::escaped(&line));
        ExitCode::from(code)
    }
}
