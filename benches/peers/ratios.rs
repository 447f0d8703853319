//! allotd against each peer of the same class: the target ratios, and the measured ones.

use serde_json::{Value, json};

use super::figures::spread;
use super::peer::{Case, Operation};
use super::report::{Round, Row};

/// What is compared.
#[derive(Clone, Copy)]
enum Figure {
    /// Operations per second of server processor time.
    PerCore,
    /// Operations per second.
    PerSecond,
}

impl Figure {
    fn of(self, round: &Round) -> f64 {
        match self {
            Self::PerCore => 1e6 / round.cpu_us,
            Self::PerSecond => round.per_second,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::PerCore => "operations per second of server CPU",
            Self::PerSecond => "operations/s",
        }
    }
}

/// One comparison.
#[derive(Clone, Copy)]
struct Comparison {
    figure: Figure,
    ours: &'static str,
    operation: Operation,
    depth: usize,
    /// The best of these, at any number of connections.
    theirs: &'static [&'static str],
    at_least: Option<f64>,
    /// Of the one long run instead of the rounds: for what declines over time.
    over_time: bool,
}

const fn compare(
    figure: Figure,
    ours: &'static str,
    operation: Operation,
    depth: usize,
    theirs: &'static [&'static str],
    at_least: Option<f64>,
) -> Comparison {
    Comparison { figure, ours, operation, depth, theirs, at_least, over_time: false }
}

const fn over_time(of: Comparison) -> Comparison {
    Comparison { over_time: true, ..of }
}

const POSTGRES_OFF: &[&str] = &["postgres random start, off", "postgres free index, off"];
const POSTGRES_ON: &[&str] = &["postgres random start, on", "postgres free index, on"];

const COMPARISONS: [Comparison; 16] = {
    use Figure::{PerCore, PerSecond};
    use Operation::{Lease, LeaseReturn};
    [
        compare(PerCore, "allotd none", Lease, 1, &["bare hyper"], None),
        compare(PerCore, "allotd none", Lease, 16, &["bare hyper"], None),
        compare(PerCore, "allotd none", Lease, 1, &["redis no AOF"], Some(1.9)),
        compare(PerCore, "allotd none", Lease, 16, &["redis no AOF"], Some(5.0)),
        compare(PerCore, "allotd none", LeaseReturn, 1, &["redis no AOF"], None),
        compare(PerCore, "allotd none", LeaseReturn, 16, &["redis no AOF"], None),
        compare(PerCore, "allotd interval", Lease, 1, &["redis everysec"], None),
        compare(PerCore, "allotd interval", Lease, 16, &["redis everysec"], None),
        compare(PerSecond, "allotd sync", Lease, 1, &["redis always"], Some(2.0)),
        compare(PerSecond, "allotd sync", Lease, 16, &["redis always"], Some(5.0)),
        compare(PerCore, "allotd none", Lease, 1, POSTGRES_OFF, Some(10.0)),
        over_time(compare(PerCore, "allotd none", Lease, 1, &["postgres first form, off"], Some(90.0))),
        compare(PerSecond, "allotd sync", Lease, 1, POSTGRES_ON, None),
        compare(PerCore, "allotd none", LeaseReturn, 1, &["beanstalkd no binlog"], Some(1.2)),
        compare(PerCore, "allotd none", LeaseReturn, 16, &["beanstalkd no binlog"], Some(5.0)),
        compare(PerSecond, "allotd sync", LeaseReturn, 1, &["beanstalkd -f0, delete"], None),
    ]
};

/// Prints every comparison that both were measured for.
pub(crate) fn print(rounds: &[Row], long_run: &[Row]) -> Vec<Value> {
    println!("\nallotd against the others, round by round: median (lowest to highest)");
    let mut shown = Vec::new();
    for comparison in &COMPARISONS {
        let Comparison { figure, ours, operation, depth, theirs, at_least, over_time } = comparison;
        let rows = if *over_time { long_run } else { rounds };
        let of = |row: &&Row| row.case.operation == *operation && row.case.depth == *depth;
        let median = |row: &Row| spread(row.rounds.iter().map(|round| figure.of(round)))[0];
        let Some(own) = rows.iter().filter(of).find(|row| row.peer == *ours) else { continue };
        let others = rows.iter().filter(of).filter(|row| theirs.contains(&row.peer.as_str()));
        let Some(other) = others.max_by(|a, b| median(a).total_cmp(&median(b))) else { continue };
        let ratios =
            own.rounds.iter().zip(&other.rounds).map(|(own, other)| figure.of(own) / figure.of(other));
        let [ratio, lowest, highest] = spread(ratios);
        let verdict = at_least.map_or(String::new(), |least| {
            let word = if ratio >= least { "reached" } else { "MISSED" };
            format!(", aim {least}: {word}")
        });
        let Case { connections, .. } = other.case;
        println!(
            "  {:<16} {:<13} P{depth:<3} {ratio:>7.2} x {} ({lowest:.2} to {highest:.2}), {}{}{verdict}",
            ours,
            if *operation == Operation::Lease { "lease" } else { "lease+return" },
            format_args!("{} at {connections} connections", other.peer),
            figure.name(),
            if *over_time { " over the long run" } else { "" },
        );
        shown.push(json!({
            "ours": own.peer, "theirs": other.peer, "our_case": own.case.title(), "their_case": other.case.title(),
            "figure": figure.name(), "over_time": over_time, "ratio": ratio, "lowest": lowest, "highest": highest, "aim": at_least,
        }));
    }
    shown
}
