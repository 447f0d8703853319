//! `allotd token`: the tokens by which a daemon knows its callers.

mod check;
mod new;

use clap::Subcommand;

use super::error::CliError;

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token, and print its entry for the tokens file
    New(Box<new::NewArgs>),
    /// List the entries of a tokens file, and what is wrong with it
    Check(check::CheckArgs),
}

pub(super) fn run(command: TokenCommand) -> Result<(), CliError> {
    match command {
        TokenCommand::New(args) => new::run(&args),
        TokenCommand::Check(args) => check::run(&args),
    }
}
