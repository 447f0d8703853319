//! `allotd pool map`: the number space as a line of blocks for each state.

use clap::Args;
use hyper::Method;
use ratatui::crossterm::terminal;
use serde_json::Value;

use crate::cli::error::CliError;
use crate::cli::figures::{block, grouped, percent};
use crate::cli::output;
use crate::cli::remote::Remote;
use crate::cli::upload::with_query;
use crate::client::Call;

use super::name::pool_path;

/// Columns of a terminal of unknown size.
const DEFAULT_COLUMNS: u16 = 80;
/// Columns beside the blocks: a state's name before them, its count and share after them.
const OTHER_COLUMNS: u16 = 34;
/// Fewest blocks.
const MIN_BLOCKS: u16 = 8;
/// The states, in the order of their lines.
const STATES: [&str; 7] = ["available", "leased", "resting", "done", "retired", "blocked", "closed"];
/// A part of the space without any number of the pool.
const NO_NUMBERS: char = '·';

#[derive(Debug, Args)]
pub(in crate::cli) struct MapArgs {
    /// Name of the pool
    name: String,
    /// How many equal parts to divide the space into, 1 to 4096 [default: as many as fit the terminal]
    #[arg(long, value_name = "N")]
    buckets: Option<u32>,
    /// Show only the space within these prefixes or ranges, separated by commas
    #[arg(long, value_name = "PREFIX")]
    within: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

pub(super) fn run(args: MapArgs) -> Result<(), CliError> {
    let fitting = || {
        let columns = terminal::size().map_or(DEFAULT_COLUMNS, |(columns, _)| columns);
        u32::from(columns.saturating_sub(OTHER_COLUMNS).max(MIN_BLOCKS))
    };
    let buckets = args.buckets.or_else(|| (!args.remote.json).then(fitting));
    let given = [("buckets", buckets.map(|buckets| buckets.to_string())), ("within", args.within)];
    let parameters: Vec<_> = given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    let path = with_query(&pool_path(&args.name, "/map")?, &parameters);
    args.remote.call(Call::new(Method::GET, &path), text)
}

fn text(map: &Value) -> String {
    let buckets: Vec<&Value> = map["buckets"].as_array().into_iter().flatten().collect();
    if buckets.is_empty() {
        return format!("{}: there are no numbers here\n", output::cell(&map["pool"]));
    }
    let count = |bucket: &Value, state: &str| bucket[state].as_u64().unwrap_or(0);
    let in_bucket = |bucket: &Value| STATES.iter().map(|state| count(bucket, state)).sum::<u64>();
    let numbers: u64 = buckets.iter().map(|bucket| in_bucket(bucket)).sum();
    let line = |state: &str| {
        let blocks = buckets.iter().map(|bucket| match in_bucket(bucket) {
            0 => NO_NUMBERS,
            all => block(count(bucket, state), all),
        });
        let blocks: String = blocks.collect();
        let total = buckets.iter().map(|bucket| count(bucket, state)).sum();
        format!("{state:9} |{blocks}| {:>11} {:>7}\n", grouped(total), percent(total, numbers))
    };
    let lines: String = STATES.iter().map(|state| line(state)).collect();
    format!(
        "{}: {} numbers from {} to {}, in {} parts of {}\n\n{lines}\n\
         The higher the block, the larger the share of its part in that state; \
         {NO_NUMBERS} is a part without numbers.\n",
        output::cell(&map["pool"]),
        grouped(numbers),
        output::cell(&map["first"]),
        output::cell(&map["last"]),
        buckets.len(),
        map["bucket_width"].as_u64().map_or_else(|| "-".to_owned(), grouped),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_show_the_share_of_each_state() {
        let bucket = |available: u64, leased: u64| serde_json::json!({"available": available, "leased": leased, "resting": 0, "done": 0, "retired": 0});
        let map = serde_json::json!({
            "pool": "ru", "first": 100, "last": 299, "bucket_width": 50,
            "buckets": [bucket(50, 0), bucket(0, 0), bucket(25, 25), bucket(0, 50)],
        });
        let text = text(&map);
        assert!(text.starts_with("ru: 150 numbers from 100 to 299, in 4 parts of 50\n"), "{text}");
        assert!(text.contains("available |█·▄ |          75  50.0 %\n"), "{text}");
        assert!(text.contains("leased    | ·▄█|          75  50.0 %\n"), "{text}");
        assert!(text.contains("resting   | ·  |           0     0 %\n"), "{text}");
        assert_eq!(
            super::text(&serde_json::json!({"pool": "ru", "buckets": []})),
            "ru: there are no numbers here\n"
        );
    }
}
