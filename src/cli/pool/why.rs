//! `allotd pool why`

use std::fmt::Write as _;

use clap::Args;
use hyper::Method;
use serde_json::Value;

use crate::cli::error::CliError;
use crate::cli::output::{cell, escaped};
use crate::cli::remote::Remote;
use crate::client::Call;

use super::name::pool_path;

#[derive(Debug, Args)]
pub(in crate::cli) struct WhyArgs {
    /// Name of the pool
    name: String,
    /// The number, in international form without signs
    number: u64,
    #[command(flatten)]
    remote: Remote,
}

pub(super) fn run(args: &WhyArgs) -> Result<(), CliError> {
    let path = pool_path(&args.name, &format!("/numbers/{}", args.number))?;
    args.remote.call(Call::new(Method::GET, &path), |answer| text(&args.name, answer))
}

fn text(pool: &str, answer: &Value) -> String {
    let number = cell(&answer["number"]);
    let attempts = match answer["attempts"].as_u64() {
        Some(1) => " (1 attempt in this round)".to_owned(),
        Some(attempts) => format!(" ({attempts} attempts in this round)"),
        None => String::new(),
    };
    if answer["leasable"] == true {
        return format!("{number} can be leased from {pool}{attempts}\n");
    }
    let mut text = format!("{number} cannot be leased from {pool}{attempts}:\n");
    for reason in answer["reasons"].as_array().into_iter().flatten() {
        // Writing to a string does not fail.
        let _ = writeln!(text, "- {}", in_words(pool, reason, answer["holder"].as_str()));
    }
    text
}

/// A reason and what ends it.
fn in_words(pool: &str, reason: &Value, holder: Option<&str>) -> String {
    let until = reason["until"].as_str();
    match (reason["reason"].as_str().unwrap_or_default(), until) {
        ("leased", Some(until)) => {
            let holder = holder.map_or("someone".into(), escaped);
            format!("{holder} holds it until {until}, unless it is returned sooner")
        }
        ("resting", Some(until)) => format!("it rests until {until}"),
        ("done", _) => format!("it is done until the next round: allotd pool round {pool}"),
        ("retired", _) => format!("it is retired until it is reinstated: allotd pool reinstate {pool} FILE"),
        ("blocked", _) => {
            let lists = reason["lists"].as_array().into_iter().flatten();
            let lists = lists.map(cell).collect::<Vec<_>>().join(", ");
            format!("it is on {lists}, which the pool is blocked by, until it is taken off")
        }
        ("closed", Some(until)) => format!("it is outside its hours until {until}"),
        ("closed", None) => {
            format!("its hours never open it, or not soon: allotd pool show {pool}, allotd pool zones {pool}")
        }
        ("paused", Some(until)) => format!("the pool is paused until {until}"),
        ("paused", None) => {
            format!("the pool is paused: allotd pool show {pool} says why, allotd pool resume {pool} ends it")
        }
        (other, _) => escaped(other).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_reason_says_what_ends_it() {
        assert_eq!(
            text("ru", &json!({"number": 7, "leasable": true, "reasons": []})),
            "7 can be leased from ru\n"
        );
        for (attempts, words) in [(0, "0 attempts"), (1, "1 attempt"), (3, "3 attempts")] {
            assert_eq!(
                text("ru", &json!({"number": 7, "attempts": attempts, "leasable": true, "reasons": []})),
                format!("7 can be leased from ru ({words} in this round)\n")
            );
        }
        let until = "2026-11-23T22:05:00Z";
        let held = json!({"number": 7, "holder": "c-17\u{1b}", "leasable": false, "reasons": [{"reason": "leased", "until": until}]});
        assert!(text("ru", &held).contains("\n- c-17\\u{1b} holds it until 2026-11-23T22:05:00Z"), "{held}");
        let reasons = json!([
            {"reason": "leased", "until": until}, {"reason": "resting", "until": until}, {"reason": "done"},
            {"reason": "retired"}, {"reason": "blocked", "lists": ["optouts", "national"]},
            {"reason": "closed", "until": until}, {"reason": "closed"}, {"reason": "paused"},
        ]);
        let told = text("ru", &json!({"number": 7, "leasable": false, "reasons": reasons}));
        let lines: Vec<_> = told.lines().collect();
        assert_eq!(lines.len(), 9, "{told}");
        assert_eq!(lines[0], "7 cannot be leased from ru:");
        for (line, words) in lines[1..].iter().zip([
            "holds it until 2026-11-23T22:05:00Z",
            "rests until 2026-11-23T22:05:00Z",
            "pool round ru",
            "pool reinstate ru",
            "optouts, national",
            "hours until 2026-11-23T22:05:00Z",
            "never",
            "pool resume ru",
        ]) {
            assert!(line.starts_with("- ") && line.contains(words), "{words} is not in {line}");
        }
    }
}
