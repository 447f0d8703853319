//! The statistics as tables.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::cli::figures::{
    bytes, duration, grouped, latency_cell, microseconds, milliseconds, percent, rate,
};
use crate::cli::output::{Column, Shown, figures, pairs, table, words};
use crate::http::response::stats::{CallStats, JournalStats, Latency, ListStats, PoolStats, Stats};

use super::answer::{refusal_in_words, state_in_words};

/// Shown in place of a missing value.
const NONE: &str = "-";

/// All of them, with an empty line between two tables.
pub(super) fn text(stats: &Stats) -> String {
    let tables = [
        Some(daemon(stats)),
        states(&stats.pools),
        speed(&stats.pools),
        totals(&stats.pools),
        outcomes(&stats.pools),
        lists(&stats.lists),
        calls(stats),
        refusals(stats),
        Some(journal(&stats.journal)),
    ];
    tables.into_iter().flatten().collect::<Vec<_>>().join("\n")
}

fn figure(name: &str, figure: String, more: impl Into<String>) -> (String, Shown) {
    (name.to_owned(), Shown::Figure(figure, more.into()))
}

fn daemon(stats: &Stats) -> String {
    let mut text = format!(
        "allotd {}, {}, up {}, durability {}\n\n",
        stats.version,
        state_in_words(&stats.state),
        duration(stats.uptime_seconds),
        stats.durability,
    );
    let connections = &stats.connections;
    let mut shown = vec![figure(
        "connections",
        grouped(connections.open),
        format!("open, {} accepted", grouped(connections.accepted)),
    )];
    if let Some(resident) = stats.memory.resident_bytes {
        shown.push(figure("memory", bytes(resident), "resident"));
    }
    if let (Some(free), Some(total)) = (stats.disk.free_bytes, stats.disk.total_bytes) {
        shown.push(figure(
            "disk",
            bytes(free),
            format!("free of {} ({})", bytes(total), percent(free, total)),
        ));
    }
    let backup = &stats.backup;
    if let Some(of) = backup.error.as_ref().map(|error| format!("failed: {error}")).or(backup.as_of.clone()) {
        shown.push(("backup".to_owned(), Shown::Words(of)));
    }
    if let Some(error) = &stats.reload.error {
        shown.push(("reload".to_owned(), Shown::Words(format!("failed: {error}"))));
    }
    text.push_str(&pairs(&shown));
    text
}

/// A table with a row per pool; `None` without pools.
fn of_pools(
    pools: &BTreeMap<String, PoolStats>,
    columns: &[Column],
    cells: impl Fn(&PoolStats) -> Vec<String>,
) -> Option<String> {
    let row = |(name, pool): (&String, &PoolStats)| [vec![name.clone()], cells(pool)].concat();
    let rows: Vec<_> = pools.iter().map(row).collect();
    let columns = [&[words("pool")], columns].concat();
    (!rows.is_empty()).then(|| table(&columns, &rows))
}

fn states(pools: &BTreeMap<String, PoolStats>) -> Option<String> {
    let columns =
        ["numbers", "available", "", "leased", "resting", "done", "retired", "blocked", "closed", "round"]
            .map(figures);
    of_pools(pools, &[&columns[..], &[words("paused")]].concat(), |pool| {
        let counts = pool.states().map(|(_, count)| grouped(count));
        let mut cells = vec![grouped(pool.numbers)];
        cells.extend(counts);
        cells.insert(2, percent(pool.available, pool.numbers));
        cells.push(grouped(pool.round));
        cells.push(if pool.paused { "yes" } else { "no" }.to_owned());
        cells
    })
}

fn speed(pools: &BTreeMap<String, PoolStats>) -> Option<String> {
    let columns = ["leases/s 1m", "15m", "lasts", "waiting", "late p50", "p99", "max"].map(figures);
    let times = [words("next available"), words("next open")];
    of_pools(pools, &[&columns[..], &times].concat(), |pool| {
        let lateness = &pool.expiry_lateness_ms;
        vec![
            rate(pool.leases_per_second.last_1m),
            rate(pool.leases_per_second.last_15m),
            match pool.available {
                _ if pool.is_closed() => "closed".to_owned(),
                0 => "none left".to_owned(),
                _ => pool.exhaustion_seconds.map_or(NONE.to_owned(), duration),
            },
            grouped(pool.waiters),
            milliseconds(lateness.p50),
            milliseconds(lateness.p99),
            milliseconds(lateness.max),
            pool.next_available_at.clone().unwrap_or_else(|| NONE.to_owned()),
            pool.next_open_at.clone().unwrap_or_else(|| NONE.to_owned()),
        ]
    })
}

fn totals(pools: &BTreeMap<String, PoolStats>) -> Option<String> {
    let columns = ["leases", "renewals", "returns", "expirations", "exhausted", "stale"].map(figures);
    of_pools(pools, &columns, |pool| {
        let totals = &pool.totals;
        let counts = [
            totals.leases,
            totals.renewals,
            totals.returns,
            totals.expirations,
            totals.exhausted,
            totals.stale,
        ];
        counts.map(grouped).to_vec()
    })
}

fn outcomes(pools: &BTreeMap<String, PoolStats>) -> Option<String> {
    let of_pool = |(pool, stats): (&String, &PoolStats)| {
        let returns = stats.totals.returns;
        let row = |(outcome, &count): (&String, &u64)| {
            vec![pool.clone(), outcome.clone(), grouped(count), percent(count, returns)]
        };
        stats.totals.returns_by_outcome.iter().map(row).collect::<Vec<_>>()
    };
    let rows: Vec<_> = pools.iter().flat_map(of_pool).collect();
    let columns = [words("pool"), words("outcome"), figures("returns"), figures("")];
    (!rows.is_empty()).then(|| table(&columns, &rows))
}

fn lists(lists: &BTreeMap<String, ListStats>) -> Option<String> {
    let row = |(name, list): (&String, &ListStats)| {
        vec![name.clone(), grouped(list.numbers), grouped(list.pools), list.changed_at.clone()]
    };
    let rows: Vec<_> = lists.iter().map(row).collect();
    let columns = [words("list"), figures("numbers"), figures("pools"), words("last change")];
    (!rows.is_empty()).then(|| table(&columns, &rows))
}

fn calls(stats: &Stats) -> Option<String> {
    let columns = ["count", "p50 1m", "p99", "p99.9", "max", "p50 all", "p99", "p99.9", "max"].map(figures);
    let columns = [&[words("call")], &columns[..], &[words("by status")]].concat();
    let row = |(name, call): (&String, &CallStats)| {
        let statuses = call.by_status.iter().map(|(status, &count)| format!("{status}:{}", grouped(count)));
        let mut row = vec![name.clone(), grouped(call.count)];
        for latency in [&call.latency_1m_us, &call.latency_us] {
            row.extend([latency.p50, latency.p99, latency.p99_9, latency.max].map(latency_cell));
        }
        row.push(statuses.collect::<Vec<_>>().join(" "));
        row
    };
    let rows: Vec<_> = stats.requests.iter().map(row).collect();
    (!rows.is_empty()).then(|| table(&columns, &rows))
}

fn refusals(stats: &Stats) -> Option<String> {
    let columns = [words("refused"), figures("count"), figures("1m"), words("last"), words("meaning")];
    let rows: Vec<_> = stats
        .refusals
        .iter()
        .map(|(code, refused)| {
            let [all, recent] = [refused.count, refused.count_1m].map(grouped);
            vec![code.clone(), all, recent, refused.last_at.clone(), refusal_in_words(code).to_owned()]
        })
        .collect();
    (!rows.is_empty()).then(|| table(&columns, &rows))
}

fn journal(journal: &JournalStats) -> String {
    let latency = |latency: &Latency| {
        let [p99, p99_9, max] = [latency.p99, latency.p99_9, latency.max].map(microseconds);
        (microseconds(latency.p50), format!("p50, {p99} p99, {p99_9} p99.9, {max} max"))
    };
    let (sync, syncs) = latency(&journal.sync_us);
    let (wait, waits) = latency(&journal.commit_wait_us);
    let age = match journal.checkpoint_age_seconds {
        Some(seconds) => format!("the last {} ago", duration(seconds)),
        None => "none since the start".to_owned(),
    };
    let shown = [
        figure("written", bytes(journal.bytes), format!("{} records", grouped(journal.records))),
        figure("syncs", grouped(journal.syncs), format!("{:.1} records each", journal.records_per_sync)),
        figure("sync time", sync, syncs),
        figure("commit wait", wait, waits),
        figure("unsynced", grouped(journal.unsynced_records), "records"),
        figure("checkpoints", grouped(journal.checkpoints), age),
    ];
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = writeln!(text, "journal {}", journal.state);
    text.push_str(&pairs(&shown));
    text
}
