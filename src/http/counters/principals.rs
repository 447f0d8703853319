//! Requests, refusals and leases by principal.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::auth::registry::MAX_NAMES;
use crate::auth::usage::NameIndex;

/// The counters of one worker, a place per name and one for all other names. Only its thread writes.
#[derive(Debug)]
pub struct PrincipalCounters {
    places: Box<[PrincipalCounts<AtomicU64>]>,
}

/// What is counted of a principal since the daemon started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PrincipalCounts<N = u64> {
    /// Requests, refused ones too.
    pub requests: N,
    /// Requests that got an error.
    pub refusals: N,
    /// Numbers that were leased.
    pub leases: N,
}

impl Default for PrincipalCounters {
    fn default() -> Self {
        Self { places: (0..=MAX_NAMES).map(|_| PrincipalCounts::default()).collect() }
    }
}

impl PrincipalCounters {
    /// Counts a request.
    #[inline]
    pub(crate) fn request(&self, of: NameIndex, is_refused: bool) {
        let counts = &self.places[usize::from(of.0)];
        counts.requests.fetch_add(1, Ordering::Relaxed);
        if is_refused {
            counts.refusals.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts numbers that were leased.
    pub(crate) fn leases(&self, of: NameIndex, leases: usize) {
        self.places[usize::from(of.0)].leases.fetch_add(leases as u64, Ordering::Relaxed);
    }
}

/// Adds up the counters of several threads, by place.
pub(super) fn snapshot<'a>(workers: impl Iterator<Item = &'a PrincipalCounters>) -> Vec<PrincipalCounts> {
    let mut sums = vec![PrincipalCounts::default(); MAX_NAMES + 1];
    for worker in workers {
        for (sum, counts) in sums.iter_mut().zip(&worker.places) {
            sum.requests += counts.requests.load(Ordering::Relaxed);
            sum.refusals += counts.refusals.load(Ordering::Relaxed);
            sum.leases += counts.leases.load(Ordering::Relaxed);
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_up_workers() {
        let workers = [PrincipalCounters::default(), PrincipalCounters::default()];
        workers[0].request(NameIndex(0), false);
        workers[1].request(NameIndex(0), true);
        workers[1].leases(NameIndex(0), 7);
        workers[1].request(NameIndex(MAX_NAMES as u16), false);
        let sums = snapshot(workers.iter());
        assert_eq!(sums[0], PrincipalCounts { requests: 2, refusals: 1, leases: 7 });
        assert_eq!(sums[MAX_NAMES], PrincipalCounts { requests: 1, refusals: 0, leases: 0 });
        assert_eq!(sums[1], PrincipalCounts::default());
    }
}
