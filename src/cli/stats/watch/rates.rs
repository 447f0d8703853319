//! Rates, computed from two successive answers.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use crate::http::response::stats::{CallStats, Stats};

/// How many rates of a pool are kept, one per interval: five minutes at one second.
pub(crate) const HISTORY: usize = 300;

/// Rates per second between the last two answers, and the history of each pool's.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    pools: BTreeMap<String, VecDeque<f64>>,
    calls: BTreeMap<String, f64>,
    syncs: Option<f64>,
}

impl Rates {
    /// Takes the newest answer, which came `seconds` after the one before. Counts that started over with a
    /// restart of the daemon give no rate.
    pub(crate) fn take(&mut self, before: &Stats, now: &Stats, seconds: f64) {
        let rate = |before: u64, now: u64| {
            now.checked_sub(before).map(|count| count as f64 / seconds.max(f64::EPSILON))
        };
        self.pools.retain(|name, _| now.pools.contains_key(name));
        for (name, pool) in &now.pools {
            let before = before.pools.get(name).map_or(pool.totals.leases, |pool| pool.totals.leases);
            let history = self.pools.entry(name.clone()).or_default();
            if history.len() == HISTORY {
                history.pop_front();
            }
            history.push_back(rate(before, pool.totals.leases).unwrap_or(0.0));
        }
        let call = |(name, call): (&String, &CallStats)| {
            let before = before.requests.get(name).map_or(0, |before| before.count);
            Some((name.clone(), rate(before, call.count)?))
        };
        self.calls = now.requests.iter().filter_map(call).collect();
        self.syncs = rate(before.journal.syncs, now.journal.syncs);
    }

    /// Leases per second of a pool, the newest last.
    pub(crate) fn history(&self, pool: &str) -> impl DoubleEndedIterator<Item = f64> + ExactSizeIterator {
        self.pools.get(pool).map(VecDeque::iter).unwrap_or_default().copied()
    }

    /// Leases per second of a pool.
    pub(crate) fn leases(&self, pool: &str) -> Option<f64> {
        self.history(pool).next_back()
    }

    /// Answers per second of a call.
    pub(crate) fn calls(&self, call: &str) -> Option<f64> {
        self.calls.get(call).copied()
    }

    /// Syncs per second of the journal.
    pub(crate) fn syncs(&self) -> Option<f64> {
        self.syncs
    }
}

/// An answer, and when it came.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) stats: Box<Stats>,
    pub(crate) at: Instant,
}
