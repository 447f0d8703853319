//! `GET /v1/stats`

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, UNIX_EPOCH};

use hyper::Request;
use hyper::body::Incoming;

use crate::backup::Found;
use crate::engine::HolderSummary;
use crate::engine::events::EventFigures;
use crate::engine::pool::Pool;
use crate::histogram::DistributionSnapshot;
use crate::http::actor::Actor;
use crate::http::calls::{
    Api, Handled, ListFigures, ends_of_tokens, lists_of, over_pools, pools_of, principals_of, query_of,
};
use crate::http::counters::principals::PrincipalCounts;
use crate::http::counters::refusals::Refused;
use crate::http::counters::requests::CallSnapshot;
use crate::http::counters::upkeep::BackupState;
use crate::http::request::query;
use crate::http::response::json;
use crate::http::response::problem::Problem;
use crate::http::response::stats::{
    CallStats, ClockState, Connections, Disk, EventLogStats, HolderStats, JournalStats, LastBackup, Latency,
    Lateness, ListStats, Memory, PoolEvents, PoolStats, PrincipalStats, Rates, RefusalStats, Reload, Stats,
    TopHolder, Totals,
};
use crate::journal::error::JournalError;
use crate::state::time::Timestamp;
use crate::sys::clock_sync::is_synchronized;
use crate::sys::memory::resident_bytes;

/// How many holders of a pool are named, those with the most leases.
const TOP_HOLDERS: usize = 20;

/// `GET /v1/stats`. Reads no number's word; in pools with hours it counts the bits of the free index.
pub(crate) fn show(api: &Arc<Api>, actor: &Actor, request: Request<Incoming>) -> Result<Handled, Problem> {
    query::none(query_of(&request))?;
    over_pools(api, actor, |api, actor| {
        let text = serde_json::to_string(&stats_of(api, actor)).map_err(|error| Problem::internal(&error))?;
        Ok(json::ok_json(text))
    })
}

fn stats_of(api: &Api, actor: &Actor) -> Stats {
    let connections = api.stats.connections();
    let space = api.engine.disk_space();
    Stats {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_seconds: api.stats.uptime_seconds(),
        durability: api.engine.journal().durability().as_str().to_owned(),
        state: state(api).to_owned(),
        pools: pools_of(api, actor)
            .iter()
            .map(|pool| (pool.name().to_string(), pool_stats(api, pool)))
            .collect(),
        lists: lists_of(api, actor).iter().map(list_stats).collect(),
        requests: api.stats.requests().iter().map(|call| call_stats(api, call)).collect(),
        refusals: refusals(api),
        principals: principals(api, actor),
        connections: Connections {
            open: connections.open,
            accepted: connections.accepted,
            limit: api.stats.connection_limit(),
        },
        reload: reload(api, actor),
        backup: last_backup(api, actor),
        clock: ClockState {
            ahead_seconds: rounded(api.engine.clock().system_ahead_seconds(), 10.0),
            synchronized: is_synchronized(),
        },
        journal: journal_stats(api),
        events: api.engine.events().map(|events| event_stats(events.figures())),
        disk: Disk {
            free_bytes: space.map(|space| space.free_bytes),
            total_bytes: space.map(|space| space.total_bytes),
        },
        memory: Memory { resident_bytes: resident_bytes() },
        cluster: api.cluster.as_ref().map(|cluster| cluster.status()),
    }
}

/// Whether the daemon accepts work, as one word.
fn state(api: &Api) -> &'static str {
    match api.engine.journal().check() {
        Err(JournalError::Poisoned | JournalError::Deposed) => "poisoned",
        _ if api.draining.load(Ordering::Relaxed) => "draining",
        Err(JournalError::Full) => "storage_full",
        Err(JournalError::TooFewReplicas) => "too_few_replicas",
        Ok(()) => "ready",
    }
}

fn pool_stats(api: &Api, pool: &Pool) -> PoolStats {
    let (counts, closed) = pool.counts_by_hours();
    let (totals, rates, lateness) = (pool.totals(), pool.rates(counts.available), pool.lateness());
    let waiters = pool.waiters();
    let next_at = if counts.available == 0 { pool.next_available_at(None) } else { None };
    PoolStats {
        numbers: counts.numbers,
        available: counts.available,
        leased: counts.leased,
        resting: counts.resting,
        done: counts.done,
        retired: counts.retired,
        blocked: counts.blocked,
        closed: counts.closed,
        round: pool.round().into(),
        paused: pool.is_paused(),
        waiters: waiters.calls,
        oldest_wait_seconds: rounded(waiters.oldest.as_secs_f64(), 10.0),
        totals: Totals {
            leases: totals.leases,
            renewals: totals.renewals,
            returns: totals.returns,
            returns_by_outcome: pool.returns_by_outcome(),
            expirations: totals.expirations,
            exhausted: totals.exhausted,
            stale: totals.stale,
        },
        leases_per_second: Rates {
            last_1m: rounded(rates.leases_per_second_1m, 100.0),
            last_15m: rounded(rates.leases_per_second_15m, 100.0),
        },
        exhaustion_seconds: rates.exhaustion_seconds,
        next_available_at: next_at.map(|time| time.to_string()),
        open: pool.open_numbers(),
        next_open_at: closed.and_then(|closed| closed.opens_at).map(|time| time.to_string()),
        expiry_lateness_ms: Lateness {
            p50: lateness.quantile(0.5),
            p99: lateness.quantile(0.99),
            max: lateness.max,
        },
        latency_us: api.stats.latency_of_pool(pool.id()).as_ref().map(latency),
        refusals: pool_refusals(api, pool),
        holders: pool.tracks_holders().then(|| holder_stats(pool)),
        events: api
            .engine
            .events()
            .map(|events| events.kept(pool.id()))
            .map(|kept| PoolEvents { oldest: kept.oldest, newest: kept.next - 1 }),
    }
}

fn refusals(api: &Api) -> BTreeMap<String, RefusalStats> {
    let refusals = api.stats.refusals();
    api.stats.recent().with_oldest(|sample| {
        let before = |code| sample.map_or(0, |sample| sample.refused(code));
        refusals.iter().map(|(code, refused)| refusal_stats(code, refused, before(code))).collect()
    })
}

fn pool_refusals(api: &Api, pool: &Pool) -> BTreeMap<String, RefusalStats> {
    let refusals = api.stats.refusals_of_pool(pool.id());
    api.stats.recent().with_oldest(|sample| {
        let before = |code| sample.map_or(0, |sample| sample.refused_of_pool(pool.id(), code));
        refusals.iter().map(|(code, refused)| refusal_stats(code, refused, before(code))).collect()
    })
}

fn list_stats(list: &ListFigures) -> (String, ListStats) {
    let ListFigures { name, numbers, pools, changed_at } = *list;
    (name.to_string(), ListStats { numbers, pools, changed_at: changed_at.to_string() })
}

fn holder_stats(pool: &Pool) -> HolderStats {
    let HolderSummary { holders, leased, top } = pool.holder_summary(TOP_HOLDERS);
    let top = top.into_iter().map(|(name, leased)| TopHolder { holder: name.to_string(), leased });
    HolderStats { count: holders, leased, top: top.collect() }
}

fn event_stats(figures: EventFigures) -> EventLogStats {
    let EventFigures { bytes, readers, count, per_second } = figures;
    EventLogStats { bytes, readers, count, per_second: rounded(per_second, 10.0) }
}

/// Rounds to a multiple of 1 / `parts`, so that only significant digits are shown.
fn rounded(value: f64, parts: f64) -> f64 {
    (value * parts).round() / parts
}

fn call_stats(api: &Api, call: &CallSnapshot) -> (String, CallStats) {
    let by_status: BTreeMap<String, u64> = call
        .by_status
        .iter()
        .map(|(status, count)| (if *status == 0 { "other".to_owned() } else { status.to_string() }, *count))
        .collect();
    let recent = api.stats.recent().with_oldest(|sample| {
        let earlier = sample.and_then(|sample| sample.request(call.call));
        earlier
            .map_or_else(|| call.nanoseconds.clone(), |earlier| call.nanoseconds.since(&earlier.nanoseconds))
    });
    let stats = CallStats {
        count: call.count,
        by_status,
        latency_us: latency(&call.nanoseconds),
        latency_1m_us: latency(&recent),
    };
    (call.call.as_str().to_owned(), stats)
}

/// A distribution of nanoseconds, in microseconds.
fn latency(nanoseconds: &DistributionSnapshot) -> Latency {
    let micros = |nanoseconds: u64| rounded(nanoseconds as f64 / 1e3, 10.0);
    Latency {
        p50: micros(nanoseconds.quantile(0.5)),
        p90: micros(nanoseconds.quantile(0.9)),
        p99: micros(nanoseconds.quantile(0.99)),
        p99_9: micros(nanoseconds.quantile(0.999)),
        max: micros(nanoseconds.max),
    }
}

/// Of the refusals with a code, of which there were `before` a minute ago.
fn refusal_stats(code: &str, refused: &Refused, before: u64) -> (String, RefusalStats) {
    let stats = RefusalStats {
        count: refused.count,
        count_1m: refused.count - before.min(refused.count),
        last_at: Timestamp::new(refused.last_at_seconds).to_string(),
    };
    (code.to_owned(), stats)
}

fn principals(api: &Api, actor: &Actor) -> BTreeMap<String, PrincipalStats> {
    let ends: BTreeMap<_, _> = ends_of_tokens(api, actor).into_iter().collect();
    let stats = |(name, counts): (Arc<str>, PrincipalCounts)| {
        let PrincipalCounts { requests, refusals, leases } = counts;
        let ends_at = ends.get(&name).map(Timestamp::to_string);
        (name.to_string(), PrincipalStats { requests, refusals, leases, ends_at })
    };
    principals_of(api, actor).into_iter().map(stats).collect()
}

/// What is told of an error to an actor: its reason may name files.
fn told(error: &str, actor: &Actor) -> String {
    if actor.sees_all() { error.to_owned() } else { "failed: the log says why".to_owned() }
}

fn reload(api: &Api, actor: &Actor) -> Reload {
    let ended = api.upkeep.reload();
    Reload {
        at: ended.as_ref().map(|ended| ended.at.to_string()),
        error: ended.and_then(|ended| Some(told(&ended.error?, actor))),
    }
}

fn last_backup(api: &Api, actor: &Actor) -> LastBackup {
    let BackupState { ended, made } = api.upkeep.backup();
    let as_of = |made: &Found| {
        let since = UNIX_EPOCH + Duration::from_secs(made.as_of_unix_seconds);
        humantime::format_rfc3339_seconds(since).to_string()
    };
    LastBackup {
        at: ended.as_ref().map(|ended| ended.at.to_string()),
        error: ended.and_then(|ended| Some(told(&ended.error?, actor))),
        as_of: made.as_ref().map(as_of),
        name: made.map(|made| made.name),
    }
}

fn journal_stats(api: &Api) -> JournalStats {
    let journal = api.engine.journal();
    let (counted, waits) = (journal.stats(), api.stats.commit_wait_nanoseconds());
    let (recent_syncs, recent_waits) = api.stats.recent().with_oldest(|sample| match sample {
        Some(sample) => (counted.sync_nanoseconds.since(sample.syncs()), waits.since(sample.commit_waits())),
        None => (counted.sync_nanoseconds.clone(), waits.clone()),
    });
    let state = match journal.check() {
        Ok(()) => "ok",
        Err(JournalError::Full) => "full",
        Err(JournalError::TooFewReplicas) => "too_few_replicas",
        Err(JournalError::Poisoned | JournalError::Deposed) => "poisoned",
    };
    let age = match counted.checkpoint_at_seconds {
        0 => None,
        at => Some(u64::from(api.engine.now().seconds()).saturating_sub(at)),
    };
    JournalStats {
        state: state.to_owned(),
        bytes: counted.bytes,
        frames: counted.frames,
        records: counted.records,
        syncs: counted.syncs,
        records_per_sync: rounded(counted.records as f64 / counted.syncs.max(1) as f64, 10.0),
        sync_us: latency(&counted.sync_nanoseconds),
        sync_1m_us: latency(&recent_syncs),
        commit_wait_us: latency(&waits),
        commit_wait_1m_us: latency(&recent_waits),
        waiting_seconds: rounded(journal.writing_for().as_secs_f64(), 10.0),
        unsynced_records: journal.pending_records(),
        files: counted.files,
        checkpoints: counted.checkpoints,
        checkpoint_age_seconds: age,
    }
}
