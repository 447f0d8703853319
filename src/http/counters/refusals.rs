//! Requests that were refused, by the code of the problem.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// What one worker refused. Its thread alone writes, so the lock is free but when the stats are read.
#[derive(Debug, Default)]
pub struct RefusalCounters {
    by_code: Mutex<Refusals>,
}

/// How often, and when last, by code.
pub type Refusals = BTreeMap<&'static str, Refused>;

/// How often requests were refused with a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Refused {
    /// Since the daemon started.
    pub count: u64,
    /// When last, in seconds since 2020.
    pub last_at_seconds: u32,
}

impl RefusalCounters {
    /// Counts a refusal at a time in seconds since 2020.
    pub fn record(&self, code: &'static str, at_seconds: u32) {
        let mut by_code = self.by_code.lock().unwrap_or_else(PoisonError::into_inner);
        let refused = by_code.entry(code).or_default();
        refused.count += 1;
        refused.last_at_seconds = at_seconds;
    }
}

/// Adds up what several workers refused.
pub fn snapshot<'a>(workers: impl Iterator<Item = &'a RefusalCounters>) -> Refusals {
    let mut sum = Refusals::new();
    for worker in workers {
        for (code, refused) in worker.by_code.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let of_code = sum.entry(code).or_default();
            of_code.count += refused.count;
            of_code.last_at_seconds = of_code.last_at_seconds.max(refused.last_at_seconds);
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_up_workers() {
        let workers = [RefusalCounters::default(), RefusalCounters::default()];
        workers[0].record("exhausted", 7);
        workers[1].record("exhausted", 5);
        workers[1].record("paused", 6);
        let refused = |count, last_at_seconds| Refused { count, last_at_seconds };
        let expected = Refusals::from([("exhausted", refused(2, 7)), ("paused", refused(1, 6))]);
        assert_eq!(snapshot(workers.iter()), expected);
    }
}
