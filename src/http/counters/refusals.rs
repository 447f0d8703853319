//! Refused requests, by error code.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// The refusals of one worker. Only its thread writes, so only a reader of the stats contends for the lock.
#[derive(Debug, Default)]
pub struct RefusalCounters {
    by_code: Mutex<Refusals>,
}

/// How often requests were refused and when last, by error code.
pub type Refusals = BTreeMap<&'static str, Refused>;

/// The refusals with one code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Refused {
    /// Since the daemon started.
    pub count: u64,
    /// The time of the last one, in seconds since 2020.
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

/// Adds up the refusals of several workers.
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
