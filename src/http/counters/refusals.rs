//! Refused requests, by error code.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// The refusals of one worker. Only its thread writes, so only a reader of the stats contends for the lock.
#[derive(Debug, Default)]
pub struct RefusalCounters {
    by_code: Mutex<Refusals>,
    /// By the id of the pool that the request names, of pools that are there.
    by_pool: Mutex<BTreeMap<u64, Refusals>>,
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
        count(&mut self.by_code.lock().unwrap_or_else(PoisonError::into_inner), code, at_seconds);
    }

    /// Counts it of a pool too.
    pub fn record_of_pool(&self, pool: u64, code: &'static str, at_seconds: u32) {
        let mut by_pool = self.by_pool.lock().unwrap_or_else(PoisonError::into_inner);
        count(by_pool.entry(pool).or_default(), code, at_seconds);
    }

    /// Forgets the refusals of a pool that is deleted.
    pub fn forget_pool(&self, pool: u64) {
        self.by_pool.lock().unwrap_or_else(PoisonError::into_inner).remove(&pool);
    }
}

fn count(refusals: &mut Refusals, code: &'static str, at_seconds: u32) {
    let refused = refusals.entry(code).or_default();
    refused.count += 1;
    refused.last_at_seconds = at_seconds;
}

fn add(sum: &mut Refusals, more: &Refusals) {
    for (code, refused) in more {
        let of_code = sum.entry(code).or_default();
        of_code.count += refused.count;
        of_code.last_at_seconds = of_code.last_at_seconds.max(refused.last_at_seconds);
    }
}

/// Adds up the refusals of several workers.
pub fn snapshot<'a>(workers: impl Iterator<Item = &'a RefusalCounters>) -> Refusals {
    let mut sum = Refusals::new();
    for worker in workers {
        add(&mut sum, &worker.by_code.lock().unwrap_or_else(PoisonError::into_inner));
    }
    sum
}

/// Adds up the refusals of several workers, of one pool.
pub fn snapshot_of_pool<'a>(workers: impl Iterator<Item = &'a RefusalCounters>, pool: u64) -> Refusals {
    let mut sum = Refusals::new();
    for worker in workers {
        let by_pool = worker.by_pool.lock().unwrap_or_else(PoisonError::into_inner);
        by_pool.get(&pool).into_iter().for_each(|refusals| add(&mut sum, refusals));
    }
    sum
}

/// Adds up the refusals of several workers, by pool.
pub fn snapshot_by_pool<'a>(workers: impl Iterator<Item = &'a RefusalCounters>) -> BTreeMap<u64, Refusals> {
    let mut sum = BTreeMap::new();
    for worker in workers {
        for (pool, refusals) in &*worker.by_pool.lock().unwrap_or_else(PoisonError::into_inner) {
            add(sum.entry(*pool).or_default(), refusals);
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

    #[test]
    fn pools_are_apart_and_are_forgotten() {
        let workers = [RefusalCounters::default(), RefusalCounters::default()];
        workers[0].record_of_pool(1, "exhausted", 7);
        workers[1].record_of_pool(1, "exhausted", 8);
        workers[1].record_of_pool(2, "paused", 6);
        let refused = |count, last_at_seconds| Refused { count, last_at_seconds };
        assert_eq!(snapshot_of_pool(workers.iter(), 1), Refusals::from([("exhausted", refused(2, 8))]));
        let by_pool = snapshot_by_pool(workers.iter());
        assert_eq!(by_pool[&1], Refusals::from([("exhausted", refused(2, 8))]));
        assert_eq!(by_pool[&2], Refusals::from([("paused", refused(1, 6))]));
        workers[1].forget_pool(1);
        assert_eq!(snapshot_of_pool(workers.iter(), 1), Refusals::from([("exhausted", refused(1, 7))]));
        assert_eq!(snapshot_of_pool(workers.iter(), 2), Refusals::from([("paused", refused(1, 6))]));
    }
}
