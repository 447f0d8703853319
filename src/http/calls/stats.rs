//! `GET /v1/stats`, `GET /healthz` and `GET /readyz`

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hyper::Request;
use hyper::body::Incoming;

use crate::engine::pool::Pool;
use crate::histogram::DistributionSnapshot;
use crate::http::calls::{Api, Handled, query_of};
use crate::http::counters::refusals::Refused;
use crate::http::counters::requests::CallSnapshot;
use crate::http::request::query;
use crate::http::response::json;
use crate::http::response::problem::Problem;
use crate::journal::handle::JournalError;
use crate::state::time::Timestamp;
use crate::sys::memory::resident_bytes;

/// Bytes of a pool's text, about.
const POOL_BYTES: usize = 640;
/// The quantiles of latencies, and their names.
const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99_9", 0.999)];

/// `GET /v1/stats`. No number is looked at.
pub(crate) fn show(api: &Arc<Api>, request: Request<Incoming>) -> Result<Handled, Problem> {
    query::none(query_of(&request))?;
    let pools = api.engine.pools();
    let mut text = String::with_capacity(POOL_BYTES * (pools.len() + 8));
    // Writing to a string does not fail, here and below.
    let _ = write!(
        text,
        "{{\"version\":\"{}\",\"uptime_seconds\":{},\"durability\":\"{}\",\"state\":\"{}\",\"pools\":{{",
        env!("CARGO_PKG_VERSION"),
        api.stats.uptime_seconds(),
        api.engine.journal().durability().as_str(),
        state(api),
    );
    separated(&mut text, pools.iter(), |text, pool| put_pool(text, pool));
    text.push_str("},\"requests\":{");
    separated(&mut text, api.stats.requests().iter(), |text, call| put_call(text, api, call));
    text.push_str("},\"refusals\":{");
    separated(&mut text, api.stats.refusals().iter(), |text, (code, refused)| {
        put_refused(text, api, code, refused);
    });
    let connections = api.stats.connections();
    let _ = write!(
        text,
        "}},\"connections\":{{\"open\":{},\"accepted\":{}}}",
        connections.open, connections.accepted
    );
    put_journal(&mut text, api);
    let space = api.engine.disk_space();
    let resident = resident_bytes();
    let _ = write!(
        text,
        ",\"disk\":{{\"free_bytes\":{},\"total_bytes\":{}}},\"memory\":{{\"resident_bytes\":{}}}}}",
        or_null(space.map(|space| space.free_bytes)),
        or_null(space.map(|space| space.total_bytes)),
        or_null(resident),
    );
    Ok(json::ok_json(text).into())
}

/// Whether new work is welcome, in a word.
fn state(api: &Api) -> &'static str {
    match api.engine.journal().check() {
        Err(JournalError::Poisoned) => "poisoned",
        _ if api.draining.load(Ordering::Relaxed) => "draining",
        Err(JournalError::Full) => "storage_full",
        Ok(()) => "ready",
    }
}

fn or_null(value: Option<impl std::fmt::Display>) -> String {
    value.map_or("null".to_owned(), |value| value.to_string())
}

fn quoted_time(time: Option<Timestamp>) -> String {
    or_null(time.map(|time| format!("\"{time}\"")))
}

/// Puts items with commas between them.
fn separated<T>(text: &mut String, items: impl Iterator<Item = T>, mut put: impl FnMut(&mut String, T)) {
    for (index, item) in items.enumerate() {
        if index > 0 {
            text.push(',');
        }
        put(text, item);
    }
}

fn put_pool(text: &mut String, pool: &Pool) {
    let (counts, totals, rates, lateness) = (pool.counts(), pool.totals(), pool.rates(), pool.lateness());
    let next_at = if counts.available == 0 { pool.earliest_available_at() } else { None };
    let _ = write!(
        text,
        "{}:{{\"numbers\":{},{},\"round\":{},\"paused\":{},\"totals\":{{\"leases\":{},\"renewals\":{},\
         \"returns\":{},\"returns_by_outcome\":{{",
        json::quoted(pool.name().as_str()),
        counts.numbers,
        json::counts(&counts),
        pool.round(),
        pool.is_paused(),
        totals.leases,
        totals.renewals,
        totals.returns,
    );
    separated(text, pool.returns_by_outcome().iter(), |text, (name, count)| {
        let _ = write!(text, "{}:{count}", json::quoted(name));
    });
    let _ = write!(
        text,
        "}},\"expirations\":{},\"exhausted\":{},\"stale\":{}}},\"leases_per_second\":{{\"1m\":{:.2},\"15m\":{:.2}}},\
         \"exhaustion_seconds\":{},\"next_available_at\":{},\
         \"expiry_lateness_ms\":{{\"p50\":{},\"p99\":{},\"max\":{}}}}}",
        totals.expirations,
        totals.exhausted,
        totals.stale,
        rates.leases_per_second_1m,
        rates.leases_per_second_15m,
        or_null(rates.exhaustion_seconds),
        quoted_time(next_at),
        lateness.quantile(0.5),
        lateness.quantile(0.99),
        lateness.max,
    );
}

fn put_call(text: &mut String, api: &Api, call: &CallSnapshot) {
    let _ = write!(text, "\"{}\":{{\"count\":{},\"by_status\":{{", call.call.as_str(), call.count);
    separated(text, call.by_status.iter(), |text, (status, count)| {
        let _ = match status {
            0 => write!(text, "\"other\":{count}"),
            status => write!(text, "\"{status}\":{count}"),
        };
    });
    text.push_str("},\"latency_us\":");
    put_latency(text, &call.nanoseconds);
    let recent = api.stats.recent().with_oldest(|sample| {
        let earlier = sample.and_then(|sample| sample.request(call.call));
        earlier
            .map_or_else(|| call.nanoseconds.clone(), |earlier| call.nanoseconds.since(&earlier.nanoseconds))
    });
    text.push_str(",\"latency_1m_us\":");
    put_latency(text, &recent);
    text.push('}');
}

/// Nanoseconds as an object of microseconds.
fn put_latency(text: &mut String, nanoseconds: &DistributionSnapshot) {
    text.push('{');
    for (name, q) in QUANTILES {
        let _ = write!(text, "\"{name}\":{:.1},", nanoseconds.quantile(q) as f64 / 1e3);
    }
    let _ = write!(text, "\"max\":{:.1}}}", nanoseconds.max as f64 / 1e3);
}

fn put_refused(text: &mut String, api: &Api, code: &str, refused: &Refused) {
    let before = api.stats.recent().with_oldest(|sample| sample.map_or(0, |sample| sample.refused(code)));
    let _ = write!(
        text,
        "\"{code}\":{{\"count\":{},\"count_1m\":{},\"last_at\":\"{}\"}}",
        refused.count,
        refused.count - before.min(refused.count),
        Timestamp::new(refused.last_at_seconds),
    );
}

fn put_journal(text: &mut String, api: &Api) {
    let journal = api.engine.journal();
    let counted = journal.stats();
    let state = match journal.check() {
        Ok(()) => "ok",
        Err(JournalError::Full) => "full",
        Err(JournalError::Poisoned) => "poisoned",
    };
    let age = match counted.checkpoint_at_seconds {
        0 => None,
        at => Some(u64::from(api.engine.now().seconds()).saturating_sub(at)),
    };
    let _ = write!(
        text,
        ",\"journal\":{{\"state\":\"{state}\",\"bytes\":{},\"frames\":{},\"records\":{},\"syncs\":{},\
         \"records_per_sync\":{:.1},\"sync_us\":",
        counted.bytes,
        counted.frames,
        counted.records,
        counted.syncs,
        counted.records as f64 / counted.syncs.max(1) as f64,
    );
    put_latency(text, &counted.sync_nanoseconds);
    text.push_str(",\"commit_wait_us\":");
    put_latency(text, &api.stats.commit_wait_nanoseconds());
    let _ = write!(
        text,
        ",\"unsynced_records\":{},\"files\":{},\"checkpoints\":{},\"checkpoint_age_seconds\":{}}}",
        journal.pending_records(),
        counted.files,
        counted.checkpoints,
        or_null(age),
    );
}
