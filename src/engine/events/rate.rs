//! How many events there are a second.

use std::sync::PoisonError;

use crate::sys::sync::{Mutex, MutexGuard};

/// Seconds that a rate is taken over.
const SECONDS: u32 = 60;

/// Counts events by the second.
#[derive(Default)]
pub(super) struct Rate(Mutex<Counts>);

struct Counts {
    total: u64,
    /// The last second in which something was counted, and the counts of the seconds up to it, by their place.
    last: u32,
    by_second: [u64; SECONDS as usize],
}

impl Default for Counts {
    fn default() -> Self {
        Self { total: 0, last: 0, by_second: [0; SECONDS as usize] }
    }
}

impl Counts {
    /// Forgets what is older than a minute.
    fn go_on_to(&mut self, second: u32) {
        let passed = second.saturating_sub(self.last).min(SECONDS);
        for gone in 0..passed {
            self.by_second[(second.wrapping_sub(gone) % SECONDS) as usize] = 0;
        }
        self.last = self.last.max(second);
    }
}

impl Rate {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn count(&self, second: u32, events: u64) {
        let mut counts = self.counts();
        counts.go_on_to(second);
        counts.total += events;
        let place = (counts.last % SECONDS) as usize;
        counts.by_second[place] += events;
    }

    /// All that were counted.
    pub(super) fn total(&self) -> u64 {
        self.counts().total
    }

    /// Events a second, over the last minute.
    pub(super) fn per_second(&self, second: u32) -> f64 {
        let mut counts = self.counts();
        counts.go_on_to(second);
        counts.by_second.iter().sum::<u64>() as f64 / f64::from(SECONDS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_a_minute_counts_for_nothing() {
        let rate = Rate::default();
        rate.count(1_000, 60);
        rate.count(1_030, 120);
        let is = |second, expected: f64| (rate.per_second(second) - expected).abs() < 1e-9;
        assert!(is(1_030, 3.0) && is(1_059, 3.0) && is(1_060, 2.0) && is(1_089, 2.0));
        assert!(is(1_090, 0.0) && rate.total() == 180);
        rate.count(5_000, 6_000);
        assert!(is(5_001, 100.0) && rate.total() == 6_180);
    }
}
