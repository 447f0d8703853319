//! `allotd stats`: once, repeatedly, or as a screen.

pub(super) mod answer;
mod tables;
mod watch;

use std::io::{self, IsTerminal};
use std::time::Duration;

use clap::Args;

use crate::client::Connection;

use super::error::CliError;
use super::output;
use super::remote::Remote;
use answer::STATS_PATH;

#[derive(Debug, Args)]
pub(super) struct StatsArgs {
    /// Keep showing the statistics: as a full screen on a terminal, else as one table after another
    #[arg(long)]
    watch: bool,
    /// With --watch: seconds between two updates
    #[arg(long, value_name = "SECONDS", default_value_t = 1, requires = "watch", value_parser = clap::value_parser!(u32).range(1..=3_600))]
    interval_seconds: u32,
    #[command(flatten)]
    remote: Remote,
}

pub(super) fn run(args: &StatsArgs) -> Result<(), CliError> {
    let server = args.remote.server()?;
    let interval = Duration::from_secs(args.interval_seconds.into());
    if args.watch && !args.remote.json && is_screen() {
        return watch::run(server, interval);
    }
    let mut connection = Connection::new(server).map_err(|error| CliError::Failed(error.to_string()))?;
    loop {
        let answer = connection.get(STATS_PATH)?;
        let mut text =
            if args.remote.json { format!("{answer}\n") } else { tables::text(&answer::parse(&answer)?) };
        if args.watch && !args.remote.json {
            text.push('\n');
        }
        // Stops once the reader has closed the pipe.
        if !output::print_on(&text)? || !args.watch {
            return Ok(());
        }
        std::thread::sleep(interval);
    }
}

/// Whether standard output is a terminal that can place text.
fn is_screen() -> bool {
    io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|name| name != "dumb")
}
