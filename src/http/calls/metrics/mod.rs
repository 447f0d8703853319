//! `GET /metrics`: the figures of `GET /v1/stats` for Prometheus. The format is `OpenMetrics` text if the
//! request accepts that, as Prometheus' own requests do, else the older text format.
//!
//! Names and units follow Prometheus' conventions: every name begins with `allotd_` (except the two of the
//! process), times are in seconds, sizes in bytes. Labels are pools, lists, states, calls, statuses, error codes and
//! the outcomes of the pools' rules: never a number or a value that a caller makes up.

mod pools;
mod upkeep;
mod writer;

use std::collections::HashSet;
use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hyper::body::Incoming;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use hyper::{Request, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::registry::{Registry, Unit};

use crate::http::actor::Actor;
use crate::http::calls::{
    Api, Handled, ends_of_tokens, lists_of, over_pools, pools_of, principals_of, query_of,
};
use crate::http::cluster;
use crate::http::counters::principals::PrincipalCounts;
use crate::http::request::query;
use crate::http::response::body::Body;
use crate::http::response::problem::Problem;
use crate::journal::error::JournalError;
use crate::sys::memory::resident_bytes;

use pools::{put_lists, put_pools};
use writer::{NO_LABELS, Writer, flag};

/// Content type of `OpenMetrics` text.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Content type of the older text format.
const PLAIN_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Bounds of the histograms of latencies, in seconds.
const LATENCY_BOUNDS: [f64; 16] = [
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1,
    0.5, 1.0, 10.0,
];
const NANOS_PER_SECOND: f64 = 1e9;

/// `GET /metrics`. Reads no number's word; in pools with hours it counts the bits of the free index.
pub(crate) fn show(api: &Arc<Api>, actor: &Actor, request: Request<Incoming>) -> Result<Handled, Problem> {
    query::none(query_of(&request))?;
    let accepted =
        request.headers().get(ACCEPT).and_then(|accepted| accepted.to_str().ok()).unwrap_or_default();
    let open_metrics = accepted.contains("application/openmetrics-text");
    over_pools(api, actor, move |api, actor| {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Metrics(Arc::clone(api), actor.clone())));
        let mut body = String::new();
        text::encode(&mut body, &registry).map_err(|error| Problem::internal(&error))?;
        let (body, content_type) =
            if open_metrics { (body, OPEN_METRICS) } else { (plain_text(&body), PLAIN_TEXT) };
        let mut response = Response::new(Body::from(body));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        Ok(response)
    })
}

/// Converts `OpenMetrics` text to the older format, which describes a counter by its full name and has no
/// lines for units and for the end.
fn plain_text(open_metrics: &str) -> String {
    let counter_of = |line: &str| line.strip_prefix("# TYPE ")?.strip_suffix(" counter").map(str::to_owned);
    let counters: HashSet<String> = open_metrics.lines().filter_map(counter_of).collect();
    let mut text = String::with_capacity(open_metrics.len());
    for line in open_metrics.lines().filter(|line| !line.starts_with("# UNIT ") && *line != "# EOF") {
        let described = line.strip_prefix("# ").map(|rest| rest.splitn(3, ' ').collect::<Vec<_>>());
        match described.as_deref() {
            Some([what, name, rest]) if counters.contains(*name) => {
                // Writing to a string does not fail.
                let _ = writeln!(text, "# {what} {name}_total {rest}");
            }
            _ => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text
}

struct Metrics(Arc<Api>, Actor);

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Collector for Metrics {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut writer = Writer(encoder);
        put_daemon(&mut writer, &self.0)?;
        put_cluster(&mut writer, &self.0)?;
        put_requests(&mut writer, &self.0)?;
        put_principals(&mut writer, &principals_of(&self.0, &self.1))?;
        upkeep::put_ends_of_tokens(&mut writer, &ends_of_tokens(&self.0, &self.1))?;
        upkeep::put(&mut writer, &self.0)?;
        put_journal(&mut writer, &self.0)?;
        put_events(&mut writer, &self.0)?;
        put_pools(&mut writer, &pools_of(&self.0, &self.1), self.0.engine.events().map(|events| &**events))?;
        put_lists(&mut writer, &lists_of(&self.0, &self.1))
    }
}

fn put_daemon(out: &mut Writer<'_>, api: &Api) -> fmt::Result {
    let journal = api.engine.journal().check();
    let refuses = matches!(journal, Err(JournalError::Poisoned | JournalError::Full));
    let ready = !refuses && !api.draining.load(Ordering::Relaxed);
    let labels =
        [("version", env!("CARGO_PKG_VERSION")), ("durability", api.engine.journal().durability().as_str())];
    out.gauges(
        "allotd_build_info",
        "The version and the durability mode, as labels; always 1",
        None,
        [(labels, 1.0)].into_iter(),
    )?;
    out.gauge(
        "process_start_time",
        "When the daemon started, since the Unix epoch",
        Some(&Unit::Seconds),
        api.stats.started_at_seconds() as f64,
    )?;
    if let Some(bytes) = resident_bytes() {
        out.gauge("process_resident_memory", "Resident memory", Some(&Unit::Bytes), bytes as f64)?;
    }
    out.gauge(
        "allotd_ready",
        "1 if the daemon accepts work; 0 while draining, while the disk is full, and after the journal is poisoned",
        None,
        flag(ready),
    )?;
    if let Some(space) = api.engine.disk_space() {
        out.gauge(
            "allotd_disk_free",
            "Free space of the data directory's file system",
            Some(&Unit::Bytes),
            space.free_bytes as f64,
        )?;
        out.gauge(
            "allotd_disk_size",
            "Size of the data directory's file system",
            Some(&Unit::Bytes),
            space.total_bytes as f64,
        )?;
    }
    let connections = api.stats.connections();
    out.gauge("allotd_connections_open", "Open connections", None, connections.open as f64)?;
    out.gauge(
        "allotd_connections_limit",
        "Connections that are served at the same time",
        None,
        api.stats.connection_limit() as f64,
    )?;
    out.counter(
        "allotd_connections_accepted",
        "Connections accepted since the start",
        None,
        connections.accepted,
    )
}

/// Absent if the daemon stands alone. A standby has the same.
fn put_cluster(out: &mut Writer<'_>, api: &Api) -> fmt::Result {
    let Some(cluster) = &api.cluster else { return Ok(()) };
    for (name, help, value) in cluster::figures(&cluster.status()) {
        out.gauge(&format!("allotd_{name}"), help, None, value)?;
    }
    Ok(())
}

fn put_requests(out: &mut Writer<'_>, api: &Api) -> fmt::Result {
    let requests = api.stats.requests();
    let by_status = requests.iter().flat_map(|call| {
        call.by_status.iter().map(|(status, count)| {
            ([("call", call.call.as_str().to_owned()), ("status", status_text(*status))], *count)
        })
    });
    out.counters("allotd_requests", "Responses, by call and status", None, by_status)?;
    let latencies = requests.iter().map(|call| ([("call", call.call.as_str())], &call.nanoseconds));
    let help = "Time from a request to its response, by call; excludes the wait for the disk, which is in \
                allotd_commit_wait_seconds";
    out.histograms("allotd_request_duration", help, (&LATENCY_BOUNDS, NANOS_PER_SECOND), latencies)?;
    let refusals = api.stats.refusals();
    let by_code = refusals.iter().map(|(code, refused)| ([("code", *code)], refused.count));
    out.counters("allotd_refusals", "Requests refused, by error code", None, by_code)
}

/// Absent while no principal has ever been known.
fn put_principals(out: &mut Writer<'_>, principals: &[(Arc<str>, PrincipalCounts)]) -> fmt::Result {
    if principals.is_empty() {
        return Ok(());
    }
    let by_name = |value: fn(&PrincipalCounts) -> u64| {
        principals.iter().map(move |(name, counts)| ([("principal", &**name)], value(counts)))
    };
    let requests = by_name(|counts| counts.requests);
    out.counters("allotd_principal_requests", "Requests, by principal", None, requests)?;
    let refusals = by_name(|counts| counts.refusals);
    out.counters("allotd_principal_refusals", "Requests refused, by principal", None, refusals)?;
    let leases = by_name(|counts| counts.leases);
    out.counters("allotd_principal_leases", "Numbers leased, by principal", None, leases)
}

fn status_text(status: u16) -> String {
    if status == 0 { "other".to_owned() } else { status.to_string() }
}

fn put_journal(out: &mut Writer<'_>, api: &Api) -> fmt::Result {
    let journal = api.engine.journal();
    let counted = journal.stats();
    let state = journal.check();
    out.gauge(
        "allotd_storage_full",
        "1 while the disk is full and changes are refused",
        None,
        flag(state == Err(JournalError::Full)),
    )?;
    out.counter("allotd_journal_written", "Bytes written to the journal", Some(&Unit::Bytes), counted.bytes)?;
    out.counter(
        "allotd_journal_frames",
        "Frames written to the journal: one per group commit",
        None,
        counted.frames,
    )?;
    out.counter(
        "allotd_journal_records",
        "Records written to the journal: one per change of a number",
        None,
        counted.records,
    )?;
    out.gauge(
        "allotd_journal_unsynced_records",
        "Records that are not committed yet",
        None,
        journal.pending_records() as f64,
    )?;
    out.gauge("allotd_journal_files", "Journal files, including spare ones", None, counted.files as f64)?;
    let syncs = [(NO_LABELS, &counted.sync_nanoseconds)].into_iter();
    out.histograms(
        "allotd_journal_sync_duration",
        "Duration of a sync of the journal",
        (&LATENCY_BOUNDS, NANOS_PER_SECOND),
        syncs,
    )?;
    let waits = api.stats.commit_wait_nanoseconds();
    let help = "Time that responses waited until the changes they report were committed; those that did not \
                wait are left out";
    out.histograms(
        "allotd_commit_wait",
        help,
        (&LATENCY_BOUNDS, NANOS_PER_SECOND),
        [(NO_LABELS, &waits)].into_iter(),
    )?;
    out.counter("allotd_checkpoints", "Checkpoints completed", None, counted.checkpoints)?;
    if counted.checkpoint_at_seconds > 0 {
        let age = u64::from(api.engine.now().seconds()).saturating_sub(counted.checkpoint_at_seconds);
        out.gauge(
            "allotd_checkpoint_age",
            "Time since the last checkpoint completed; absent before the first",
            Some(&Unit::Seconds),
            age as f64,
        )?;
    }
    Ok(())
}

/// Absent if none are kept.
fn put_events(out: &mut Writer<'_>, api: &Api) -> fmt::Result {
    let Some(events) = api.engine.events() else { return Ok(()) };
    let figures = events.figures();
    out.gauge(
        "allotd_events_kept",
        "Bytes of the events that are kept",
        Some(&Unit::Bytes),
        figures.bytes as f64,
    )?;
    let help = "Calls that read events, or wait for one";
    out.gauge("allotd_events_readers", help, None, figures.readers as f64)?;
    out.counter("allotd_events", "Events since the start", None, figures.count)
}
