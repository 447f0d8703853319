//! `allotd stats`

use std::time::Duration;

use clap::Args;
use hyper::Method;
use serde_json::Value;

use super::{CliError, Remote, output};
use crate::client::Call;

/// How often `--watch` asks again, in seconds.
const WATCH_SECONDS: u64 = 2;

#[derive(Debug, Args)]
pub(super) struct StatsArgs {
    /// Show them again every two seconds
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    remote: Remote,
}

pub(super) fn run(args: &StatsArgs) -> Result<(), CliError> {
    loop {
        args.remote.call(Call::new(Method::GET, "/v1/stats"), readable)?;
        if !args.watch {
            return Ok(());
        }
        std::thread::sleep(Duration::from_secs(WATCH_SECONDS));
        output::print("\n")?;
    }
}

const POOL_COLUMNS: [&str; 8] =
    ["numbers", "available", "leased", "resting", "done", "retired", "round", "paused"];
const TOTAL_COLUMNS: [&str; 6] = ["leases", "renewals", "returns", "expirations", "exhausted", "stale"];
const LATENCY_COLUMNS: [&str; 5] = ["p50", "p90", "p99", "p99_9", "max"];

fn rows(object: &Value, row: impl Fn(&Value) -> Vec<String>) -> Vec<Vec<String>> {
    let entries = object.as_object().into_iter().flatten();
    entries.map(|(name, value)| std::iter::once(name.clone()).chain(row(value)).collect()).collect()
}

fn readable(stats: &Value) -> String {
    let cells = |value: &Value, names: &[&str]| -> Vec<String> {
        names.iter().map(|name| output::cell(&value[*name])).collect()
    };
    let pools = rows(&stats["pools"], |pool| cells(pool, &POOL_COLUMNS));
    let totals = rows(&stats["pools"], |pool| cells(&pool["totals"], &TOTAL_COLUMNS));
    let requests = rows(&stats["requests"], |call| {
        let mut row = vec![output::cell(&call["count"])];
        row.extend(cells(&call["latency_us"], &LATENCY_COLUMNS));
        row.push(output::cell(&call["by_status"]));
        row
    });
    let head = |first: &'static str, names: &[&'static str]| [&[first], names].concat();
    format!(
        "allotd {}, up {} s, durability {}, {} connections, {} MB resident\n\n{}\n{}\n{}",
        output::cell(&stats["version"]),
        output::cell(&stats["uptime_seconds"]),
        output::cell(&stats["durability"]),
        output::cell(&stats["connections"]["open"]),
        stats["memory"]["resident_bytes"].as_u64().unwrap_or(0) / 1_000_000,
        output::table(&head("pool", &POOL_COLUMNS), &pools),
        output::table(&head("totals", &TOTAL_COLUMNS), &totals),
        output::table(
            &head("call", &["count", "p50 us", "p90 us", "p99 us", "p99.9 us", "max us", "by status"]),
            &requests
        ),
    )
}
