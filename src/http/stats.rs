//! `GET /v1/stats`, `GET /healthz` and `GET /readyz`

use std::fmt::Write as _;
use std::sync::atomic::Ordering;

use hyper::Response;

use super::body::Body;
use super::json;
use super::problem::{Code, Problem};
use super::routes::{Api, Reply};
use crate::engine::Pool;
use crate::journal::JournalError;
use crate::stats::memory::resident_bytes;
use crate::stats::requests::CallSnapshot;

/// `GET /v1/stats`
pub(super) fn show(api: &Api) -> Response<Body> {
    let pools: Vec<_> = api.engine.pools().iter().map(|pool| pool_json(pool)).collect();
    let requests: Vec<_> = api.stats.requests().iter().map(call_json).collect();
    let connections = api.stats.connections();
    let resident = resident_bytes().map_or("null".to_owned(), |bytes| bytes.to_string());
    super::ok_json(format!(
        "{{\"version\":\"{}\",\"uptime_seconds\":{},\"durability\":\"{}\",\"pools\":{{{}}},\"requests\":{{{}}},\
         \"connections\":{{\"open\":{},\"accepted\":{}}},\"journal\":{},\"memory\":{{\"resident_bytes\":{resident}}}}}",
        env!("CARGO_PKG_VERSION"),
        api.stats.uptime_seconds(),
        api.engine.journal().durability().as_str(),
        pools.join(","),
        requests.join(","),
        connections.open,
        connections.accepted,
        journal_json(api),
    ))
}

fn journal_json(api: &Api) -> String {
    let journal = api.engine.journal();
    let counted = journal.stats();
    let [p50, p99, max] = counted.sync_nanoseconds.map(|nanoseconds| nanoseconds as f64 / 1e3);
    let records_per_sync = counted.records as f64 / counted.syncs.max(1) as f64;
    let age = match counted.checkpoint_at_seconds {
        0 => "null".to_owned(),
        at => u64::from(api.engine.now().seconds()).saturating_sub(at).to_string(),
    };
    format!(
        "{{\"bytes\":{},\"frames\":{},\"records\":{},\"syncs\":{},\"records_per_sync\":{records_per_sync:.1},\
         \"sync_us\":{{\"p50\":{p50:.1},\"p99\":{p99:.1},\"max\":{max:.1}}},\"unsynced_records\":{},\"files\":{},\
         \"checkpoints\":{},\"checkpoint_age_seconds\":{age}}}",
        counted.bytes,
        counted.frames,
        counted.records,
        counted.syncs,
        journal.pending_records(),
        counted.files,
        counted.checkpoints,
    )
}

fn pool_json(pool: &Pool) -> String {
    let counts = pool.counts();
    let totals = pool.totals();
    format!(
        "{}:{{\"numbers\":{},{},\"round\":{},\"paused\":{},\"totals\":{{\"leases\":{},\"renewals\":{},\
         \"returns\":{},\"expirations\":{},\"exhausted\":{},\"stale\":{}}}}}",
        json::quoted(pool.name().as_str()),
        counts.numbers,
        json::counts(&counts),
        pool.round(),
        pool.is_paused(),
        totals.leases,
        totals.renewals,
        totals.returns,
        totals.expirations,
        totals.exhausted,
        totals.stale,
    )
}

fn call_json(call: &CallSnapshot) -> String {
    let mut text = format!("\"{}\":{{\"count\":{},\"by_status\":{{", call.call.as_str(), call.count);
    for (index, (status, count)) in call.by_status.iter().enumerate() {
        let separator = if index > 0 { "," } else { "" };
        // Writing to a string does not fail.
        let _ = match status {
            0 => write!(text, "{separator}\"other\":{count}"),
            status => write!(text, "{separator}\"{status}\":{count}"),
        };
    }
    let [p50, p90, p99, p99_9, max] = call.latency_nanoseconds.map(|nanoseconds| nanoseconds as f64 / 1e3);
    let _ = write!(
        text,
        "}},\"latency_us\":{{\"p50\":{p50:.1},\"p90\":{p90:.1},\"p99\":{p99:.1},\"p99_9\":{p99_9:.1},\"max\":{max:.1}}}}}"
    );
    text
}

/// `GET /healthz`: the process answers.
pub(super) fn alive() -> Response<Body> {
    super::ok_json("{\"status\":\"alive\"}".to_owned())
}

/// `GET /readyz`: new work is welcome.
pub(super) fn ready(api: &Api) -> Reply {
    if let Err(error @ JournalError::Poisoned) = api.engine.journal().check() {
        return Err(error.into());
    }
    if api.draining.load(Ordering::Relaxed) {
        return Err(Problem::new(Code::NotReady, "The server is shutting down: use another one"));
    }
    Ok(super::ok_json("{\"status\":\"ready\"}".to_owned()))
}
