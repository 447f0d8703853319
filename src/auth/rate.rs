//! A rate limit in one atomic word.

use std::sync::atomic::{AtomicU64, Ordering};

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// How much was used, as the time at which it will have been allowed: each unit moves it ahead by its share of
/// a second. It may be up to a second ahead of now. A call may use more than is left and go into debt, and
/// others wait until it is paid: so a call for more than a second's units is not refused for ever.
#[derive(Debug, Default)]
pub struct Rate {
    paid_until_nanos: AtomicU64,
}

impl Rate {
    /// Takes `units` of `per_second` at a time of the monotonic clock. Else returns for how long not even one
    /// is left, in whole seconds, at least one.
    pub fn take(&self, units: u32, per_second: u32, now_nanos: u64) -> Result<(), u64> {
        let cost = cost_nanos(units, per_second);
        let take = |paid_until: u64| {
            (paid_until < now_nanos.saturating_add(NANOS_PER_SECOND))
                .then(|| paid_until.max(now_nanos).saturating_add(cost))
        };
        match self.paid_until_nanos.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            Ok(_) => Ok(()),
            Err(paid_until) => {
                let debt = paid_until.saturating_sub(now_nanos).saturating_sub(NANOS_PER_SECOND);
                Err(debt.div_ceil(NANOS_PER_SECOND).max(1))
            }
        }
    }

    /// Gives units back that were taken in vain.
    pub fn give_back(&self, units: u32, per_second: u32) {
        let cost = cost_nanos(units, per_second);
        let give = |paid_until: u64| Some(paid_until.saturating_sub(cost));
        // Never fails, as the closure always answers.
        let _ = self.paid_until_nanos.fetch_update(Ordering::Relaxed, Ordering::Relaxed, give);
    }
}

fn cost_nanos(units: u32, per_second: u32) -> u64 {
    u64::from(units) * NANOS_PER_SECOND / u64::from(per_second.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 77 * NANOS_PER_SECOND;

    #[test]
    fn a_second_of_units_is_there_at_once_and_then_as_many_as_time_passes() {
        let rate = Rate::default();
        let taken = |now| (0..100).take_while(|_| rate.take(1, 10, now).is_ok()).count();
        assert_eq!(taken(START), 10);
        assert_eq!(taken(START + NANOS_PER_SECOND / 2), 5);
        assert_eq!(taken(START + 9 * NANOS_PER_SECOND), 10, "no more than a second is saved up");
    }

    #[test]
    fn a_large_call_goes_into_debt_and_the_next_waits() {
        let rate = Rate::default();
        assert_eq!(rate.take(50, 10, START), Ok(()));
        assert_eq!(rate.take(1, 10, START), Err(4));
        assert_eq!(rate.take(1, 10, START + 3 * NANOS_PER_SECOND), Err(1));
        assert_eq!(rate.take(1, 10, START + 4 * NANOS_PER_SECOND + 1), Ok(()));
        rate.give_back(20, 10);
        assert_eq!(rate.take(1, 10, START + 4 * NANOS_PER_SECOND + 1), Ok(()));
    }
}
