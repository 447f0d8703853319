//! `allotd pool export`

use std::io::{self, IsTerminal};

use clap::Args;
use hyper::Method;

use crate::cli::error::CliError;
use crate::cli::progress::{self, Counted};
use crate::cli::remote::ServerArgs;
use crate::cli::upload::with_query;
use crate::client::{self, Call};

use super::name::pool_path;

#[derive(Debug, Args)]
pub(in crate::cli) struct ExportArgs {
    /// Name of the pool
    name: String,
    /// Only the numbers in these states, separated by commas
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
    /// Only the numbers within these prefixes or ranges, separated by commas
    #[arg(long, value_name = "PREFIX")]
    within: Option<String>,
    /// Write CSV, with the state, the generation and the times of each number
    #[arg(long, conflicts_with = "roaring")]
    csv: bool,
    /// Write a portable Roaring bitmap
    #[arg(long)]
    roaring: bool,
    #[command(flatten)]
    server: ServerArgs,
}

pub(super) fn run(args: ExportArgs) -> Result<(), CliError> {
    let accept = match (args.csv, args.roaring) {
        (true, _) => "text/csv",
        (_, true) => "application/octet-stream",
        _ => "text/plain",
    };
    let out = io::stdout().lock();
    if args.roaring && out.is_terminal() {
        return Err(CliError::Usage("a Roaring bitmap is not for a terminal: add > FILE".to_owned()));
    }
    let given = [("state", args.state), ("within", args.within)];
    let parameters: Vec<_> = given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    let path = with_query(&pool_path(&args.name, "/numbers")?, &parameters);
    let call = Call { accept: Some(accept), ..Call::new(Method::GET, &path) };
    let server = args.server.server()?;
    let bar = progress::download();
    let result = client::send_to(&server, call, &mut Counted { inner: out, bar: bar.clone() });
    bar.finish_and_clear();
    Ok(result?)
}
