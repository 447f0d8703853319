//! `allotd pool holders` and `allotd pool return-holder`

use std::fmt::Write as _;

use clap::Args;
use hyper::Method;
use serde_json::{Value, json};

use crate::cli::error::CliError;
use crate::cli::output;
use crate::cli::remote::Remote;
use crate::client::Call;
use crate::domain::settings::NextState;

use super::name::pool_path;

#[derive(Debug, Args)]
pub(in crate::cli) struct HoldersArgs {
    /// Name of the pool
    name: String,
    /// Show what this holder has
    holder: Option<String>,
    /// How many holders to show [default: 20]
    #[arg(long, value_name = "N", conflicts_with = "holder")]
    top: Option<u32>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ReturnArgs {
    /// Name of the pool
    name: String,
    /// The holder
    holder: String,
    /// How it went; the pool's rules decide what happens to the numbers
    #[arg(long, value_name = "NAME")]
    outcome: Option<String>,
    /// What happens to the numbers: available, rest:SECONDS, done, retired or list:NAME
    #[arg(long, value_name = "THEN")]
    then: Option<NextState>,
    #[command(flatten)]
    remote: Remote,
}

/// A holder's name as a part of a path.
fn in_path(holder: &str) -> String {
    let mut part = String::new();
    for byte in holder.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            part.push(byte.into());
        } else {
            // Writing to a string does not fail.
            let _ = write!(part, "%{byte:02X}");
        }
    }
    part
}

/// One line per item: its cells, with tabs between them.
fn lines(answer: &Value, items: &str, cells: &[&str]) -> String {
    let line = |item: &Value| {
        let cells: Vec<_> = cells.iter().map(|cell| output::cell(&item[*cell])).collect();
        format!("{}\n", cells.join("\t"))
    };
    answer[items].as_array().into_iter().flatten().map(line).collect()
}

pub(super) fn show(args: &HoldersArgs) -> Result<(), CliError> {
    let Some(holder) = &args.holder else {
        let top = args.top.map(|top| format!("?top={top}")).unwrap_or_default();
        let path = pool_path(&args.name, &format!("/holders{top}"))?;
        let call = Call::new(Method::GET, &path);
        return args.remote.call(call, |answer| lines(answer, "holders", &["leased", "holder"]));
    };
    let path = pool_path(&args.name, &format!("/holders/{}", in_path(holder)))?;
    args.remote.call(Call::new(Method::GET, &path), |answer| {
        lines(answer, "leases", &["number", "generation", "expires_at"])
    })
}

pub(super) fn return_all(args: &ReturnArgs) -> Result<(), CliError> {
    let mut body = json!({});
    if let Some(outcome) = &args.outcome {
        body["outcome"] = outcome.as_str().into();
    }
    if let Some(then) = args.then {
        body["then"] = json!(then);
    }
    let path = pool_path(&args.name, &format!("/holders/{}/return", in_path(&args.holder)))?;
    args.remote.call(Call::json(Method::POST, &path, &body), output::members)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_is_one_part_of_a_path() {
        assert_eq!(in_path("c-17.x_~"), "c-17.x_~");
        assert_eq!(in_path("a/b c?ж%"), "a%2Fb%20c%3F%D0%B6%25");
    }
}
