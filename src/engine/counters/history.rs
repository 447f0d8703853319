//! The recent history of a pool: its rates, and when it is exhausted at these rates.

use std::collections::VecDeque;
use std::time::Duration;

use crate::sys::sync::Instant;

/// How often a sample is offered, in milliseconds.
pub(crate) const SAMPLE_INTERVAL_MS: u64 = 1_000;
/// The spans that rates are reported for, and the interval of their samples.
const SPANS: [(Duration, Duration); 2] = [
    (Duration::from_secs(60), Duration::from_secs(5)),
    (Duration::from_secs(15 * 60), Duration::from_secs(60)),
];
/// No trend is reported for a shorter time.
const MIN_TREND: Duration = Duration::from_secs(5);

/// A pool's counts at one instant.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) at: Instant,
    pub(crate) leases: u64,
    pub(crate) available: u64,
}

/// Rates computed from the samples.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rates {
    /// Numbers leased per second over the last minute, or since the pool was opened if that is less.
    pub leases_per_second_1m: f64,
    /// The same over the last 15 minutes.
    pub leases_per_second_15m: f64,
    /// In how many seconds no number is available, at the rate of the last minute or of the last 15 minutes,
    /// whichever is sooner. `None` while the available numbers do not decrease.
    pub exhaustion_seconds: Option<u64>,
}

/// A few samples per span; the oldest is about as old as the span is long.
#[derive(Debug)]
pub(crate) struct History {
    spans: [VecDeque<Sample>; SPANS.len()],
}

impl History {
    pub(crate) fn new(first: Sample) -> Self {
        Self { spans: [VecDeque::from([first]), VecDeque::from([first])] }
    }

    /// Adds a sample to each span that is due for one.
    pub(crate) fn offer(&mut self, sample: Sample) {
        for (samples, (span, apart)) in self.spans.iter_mut().zip(SPANS) {
            if samples.back().is_none_or(|last| sample.at.duration_since(last.at) >= apart) {
                samples.push_back(sample);
            }
            // The oldest sample stays until the next one is old enough to cover the span.
            while samples.get(1).is_some_and(|second| sample.at.duration_since(second.at) >= span) {
                samples.pop_front();
            }
        }
    }

    pub(crate) fn rates(&self, now: Sample) -> Rates {
        let oldest = |span: usize| self.spans[span].front().copied().unwrap_or(now);
        let seconds = |since: &Sample| now.at.duration_since(since.at).as_secs_f64();
        let rate = |since: Sample| {
            let leases = now.leases.saturating_sub(since.leases) as f64;
            if leases > 0.0 { leases / seconds(&since).max(SAMPLE_INTERVAL_MS as f64 / 1e3) } else { 0.0 }
        };
        let exhausted_in = |since: Sample| {
            let fewer = since.available.checked_sub(now.available).filter(|fewer| *fewer > 0)?;
            let long_enough = now.at.duration_since(since.at) >= MIN_TREND;
            #[expect(clippy::cast_sign_loss, reason = "a quotient of counts")]
            long_enough.then(|| (now.available as f64 * seconds(&since) / fewer as f64) as u64)
        };
        Rates {
            leases_per_second_1m: rate(oldest(0)),
            leases_per_second_15m: rate(oldest(1)),
            exhaustion_seconds: (0..SPANS.len()).filter_map(|span| exhausted_in(oldest(span))).min(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_their_spans_and_the_sooner_end_is_told() {
        let start = Instant::now();
        let sample = |second: u64, leases, available| Sample {
            at: start + Duration::from_secs(second),
            leases,
            available,
        };
        let mut history = History::new(sample(0, 1_000, 1_000_000));
        assert_eq!(history.rates(sample(0, 1_000, 1_000_000)), Rates::default());
        // Ten per second for 15 minutes, then a hundred per second for a minute.
        let (mut leases, mut available) = (1_000, 1_000_000);
        for second in 1..=960 {
            let step = if second > 900 { 100 } else { 10 };
            (leases, available) = (leases + step, available - step);
            history.offer(sample(second, leases, available));
        }
        let rates = history.rates(sample(960, leases, available));
        assert!((rates.leases_per_second_1m - 100.0).abs() < 5.0, "{rates:?}");
        assert!((rates.leases_per_second_15m - 16.0).abs() < 1.0, "{rates:?}");
        let sooner = available / 100;
        assert!(rates.exhaustion_seconds.unwrap().abs_diff(sooner) < sooner / 10, "{rates:?}");
        for span in &history.spans {
            assert!(span.len() <= 17, "{}", span.len());
        }
        // As many become available as are leased.
        for second in 961..=2_000 {
            history.offer(sample(second, leases + second, available));
        }
        let rates = history.rates(sample(2_000, leases + 2_000, available));
        assert_eq!(rates.exhaustion_seconds, None);
        assert!((rates.leases_per_second_1m - 1.0).abs() < 0.1, "{rates:?}");
    }
}
