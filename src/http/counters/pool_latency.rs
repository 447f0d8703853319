//! How long the calls about leases of a pool take. While there are many, one of [`SAMPLED`] stands for all of them, as a
//! lease costs not much more than looking for its pool's counts; slow ones are all counted.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::histogram::{Distribution, DistributionSnapshot};

use super::requests::Call;

/// Relative error of a latency: 2^-3, about 12 %. Longer ones than 2^38 ns (4.6 minutes) count as that.
const POWERS: (u8, u8) = (3, 38);
/// While calls come fast, one of so many is counted.
const SAMPLED: u32 = 64;
/// Calls of a thread that are further apart than this are all counted.
const FAST_NANOS: u64 = 1_000_000;
/// A call that takes longer is counted by itself.
const SLOW_NANOS: u64 = 1_000_000;
/// What is told are this span and the one before it.
const SPAN_NANOS: u64 = 60_000_000_000;

/// Chooses which of a thread's calls about leases are counted.
#[derive(Debug)]
pub(crate) struct Sampler {
    /// One of so many calls is chosen,
    of: u32,
    /// after these, or the first from then on.
    left: u32,
    due_nanos: u64,
    chosen_nanos: u64,
}

impl Default for Sampler {
    fn default() -> Self {
        Self { of: 1, left: 1, due_nanos: 0, chosen_nanos: 0 }
    }
}

impl Sampler {
    /// Whether a call is to be counted, at a monotonic time.
    #[inline]
    pub(crate) fn chooses(&mut self, took_nanos: u64, now_nanos: u64) -> bool {
        self.left -= 1;
        self.left == 0 || now_nanos >= self.due_nanos || took_nanos > SLOW_NANOS
    }

    /// How many calls one that was chosen stands for. To be called after each.
    #[cold]
    pub(crate) fn weight(&mut self, took_nanos: u64, now_nanos: u64) -> u32 {
        let calls = self.of - self.left;
        if self.left == 0 || now_nanos >= self.due_nanos {
            let apart = now_nanos.saturating_sub(self.chosen_nanos) / u64::from(calls);
            self.of = if apart < FAST_NANOS { SAMPLED } else { 1 };
            self.left = self.of;
            self.due_nanos = now_nanos.saturating_add(u64::from(self.of) * FAST_NANOS);
            self.chosen_nanos = now_nanos;
        }
        if took_nanos > SLOW_NANOS { 1 } else { calls }
    }
}

/// The latencies of one worker. Only its thread writes, so only a reader of the stats contends for the lock.
#[derive(Debug, Default)]
pub struct PoolLatencies(Mutex<HashMap<u64, Spans>>);

/// The latencies of a pool in a span of time, and in the one before.
#[derive(Debug)]
struct Spans {
    span: u64,
    present: Distribution,
    before: Distribution,
}

fn none() -> Distribution {
    Distribution::new(POWERS.0, POWERS.1)
}

impl Spans {
    fn turn_to(&mut self, span: u64) {
        if self.span < span {
            let present = std::mem::replace(&mut self.present, none());
            self.before = if self.span + 1 == span { present } else { none() };
            self.span = span;
        }
    }
}

/// Whether the latencies of a call are counted by pool. A [`Sampler`] is for these alone: whoever looks at the stats
/// between two leases keeps neither from being counted.
#[inline]
pub(crate) fn is_counted(call: Call) -> bool {
    matches!(call, Call::Lease | Call::Renew | Call::Return)
}

impl PoolLatencies {
    /// Counts so many calls of a pool, by its id, that took as long, at a monotonic time.
    pub(crate) fn record(&self, pool: u64, weight: u32, took_nanos: u64, now_nanos: u64) {
        let mut by_pool = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let span = now_nanos / SPAN_NANOS;
        let spans = by_pool.entry(pool).or_insert_with(|| Spans { span, present: none(), before: none() });
        spans.turn_to(span);
        spans.present.record_many(took_nanos, weight);
    }

    /// Forgets pools that have no calls any more.
    pub(crate) fn forget_old(&self, now_nanos: u64) {
        let span = now_nanos / SPAN_NANOS;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, spans| spans.span + 1 >= span);
    }
}

/// The latencies of a pool over all workers, of the last minute or two; `None` if there were no calls.
pub(crate) fn snapshot<'a>(
    workers: impl Iterator<Item = &'a PoolLatencies>,
    pool: u64,
    now_nanos: u64,
) -> Option<DistributionSnapshot> {
    let span = now_nanos / SPAN_NANOS;
    let mut sum: Option<DistributionSnapshot> = None;
    for worker in workers {
        let by_pool = worker.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(spans) = by_pool.get(&pool) else { continue };
        let told = match span.saturating_sub(spans.span) {
            0 => [Some(&spans.present), Some(&spans.before)],
            1 => [Some(&spans.present), None],
            _ => continue,
        };
        for one in told.into_iter().flatten().map(Distribution::snapshot) {
            match &mut sum {
                Some(sum) => sum.merge(&one),
                None => sum = Some(one),
            }
        }
    }
    sum.filter(|sum| sum.count() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls `each` with the weight of every call that is chosen of some, which are so far apart.
    fn sample(calls: u64, apart_nanos: u64, took: impl Fn(u64) -> u64, mut each: impl FnMut(u64, u32)) {
        let mut sampler = Sampler::default();
        for call in 0..calls {
            let (took_nanos, now_nanos) = (took(call), SPAN_NANOS + call * apart_nanos);
            if sampler.chooses(took_nanos, now_nanos) {
                each(took_nanos, sampler.weight(took_nanos, now_nanos));
            }
        }
    }

    #[test]
    fn few_calls_are_all_counted_and_many_stand_for_each_other() {
        for (apart_nanos, all) in [(2_000_000, true), (1_000, false)] {
            let (mut chosen, mut sum) = (0, 0);
            sample(
                10_000,
                apart_nanos,
                |_| 7_000,
                |_, weight| {
                    chosen += 1;
                    sum += weight;
                },
            );
            assert!((10_000 - SAMPLED..=10_000 + SAMPLED).contains(&sum), "{sum}");
            assert_eq!(chosen > 9_000, all, "{chosen}");
            assert!(all || chosen < 10_000 / SAMPLED + 3, "{chosen}");
        }
    }

    #[test]
    fn the_first_call_after_a_burst_is_counted() {
        let mut sampler = Sampler::default();
        let mut count = |now_nanos| {
            let is_chosen = sampler.chooses(5_000, now_nanos);
            is_chosen.then(|| sampler.weight(5_000, now_nanos))
        };
        let burst: u32 = (0..10).filter_map(|call| count(SPAN_NANOS + call * 1_000)).sum();
        assert!(burst < 10, "{burst}");
        let second = SPAN_NANOS / 60;
        assert_eq!(count(SPAN_NANOS + second), Some(11 - burst), "with those that were not");
        assert_eq!(count(SPAN_NANOS + 2 * second), Some(1));
    }

    #[test]
    fn no_slow_call_is_missed_and_none_counts_twice() {
        let (mut slow, mut fast) = (0, 0);
        let took = |call| if call % 37 == 5 { SLOW_NANOS + 1 } else { 5_000 };
        sample(37_000, 1_000, took, |took_nanos, weight| {
            *(if took_nanos > SLOW_NANOS { &mut slow } else { &mut fast }) += weight;
        });
        assert_eq!(slow, 1_000);
        assert!((34_000..38_000).contains(&fast), "{fast}");
    }

    #[test]
    fn what_is_told_is_of_the_last_minutes_and_of_the_pool() {
        let workers = [PoolLatencies::default(), PoolLatencies::default()];
        workers[0].record(1, 16, 10_000, 0);
        workers[1].record(1, 1, 9_000_000, SPAN_NANOS);
        workers[1].record(2, 1, 50, SPAN_NANOS);
        let told = |pool, at| snapshot(workers.iter(), pool, at).map(|told| (told.count(), told.max));
        assert_eq!(told(1, SPAN_NANOS), Some((17, 9_000_000)));
        assert_eq!(told(2, SPAN_NANOS), Some((1, 50)));
        assert_eq!(told(3, SPAN_NANOS), None);
        assert_eq!(told(1, 2 * SPAN_NANOS), Some((1, 9_000_000)));
        workers[1].record(1, 1, 70, 2 * SPAN_NANOS);
        assert_eq!(told(1, 3 * SPAN_NANOS - 1).map(|told| told.0), Some(2));
        assert_eq!(told(1, 4 * SPAN_NANOS), None);
        workers[1].forget_old(4 * SPAN_NANOS);
        assert!(workers[1].0.lock().unwrap().is_empty());
    }
}
