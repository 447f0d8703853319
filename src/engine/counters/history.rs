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
/// Fewest intervals that a trend is read from.
const MIN_INTERVALS: usize = 5;
/// How many times its own uncertainty a decrease must be, in each span, before it counts as one: what leases and
/// returns differ by from one interval to the next is chance.
const CERTAINTY: [f64; SPANS.len()] = [4.0, 2.5];
/// The share of the intervals at either end that is passed over, as one of so many: a large batch, or many leases that
/// end together.
const TRIMMED: usize = 5;
/// How much less certain the middle of the intervals is than all of them, of values that differ by chance.
const TRIMMING_UNCERTAINTY: f64 = 1.06;

/// A pool's counts at one instant.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) at: Instant,
    pub(crate) leases: u64,
    /// Including those that are closed: hours that begin or end are no trend.
    pub(crate) available: u64,
}

/// Rates computed from the samples.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rates {
    /// Numbers leased per second over the last minute, or since the pool was opened if that is less.
    pub leases_per_second_1m: f64,
    /// The same over the last 15 minutes.
    pub leases_per_second_15m: f64,
    /// In how many seconds no number is available, if the available numbers go on to decrease as in the last minute
    /// or in the last 15 minutes, whichever is sooner. `None` while they do not decrease by more than chance.
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

    /// The rates up to `now`. `left` is how many of the available numbers can be leased at present.
    pub(crate) fn rates(&self, now: Sample, left: u64) -> Rates {
        let oldest = |span: usize| self.spans[span].front().copied().unwrap_or(now);
        let seconds = |since: &Sample| now.at.duration_since(since.at).as_secs_f64();
        let rate = |since: Sample| {
            let leases = now.leases.saturating_sub(since.leases) as f64;
            if leases > 0.0 { leases / seconds(&since).max(SAMPLE_INTERVAL_MS as f64 / 1e3) } else { 0.0 }
        };
        Rates {
            leases_per_second_1m: rate(oldest(0)),
            leases_per_second_15m: rate(oldest(1)),
            exhaustion_seconds: self.exhaustion_seconds(left),
        }
    }

    fn exhaustion_seconds(&self, available: u64) -> Option<u64> {
        // What is exhausted has no end to come.
        if available == 0 {
            return None;
        }
        let fastest =
            self.spans.iter().zip(CERTAINTY).filter_map(|(samples, certainty)| decrease(samples, certainty));
        let per_second = fastest.max_by(f64::total_cmp)?;
        #[expect(clippy::cast_sign_loss, reason = "a quotient of counts")]
        Some((available as f64 / per_second) as u64)
    }
}

/// By how many numbers a second the available ones decrease, in the middle of the intervals. `None` if it may as well
/// be chance.
fn decrease(samples: &VecDeque<Sample>, certainty: f64) -> Option<f64> {
    let intervals = samples.iter().zip(samples.iter().skip(1)).map(|(before, after)| {
        let seconds = after.at.duration_since(before.at).as_secs_f64();
        (before.available as f64 - after.available as f64) / seconds
    });
    let mut decreases: Vec<f64> = intervals.collect();
    if decreases.len() < MIN_INTERVALS {
        return None;
    }
    decreases.sort_unstable_by(f64::total_cmp);
    let trimmed = decreases.len() / TRIMMED;
    let middle = &decreases[trimmed..decreases.len() - trimmed];
    let decrease = middle.iter().sum::<f64>() / middle.len() as f64;
    let (first, last) = (samples.front()?, samples.back()?);
    let seconds = last.at.duration_since(first.at).as_secs_f64();
    let leased = last.leases.saturating_sub(first.leases) as f64 / seconds;
    let came_back = (leased - decrease).max(0.0);
    // Of independent calls the count varies by its own square root.
    let uncertainty = TRIMMING_UNCERTAINTY * ((leased + came_back) / seconds).sqrt();
    (decrease > 0.0 && decrease > certainty * uncertainty).then_some(decrease)
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _};

    use super::*;

    const NUMBERS: u64 = 20_000;

    #[test]
    fn rates_are_of_their_spans_and_the_sooner_end_is_told() {
        let start = Instant::now();
        let sample = |second: u64, leases, available| Sample {
            at: start + Duration::from_secs(second),
            leases,
            available,
        };
        let mut history = History::new(sample(0, 1_000, 1_000_000));
        assert_eq!(history.rates(sample(0, 1_000, 1_000_000), 1_000_000), Rates::default());
        // Ten per second for 15 minutes, then a hundred per second for a minute.
        let (mut leases, mut available) = (1_000, 1_000_000);
        for second in 1..=960 {
            let step = if second > 900 { 100 } else { 10 };
            (leases, available) = (leases + step, available - step);
            history.offer(sample(second, leases, available));
        }
        let rates = history.rates(sample(960, leases, available), available);
        assert!((rates.leases_per_second_1m - 100.0).abs() < 5.0, "{rates:?}");
        assert!((rates.leases_per_second_15m - 16.0).abs() < 1.0, "{rates:?}");
        let sooner = available / 100;
        assert!(rates.exhaustion_seconds.unwrap().abs_diff(sooner) < sooner / 10, "{rates:?}");
        let half = history.rates(sample(960, leases, available), available / 2);
        assert!(half.exhaustion_seconds.unwrap().abs_diff(sooner / 2) < sooner / 20, "{half:?}");
        for span in &history.spans {
            assert!(span.len() <= 17, "{}", span.len());
        }
        // As many become available as are leased.
        for second in 961..=2_000 {
            history.offer(sample(second, leases + second, available));
        }
        let rates = history.rates(sample(2_000, leases + 2_000, available), available);
        assert_eq!(rates.exhaustion_seconds, None);
        assert!((rates.leases_per_second_1m - 1.0).abs() < 0.1, "{rates:?}");
    }

    /// Leases at random, each of which comes back after `TTL` seconds; `drain` more each ten seconds never do.
    fn simulated(seed: u64, taken: u64, drain: u64, mut look: impl FnMut(u64, Option<u64>)) {
        const TTL: u64 = 300;
        let mut random = rand::rngs::SmallRng::seed_from_u64(seed);
        let start = Instant::now();
        let steadily = |second: u64| taken * (second + 1) / TTL - taken * second / TTL;
        let spread = (3 * taken / TTL).isqrt();
        // What was leased in each of the last seconds, and so comes back.
        let mut due: VecDeque<u64> = (0..TTL).map(steadily).collect();
        let (mut leases, mut available) = (NUMBERS, NUMBERS - taken);
        let mut history = History::new(Sample { at: start, leases, available: NUMBERS });
        for second in 1..=3_600 {
            let leased_now = (steadily(second) + random.random_range(0..=2 * spread)).saturating_sub(spread);
            let drained = drain * second / 10 - drain * (second - 1) / 10;
            available += due.pop_front().unwrap();
            if leased_now + drained > available {
                return;
            }
            due.push_back(leased_now);
            (available, leases) = (available - leased_now - drained, leases + leased_now + drained);
            let now = Sample { at: start + Duration::from_secs(second), leases, available };
            history.offer(now);
            look(second, history.rates(now, available).exhaustion_seconds);
        }
    }

    #[test]
    fn a_steady_pool_has_no_end_and_one_that_drains_has_it_in_time() {
        for seed in 0..20 {
            for taken in [3_000, 10_000, 17_000, 19_000] {
                let mut alert = Alert::default();
                simulated(seed, taken, 0, |second, end| alert.look(second, end));
                assert_eq!(alert.fired_at, None, "seed {seed}, {taken} taken");
            }
            for (taken, drain) in [(0, 50), (3_000, 100), (10_000, 60), (17_000, 20)] {
                let mut alert = Alert::default();
                simulated(seed, taken, drain, |second, end| alert.look(second, end));
                let empty = (NUMBERS - taken) * 10 / drain;
                let fired_at = alert.fired_at.unwrap_or(u64::MAX);
                assert!(
                    fired_at <= empty - 600,
                    "seed {seed}, {taken} taken, {drain} in ten seconds: {fired_at}"
                );
            }
        }
    }

    /// The rule `AllotdPoolNearlyExhausted`, evaluated every 15 seconds.
    #[derive(Default)]
    struct Alert {
        since: Option<u64>,
        fired_at: Option<u64>,
    }

    impl Alert {
        fn look(&mut self, second: u64, end: Option<u64>) {
            if second.is_multiple_of(15) {
                let holds = end.is_some_and(|end| end < 3_600);
                self.since = holds.then(|| self.since.unwrap_or(second));
                if self.since.is_some_and(|since| second - since >= 300) {
                    self.fired_at = self.fired_at.or(Some(second));
                }
            }
        }
    }
}
