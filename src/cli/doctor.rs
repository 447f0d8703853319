//! `allotd doctor`: looks at a running daemon, and says what is wrong and what to do.

mod pools;

use clap::Args;
use serde_json::Value;

use crate::client::Connection;
use crate::daemon::preflight::finding::{Finding, Level};
use crate::http::response::stats::Stats;
use crate::state::time::Timestamp;

use super::error::CliError;
use super::figures::{bytes, duration, many};
use super::output;
use super::remote::Remote;
use super::stats::answer::{self, STATS_PATH, refusal_in_words, state_in_words};

/// A disk is nearly full with less than this part of it free,
const DISK_PART: u64 = 20;
/// connections are near their limit above this percentage,
const CONNECTIONS_PERCENT: u64 = 80;
/// a backup is old after this many,
const BACKUP_SECONDS: u64 = 2 * 24 * 3_600;
/// a token ends soon within as many,
const TOKEN_SECONDS: u64 = 7 * 24 * 3_600;
/// a clock is off by more than this many,
const CLOCK_SECONDS: f64 = 60.0;
/// syncs are slow above this, in microseconds,
const SYNC_MICROS: f64 = 50_000.0;
/// and checkpoints too many above this rate.
const CHECKPOINTS_PER_SECOND: f64 = 0.5;

#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    remote: Remote,
}

pub(super) fn run(args: &DoctorArgs) -> Result<(), CliError> {
    let mut connection =
        Connection::new(args.remote.server()?).map_err(|error| CliError::Failed(error.to_string()))?;
    let text = connection.get(STATS_PATH)?;
    if args.remote.json {
        return output::print(&format!("{text}\n"));
    }
    let now = Timestamp::of(std::time::SystemTime::now()).unwrap_or_default();
    let stats = answer::parse(&text)?;
    // The statistics do not say why a pool is paused. Who may not see the pools gets all else.
    let is_any_paused = stats.pools.values().any(|pool| pool.paused);
    let pools = if is_any_paused { connection.get(POOLS_PATH).ok() } else { None };
    let pools = pools.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    show(&examine(&stats, &pools, now))
}

/// The path of all pools with their settings.
const POOLS_PATH: &str = "/v1/pools";

/// Prints what was found. Fails if anything is a fault.
pub(super) fn show(found: &[Finding]) -> Result<(), CliError> {
    let line = |finding: &Finding| format!("{}\n", output::escaped(&finding.to_string()));
    output::print(&found.iter().map(line).collect::<String>())?;
    let is_faulty = found.iter().any(|finding| finding.level == Level::Fault);
    if is_faulty { Err(CliError::AlreadyLogged) } else { Ok(()) }
}

/// What is found in the statistics, and in the list of the pools if any is paused.
fn examine(stats: &Stats, listed: &Value, now: Timestamp) -> Vec<Finding> {
    let mut found = vec![state(stats), version(stats), disk(stats), journal(stats), connections(stats)];
    found.extend([reload(stats), backup(stats, now), clock(stats)]);
    found.extend(tokens(stats, now));
    let pools: Vec<_> =
        stats.pools.iter().filter_map(|(name, pool)| pools::examine(name, pool, listed)).collect();
    if pools.is_empty() {
        found.push(Finding::fine(
            "pools",
            format!("{}, all have numbers to lease", many(stats.pools.len(), "pool")),
        ));
    }
    found.extend(pools);
    found.extend(refusals(stats));
    found
}

fn state(stats: &Stats) -> Finding {
    let text = format!("{}, up {}", state_in_words(&stats.state), duration(stats.uptime_seconds));
    if stats.state == "ready" { Finding::fine("state", text) } else { Finding::fault("state", text) }
}

fn version(stats: &Stats) -> Finding {
    let own = env!("CARGO_PKG_VERSION");
    if stats.version == own {
        return Finding::fine("version", format!("{own}, durability {}", stats.durability));
    }
    let text =
        format!("the daemon is {}, this command {own}: restart the daemon after an upgrade", stats.version);
    Finding::warning("version", text)
}

fn disk(stats: &Stats) -> Finding {
    let (Some(free), Some(total)) = (stats.disk.free_bytes, stats.disk.total_bytes) else {
        return Finding::warning("disk", "the system does not tell its space");
    };
    let text = format!("{} of {} are free", bytes(free), bytes(total));
    if free < total / DISK_PART {
        return Finding::warning("disk", format!("{text}: free some before changes are refused"));
    }
    Finding::fine("disk", text)
}

fn journal(stats: &Stats) -> Finding {
    let journal = &stats.journal;
    let per_second = journal.checkpoints as f64 / stats.uptime_seconds.max(1) as f64;
    if per_second > CHECKPOINTS_PER_SECOND {
        return Finding::warning(
            "journal",
            format!(
                "{per_second:.1} checkpoints a second: its files are too small, raise --journal-file-mib"
            ),
        );
    }
    let p99 = journal.sync_us.p99;
    if p99 > SYNC_MICROS {
        let text =
            format!("one sync in a hundred takes {:.0} ms or longer: see what else uses the disk", p99 / 1e3);
        return Finding::warning("journal", text);
    }
    Finding::fine("journal", format!("99 of 100 syncs take {:.1} ms or less", p99 / 1e3))
}

fn connections(stats: &Stats) -> Finding {
    let (open, limit) = (stats.connections.open, stats.connections.limit);
    let text = format!("{open} of {limit} are open");
    if limit > 0 && open * 100 > limit * CONNECTIONS_PERCENT {
        return Finding::warning("connections", format!("{text}: reuse them, or raise --max-connections"));
    }
    Finding::fine("connections", text)
}

fn reload(stats: &Stats) -> Finding {
    match (&stats.reload.error, &stats.reload.at) {
        (Some(error), _) => {
            Finding::warning("reload", format!("the last one failed, and the next start will too: {error}"))
        }
        (None, Some(at)) => Finding::fine("reload", format!("the last one succeeded at {at}")),
        (None, None) => Finding::fine("reload", "none since the start"),
    }
}

fn backup(stats: &Stats, now: Timestamp) -> Finding {
    let backup = &stats.backup;
    if let Some(error) = &backup.error {
        return Finding::warning("backup", format!("the last one failed: {error}"));
    }
    let Some(as_of) = backup.as_of.as_deref() else {
        return Finding::warning("backup", "there is none: make one with \"allotd backup --verify\"");
    };
    let age =
        Timestamp::parse(as_of).map_or(0, |as_of| u64::from(now.seconds().saturating_sub(as_of.seconds())));
    let text = format!("the newest is of {as_of}");
    if age > BACKUP_SECONDS {
        return Finding::warning("backup", format!("{text}, {} ago: make one each night", duration(age)));
    }
    Finding::fine("backup", text)
}

fn clock(stats: &Stats) -> Finding {
    let ahead = stats.clock.ahead_seconds;
    if ahead.abs() > CLOCK_SECONDS {
        let side = if ahead > 0.0 { "ahead of" } else { "behind" };
        return Finding::warning(
            "clock",
            format!(
                "the system's is {:.0} s {side} the time of the leases: see AllotdClockOff in the runbook",
                ahead.abs()
            ),
        );
    }
    if stats.clock.synchronized == Some(false) {
        return Finding::warning(
            "clock",
            "nothing keeps the system's synchronized: run chrony or systemd-timesyncd",
        );
    }
    Finding::fine("clock", "the system's agrees with the time of the leases")
}

fn tokens(stats: &Stats, now: Timestamp) -> Vec<Finding> {
    let ending = |(name, principal): (&String, &crate::http::response::stats::PrincipalStats)| {
        let at = principal.ends_at.as_deref()?;
        let ends = Timestamp::parse(at)?;
        let soon = u64::from(ends.seconds()) < u64::from(now.seconds()) + TOKEN_SECONDS;
        soon.then(|| Finding::warning("token", format!("that of {name} ends at {at}: give it another")))
    };
    stats.principals.iter().filter_map(ending).collect()
}

fn refusals(stats: &Stats) -> Vec<Finding> {
    let last_minute = stats.refusals.iter().filter(|(_, refused)| refused.count_1m > 0);
    let finding = |(code, refused): (&String, &crate::http::response::stats::RefusalStats)| {
        let text = format!(
            "{} in the last minute got {code} ({}): see the runbook",
            many(refused.count_1m as usize, "call"),
            refusal_in_words(code)
        );
        Finding::warning("refused", text)
    };
    last_minute.map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = include_str!("../../tests/fixtures/stats.json");

    fn found(change: impl FnOnce(&mut Stats)) -> Vec<String> {
        let mut stats = answer::parse(ANSWER).unwrap();
        stats.pools.clear();
        stats.refusals.clear();
        stats.journal.checkpoints = 0;
        env!("CARGO_PKG_VERSION").clone_into(&mut stats.version);
        change(&mut stats);
        let now = Timestamp::parse("2026-11-28T00:00:00Z").unwrap();
        let worse = |finding: &Finding| finding.level > Level::Fine;
        examine(&stats, &Value::Null, now)
            .iter()
            .filter(|finding| worse(finding))
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn each_thing_that_is_wrong_is_named_and_nothing_else() {
        assert_eq!(found(|_| ()), Vec::<String>::new());
        let one = |change: fn(&mut Stats), words: &str| {
            let found = found(change);
            assert!(found.len() == 1 && found[0].contains(words), "{words}: {found:?}");
        };
        one(|stats| stats.state = "storage_full".to_owned(), "fault   state");
        one(|stats| stats.version = "0.0.1".to_owned(), "restart the daemon");
        one(|stats| stats.disk.free_bytes = Some(1), "free some");
        one(|stats| stats.journal.checkpoints = 1_000, "--journal-file-mib");
        one(|stats| stats.journal.sync_us.p99 = 60_000.0, "takes 60 ms");
        one(|stats| stats.connections.open = 14_000, "raise --max-connections");
        one(|stats| stats.reload.error = Some("line 2".to_owned()), "line 2");
        one(|stats| stats.backup.error = Some("no space".to_owned()), "no space");
        one(|stats| stats.backup.as_of = None, "there is none");
        one(|stats| stats.backup.as_of = Some("2026-11-20T00:00:00Z".to_owned()), "8d");
        one(|stats| stats.clock.ahead_seconds = -90_000.0, "90000 s behind");
        one(|stats| stats.clock.synchronized = Some(false), "chrony");
        one(
            |stats| {
                stats.pools = answer::parse(ANSWER).unwrap().pools;
                stats.pools.retain(|_, pool| pool.available == 0);
            },
            "fault   pool",
        );
    }
}
