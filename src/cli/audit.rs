//! `allotd audit`: the last calls of operators that changed something.

use clap::Args;
use serde_json::Value;

use crate::client::{ClientError, Connection};
use crate::http::response::stats::Stats;

use super::error::CliError;
use super::figures::duration;
use super::output::{self, cell, table, words};
use super::remote::Remote;
use super::stats::answer::{self, STATS_PATH};

#[derive(Debug, Args)]
pub(super) struct AuditArgs {
    /// How many, the newest first
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=200))]
    limit: u32,
    #[command(flatten)]
    remote: Remote,
}

pub(super) fn run(args: &AuditArgs) -> Result<(), CliError> {
    let mut connection =
        Connection::new(args.remote.server()?).map_err(|error| CliError::Failed(error.to_string()))?;
    let text = connection.get(&format!("/v1/audit?limit={}", args.limit))?;
    if args.remote.json {
        return output::print(&format!("{text}\n"));
    }
    let answer: Value =
        serde_json::from_str(&text).map_err(|error| ClientError::Answer(error.to_string()))?;
    let shown = match table_of(&answer) {
        Some(table) => table,
        // Who may not see the statistics is told without the time.
        None => nothing(connection.get(STATS_PATH).ok().and_then(|text| answer::parse(&text).ok()).as_ref()),
    };
    output::print(&shown)
}

/// What is said if there is no entry. A daemon without the file of an audit log begins with none.
fn nothing(stats: Option<&Stats>) -> String {
    let began = stats.map_or(String::new(), |stats| format!(", {} ago", duration(stats.uptime_seconds)));
    format!(
        "nothing was changed since the daemon's start{began}: entries outlive a restart with --audit-log alone\n"
    )
}

/// The entries; `None` without any.
fn table_of(answer: &Value) -> Option<String> {
    let columns = ["at", "call", "of", "status", "by", "from", "reason", "before", "after"].map(words);
    let row = |entry: &Value| {
        let of = if entry["list"].is_null() { &entry["pool"] } else { &entry["list"] };
        let by = if entry["principal"].is_null() { "-".to_owned() } else { cell(&entry["principal"]) };
        let members = [&entry["reason"], &entry["before"], &entry["after"]].map(cell);
        let first = [
            cell(&entry["at"]),
            cell(&entry["call"]),
            cell(of),
            cell(&entry["status"]),
            by,
            cell(&entry["peer"]),
        ];
        [first.to_vec(), members.to_vec()].concat()
    };
    let rows: Vec<_> = answer["entries"].as_array().into_iter().flatten().map(row).collect();
    (!rows.is_empty()).then(|| table(&columns, &rows))
}
