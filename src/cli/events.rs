//! `allotd events`

use clap::Args;
use hyper::Method;

use crate::client::{self, Call};

use super::error::CliError;
use super::output;
use super::pool::name::pool_path;
use super::remote::ServerArgs;
use super::upload::with_query;

/// How long a call of `--follow` waits, in seconds.
const WAIT_SECONDS: &str = "30";
/// Most events of one call.
const EVENTS_AT_ONCE: u64 = 100_000;

#[derive(Debug, Args)]
pub(super) struct EventsArgs {
    /// Name of the pool
    name: String,
    /// The first event, by its seq [default: the oldest that is kept]
    #[arg(long, value_name = "SEQ")]
    from: Option<u64>,
    /// End after this many events
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Go on with the events to come
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// The seq of a line's event.
fn seq_of(line: &str) -> Result<u64, CliError> {
    let event: Option<serde_json::Value> = serde_json::from_str(line).ok();
    event
        .and_then(|event| event["seq"].as_u64())
        .ok_or_else(|| CliError::Failed(format!("the daemon sent what is no event: {line}")))
}

pub(super) fn run(args: &EventsArgs) -> Result<(), CliError> {
    let server = args.server.server()?;
    let path = pool_path(&args.name, "/events")?;
    let (mut from, mut left) = (args.from, args.limit.unwrap_or(u64::MAX));
    while left > 0 {
        let limit = left.min(EVENTS_AT_ONCE);
        let mut parameters = vec![("limit", limit.to_string())];
        if let Some(from) = from {
            parameters.push(("from", from.to_string()));
        }
        if args.follow {
            parameters.push(("wait", WAIT_SECONDS.to_owned()));
        }
        let lines = client::send(&server, Call::new(Method::GET, &with_query(&path, &parameters)))?;
        output::print(&lines)?;
        let count = lines.lines().count() as u64;
        left = left.saturating_sub(count);
        match lines.lines().next_back() {
            Some(last) => from = Some(seq_of(last)? + 1),
            None if args.follow => {}
            None => break,
        }
    }
    Ok(())
}
