//! Distributions of values, mostly of times: any thread counts them, and they are read as quantiles.

use std::sync::atomic::{AtomicU64, Ordering};

use histogram::{AtomicHistogram, Histogram};

/// A distribution that any thread can add to. Values above its range count as the largest in it.
#[derive(Debug)]
pub struct Distribution {
    counts: AtomicHistogram,
    largest_kept: u64,
    max: AtomicU64,
    sum: AtomicU64,
}

/// A distribution at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DistributionSnapshot {
    counts: Histogram,
    /// The largest value.
    pub max: u64,
    /// All values added up.
    pub sum: u64,
}

impl Distribution {
    /// A distribution of values below 2^`max_value_power`, which are kept to a relative error of
    /// 2^-`grouping_power`.
    ///
    /// # Panics
    /// If the powers make no histogram: `grouping_power` must be the smaller one.
    pub fn new(grouping_power: u8, max_value_power: u8) -> Self {
        Self {
            counts: AtomicHistogram::new(grouping_power, max_value_power)
                .expect("powers that make a histogram"),
            largest_kept: (1 << max_value_power) - 1,
            max: AtomicU64::new(0),
            sum: AtomicU64::new(0),
        }
    }

    /// Counts a value.
    #[inline]
    pub fn record(&self, value: u64) {
        self.record_many(value, 1);
    }

    /// Counts a value so many times.
    #[inline]
    pub fn record_many(&self, value: u64, times: u32) {
        let value = value.min(self.largest_kept);
        // Cannot fail: the value is cut to the histogram's range.
        let _ = self.counts.add(value, times.into());
        self.sum.fetch_add(value.wrapping_mul(times.into()), Ordering::Relaxed);
        if value > self.max.load(Ordering::Relaxed) {
            self.max.fetch_max(value, Ordering::Relaxed);
        }
    }

    /// The counts now.
    pub fn snapshot(&self) -> DistributionSnapshot {
        DistributionSnapshot {
            counts: self.counts.load(),
            max: self.max.load(Ordering::Relaxed),
            sum: self.sum.load(Ordering::Relaxed),
        }
    }
}

impl DistributionSnapshot {
    /// Adds the values of another distribution of the same kind.
    pub fn merge(&mut self, other: &Self) {
        // Nothing is added for another kind, which no caller passes.
        if self.counts.checked_add_assign(&other.counts).is_ok() {
            self.max = self.max.max(other.max);
            self.sum = self.sum.wrapping_add(other.sum);
        }
    }

    /// The values since an earlier snapshot. Their maximum is approximate, to the histogram's error.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let counts = self.counts.wrapping_sub(&earlier.counts).unwrap_or_else(|_| self.counts.clone());
        let highest = counts.iter().filter(|bucket| bucket.count() > 0).map(|bucket| bucket.end()).last();
        let max = highest.unwrap_or(0).min(self.max);
        Self { counts, max, sum: self.sum.wrapping_sub(earlier.sum) }
    }

    /// The number of values.
    pub fn count(&self) -> u64 {
        self.counts.as_slice().iter().sum()
    }

    /// The smallest value that a fraction `q`, 0 to 1, of all values does not exceed; 0 if there are none.
    pub fn quantile(&self, q: f64) -> u64 {
        let bucket = self.counts.quantile_bucket(q).ok().flatten();
        bucket.map_or(0, |bucket| bucket.end().min(self.max))
    }

    /// How many values do not exceed each of `bounds`, which ascend. Exact if a bound is one less than a
    /// power of two, else to the histogram's error.
    pub fn cumulative(&self, bounds: &[u64]) -> Vec<u64> {
        let mut buckets = self.counts.iter().peekable();
        let mut sum = 0;
        let up_to = |bound: &u64| {
            while let Some(bucket) = buckets.next_if(|bucket| bucket.end() <= *bound) {
                sum += bucket.count();
            }
            sum
        };
        bounds.iter().map(up_to).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_sums_and_what_came_since() {
        let distribution = Distribution::new(5, 38);
        (1..=1_000).for_each(|value| distribution.record(value * 1_000));
        let first = distribution.snapshot();
        assert_eq!((first.count(), first.sum, first.max), (1_000, 500_500_000, 1_000_000));
        for (q, value) in [(0.5, 500_000), (0.99, 990_000), (1.0, 1_000_000)] {
            assert!(first.quantile(q).abs_diff(value) < value / 20, "{q}: {}", first.quantile(q));
        }
        assert_eq!(first.cumulative(&[0, (1 << 19) - 1, 1 << 38]), [0, 524, 1_000]);
        distribution.record(u64::MAX);
        (0..3).for_each(|_| distribution.record(7_000));
        let since = distribution.snapshot().since(&first);
        assert_eq!((since.count(), since.max), (4, (1 << 38) - 1));
        assert!(since.quantile(0.5).abs_diff(7_000) < 300);
        let none = distribution.snapshot().since(&distribution.snapshot());
        assert_eq!((none.count(), none.quantile(0.99), none.max), (0, 0, 0));
        let mut twice = first.clone();
        twice.merge(&first);
        assert_eq!((twice.count(), twice.max), (2_000, 1_000_000));
    }
}
