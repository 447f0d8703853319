//! The metrics of pools and lists.

use std::fmt;
use std::sync::Arc;

use prometheus_client::registry::Unit;

use crate::domain::counts::{Counts, Totals};
use crate::engine::HolderSummary;
use crate::engine::counters::history::Rates;
use crate::engine::events::Events;
use crate::engine::pool::Pool;
use crate::engine::waiting::ticket::Waiters;
use crate::http::calls::ListFigures;
use crate::store::event_log::Kept;

use super::writer::{NO_LABELS, Writer, flag};

/// Bounds of the histogram of the lateness of expiry, in seconds.
const LATENESS_BOUNDS: [f64; 8] = [0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 60.0, 3_600.0];
const MILLIS_PER_SECOND: f64 = 1e3;

/// The figures of one pool.
struct PoolMetrics {
    name: String,
    counts: Counts,
    open: Option<u64>,
    totals: Totals,
    returns_by_outcome: Vec<(String, u64)>,
    rates: Rates,
    round: u32,
    paused: bool,
    waiters: Waiters,
    /// Only of a pool that tracks holders.
    holders: Option<HolderSummary>,
    /// Only if events are kept.
    events: Option<Kept>,
}

impl PoolMetrics {
    fn new(pool: &Pool, events: Option<&Events>) -> Self {
        let (counts, _) = pool.counts_by_hours();
        Self {
            name: pool.name().to_string(),
            counts,
            open: pool.open_numbers(),
            totals: pool.totals(),
            returns_by_outcome: pool.returns_by_outcome().into_iter().collect(),
            rates: pool.rates(counts.available),
            round: pool.round(),
            paused: pool.is_paused(),
            waiters: pool.waiters(),
            holders: pool.tracks_holders().then(|| pool.holder_summary(1)),
            events: events.map(|events| events.kept(pool.id())),
        }
    }

    fn label(&self) -> [(&'static str, &str); 1] {
        [("pool", &self.name)]
    }

    fn by_state(&self) -> impl Iterator<Item = ([(&'static str, &str); 2], f64)> {
        let Counts { available, leased, resting, done, retired, blocked, closed, .. } = self.counts;
        let states = [
            ("available", available),
            ("leased", leased),
            ("resting", resting),
            ("done", done),
            ("retired", retired),
            ("blocked", blocked),
            ("closed", closed),
        ];
        states
            .into_iter()
            .map(|(state, count)| ([("pool", self.name.as_str()), ("state", state)], count as f64))
    }
}

/// The counters of a pool: name, help, value.
#[expect(clippy::type_complexity, reason = "a table of three columns")]
const TOTALS: [(&str, &str, fn(&Totals) -> u64); 6] = [
    ("allotd_pool_leases", "Numbers leased since the pool was created", |totals| totals.leases),
    ("allotd_pool_renewals", "Leases renewed since the pool was created", |totals| totals.renewals),
    ("allotd_pool_returns", "Numbers returned since the pool was created", |totals| totals.returns),
    ("allotd_pool_expirations", "Leases that ended without a return since the pool was created", |totals| {
        totals.expirations
    }),
    (
        "allotd_pool_exhausted",
        "Lease calls that found no available number since the pool was created",
        |totals| totals.exhausted,
    ),
    (
        "allotd_pool_stale",
        "Items of renew and return with a wrong or outdated token since the pool was created",
        |totals| totals.stale,
    ),
];

/// Absent without lists.
pub(super) fn put_lists(out: &mut Writer<'_>, lists: &[ListFigures]) -> fmt::Result {
    if lists.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = lists.iter().map(|list| list.name.to_string()).collect();
    let gauge = |value: fn(&ListFigures) -> f64| {
        names.iter().zip(lists).map(move |(name, list)| ([("list", name.as_str())], value(list)))
    };
    out.gauges("allotd_list_numbers", "Numbers on a list", None, gauge(|list| list.numbers as f64))?;
    out.gauges(
        "allotd_list_pools",
        "Pools whose settings name the list",
        None,
        gauge(|list| list.pools as f64),
    )?;
    out.gauges(
        "allotd_list_changed_timestamp",
        "When numbers went onto the list or off it last, since the Unix epoch",
        Some(&Unit::Seconds),
        gauge(|list| list.changed_at.unix_seconds() as f64),
    )
}

/// Absent while no pool tracks holders.
fn put_holders(out: &mut Writer<'_>, pools: &[PoolMetrics]) -> fmt::Result {
    let tracking = || pools.iter().filter_map(|pool| Some((pool.label(), pool.holders.as_ref()?)));
    if tracking().next().is_none() {
        return Ok(());
    }
    let count = tracking().map(|(label, holders)| (label, holders.holders as f64));
    out.gauges("allotd_pool_holders", "Holders that have leases of the pool", None, count)?;
    let leased = tracking().map(|(label, holders)| (label, holders.leased as f64));
    out.gauges("allotd_pool_held", "Leases of the pool that name a holder", None, leased)?;
    let most = tracking().map(|(label, holders)| {
        let most = holders.top.first().map_or(0, |(_, leased)| *leased);
        (label, most as f64)
    });
    let help = "Leases of the holder that has the most of the pool";
    out.gauges("allotd_pool_held_by_one", help, None, most)
}

/// Absent if no events are kept.
fn put_events(out: &mut Writer<'_>, pools: &[PoolMetrics]) -> fmt::Result {
    let kept = || pools.iter().filter_map(|pool| Some((pool.label(), pool.events?)));
    if kept().next().is_none() {
        return Ok(());
    }
    let oldest = kept().map(|(label, kept)| (label, kept.oldest as f64));
    let help = "The seq of the oldest event that is kept of the pool; the next one if there is none";
    out.gauges("allotd_pool_events_oldest", help, None, oldest)?;
    let newest = kept().map(|(label, kept)| (label, (kept.next - 1) as f64));
    let help = "The seq of the newest event of the pool; one less than the oldest if there is none";
    out.gauges("allotd_pool_events_newest", help, None, newest)
}

pub(super) fn put_pools(out: &mut Writer<'_>, all: &[Arc<Pool>], events: Option<&Events>) -> fmt::Result {
    let pools: Vec<_> = all.iter().map(|pool| PoolMetrics::new(pool, events)).collect();
    out.gauges(
        "allotd_pool_numbers",
        "Numbers of a pool, by state",
        None,
        pools.iter().flat_map(PoolMetrics::by_state),
    )?;
    let open = pools.iter().filter_map(|pool| Some((pool.label(), pool.open? as f64)));
    let help = "Numbers that the pool's hours leave open, whatever their states; absent without hours";
    out.gauges("allotd_pool_open_numbers", help, None, open)?;
    let gauge = |value: fn(&PoolMetrics) -> f64| pools.iter().map(move |pool| (pool.label(), value(pool)));
    out.gauges(
        "allotd_pool_round",
        "The pool's current round; the first is 1",
        None,
        gauge(|pool| f64::from(pool.round)),
    )?;
    out.gauges(
        "allotd_pool_paused",
        "1 while the pool refuses new leases",
        None,
        gauge(|pool| flag(pool.paused)),
    )?;
    put_holders(out, &pools)?;
    put_events(out, &pools)?;
    let help = "Lease calls that wait for a number of the pool";
    out.gauges("allotd_pool_waiters", help, None, gauge(|pool| pool.waiters.calls as f64))?;
    let help =
        "How long the first of the calls that wait for a number of the pool has waited; 0 if none does";
    let oldest = gauge(|pool| pool.waiters.oldest.as_secs_f64());
    out.gauges("allotd_pool_oldest_wait", help, Some(&Unit::Seconds), oldest)?;
    let ends = pools.iter().filter_map(|pool| Some((pool.label(), pool.rates.exhaustion_seconds? as f64)));
    let help =
        "Estimated time until no number of the pool is available; absent while their count does not fall";
    out.gauges("allotd_pool_exhaustion", help, Some(&Unit::Seconds), ends)?;
    for (name, help, value) in TOTALS {
        out.counters(name, help, None, pools.iter().map(|pool| (pool.label(), value(&pool.totals))))?;
    }
    let by_outcome = pools.iter().flat_map(|pool| {
        let labels = |outcome| [("pool", pool.name.as_str()), ("outcome", outcome)];
        pool.returns_by_outcome.iter().map(move |(outcome, count)| (labels(outcome.as_str()), *count))
    });
    let help = "Numbers returned with an outcome since the pool was created";
    out.counters("allotd_pool_returns_by_outcome", help, None, by_outcome)?;
    let latenesses = all.iter().map(|pool| pool.lateness());
    let lateness = latenesses.reduce(|mut sum, other| {
        sum.merge(&other);
        sum
    });
    let help = "Delay between the end of a lease or rest and the number becoming available, over all pools";
    let values = lateness.iter().map(|lateness| (NO_LABELS, lateness));
    out.histograms("allotd_expiry_lateness", help, (&LATENESS_BOUNDS, MILLIS_PER_SECOND), values)
}
