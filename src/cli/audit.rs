//! `allotd audit`: the last calls of operators that changed something.

use clap::Args;
use hyper::Method;
use serde_json::Value;

use crate::client::Call;

use super::error::CliError;
use super::output::{cell, table, words};
use super::remote::Remote;

#[derive(Debug, Args)]
pub(super) struct AuditArgs {
    /// How many, the newest first
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=200))]
    limit: u32,
    #[command(flatten)]
    remote: Remote,
}

pub(super) fn run(args: &AuditArgs) -> Result<(), CliError> {
    let path = format!("/v1/audit?limit={}", args.limit);
    args.remote.call(Call::new(Method::GET, &path), text)
}

fn text(answer: &Value) -> String {
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
    if rows.is_empty() { "nothing was changed yet\n".to_owned() } else { table(&columns, &rows) }
}
