//! How many live leases a principal has, without a list of them.
//!
//! A lease is counted by the time of its end. Ends are grouped into periods, about a thousand over the longest
//! lease that the principal may have; a lease counts until its period is over, unless the principal returns it
//! before. So the count is never below the leases that the principal made, renewed and did not return, and
//! exceeds them by those that ended within the last thousandth of the longest lease.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::state::time::Timestamp;

/// Periods of the longest lease.
const PERIODS: u32 = 1_024;
/// The periods that leases can end in: those of the longest lease, and what is cut at its beginning and end.
const SLOTS: usize = PERIODS as usize + 3;
const COUNT_BITS: u32 = 32;

/// The live leases of one principal. Calls of all workers change it without a lock.
#[derive(Debug)]
pub(crate) struct LiveLeases {
    period_seconds: u32,
    /// A period in the high half and its leases in the low half, at the period modulo [`SLOTS`].
    slots: Box<[AtomicU64]>,
    /// The sum of all slots, and what calls under way have reserved.
    live: AtomicU64,
    /// The last period whose leases were dropped.
    ended: AtomicU32,
}

/// The leases that end in a period.
#[derive(Debug, Clone, Copy)]
struct Slot {
    period: u32,
    leases: u32,
}

impl Slot {
    fn unpack(bits: u64) -> Self {
        Self { period: (bits >> COUNT_BITS) as u32, leases: bits as u32 }
    }

    fn pack(self) -> u64 {
        u64::from(self.period) << COUNT_BITS | u64::from(self.leases)
    }
}

impl LiveLeases {
    /// None yet, for leases of at most `ttl_seconds`.
    pub(crate) fn new(ttl_seconds: u32) -> Self {
        Self {
            period_seconds: period_seconds(ttl_seconds),
            slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
            live: AtomicU64::new(0),
            ended: AtomicU32::new(0),
        }
    }

    /// Whether leases of at most `ttl_seconds` are counted in the same periods.
    pub(super) fn fits(&self, ttl_seconds: u32) -> bool {
        self.period_seconds == period_seconds(ttl_seconds)
    }

    /// The same leases for another longest one.
    pub(super) fn moved(&self, ttl_seconds: u32) -> Self {
        let moved = Self::new(ttl_seconds);
        moved.ended.store(
            self.ended.load(Ordering::Relaxed).saturating_mul(self.period_seconds) / moved.period_seconds,
            Ordering::Relaxed,
        );
        let slots = self.slots.iter().map(|slot| Slot::unpack(slot.load(Ordering::Relaxed)));
        for slot in slots.filter(|slot| slot.leases > 0) {
            let end = Timestamp::new(slot.period.saturating_mul(self.period_seconds));
            moved.live.fetch_add(u64::from(slot.leases), Ordering::Relaxed);
            moved.enter(end, slot.leases);
        }
        moved
    }

    /// Reserves `count` leases if there are at most `most` then. Else returns in how many seconds some end.
    pub(crate) fn reserve(&self, count: u32, most: u64, now: Timestamp) -> Result<(), u64> {
        self.end_until(now);
        let add = |live: u64| (live + u64::from(count) <= most).then(|| live + u64::from(count));
        match self.live.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add) {
            Ok(_) => Ok(()),
            Err(_) => Err(self.seconds_to_next_end(now)),
        }
    }

    /// Counts leases that were made without a reservation.
    pub(crate) fn add(&self, count: u32) {
        self.live.fetch_add(u64::from(count), Ordering::Relaxed);
    }

    /// Gives back what was reserved in vain.
    pub(crate) fn release(&self, count: u32) {
        self.live.fetch_sub(u64::from(count), Ordering::Relaxed);
    }

    /// Enters leases that were reserved and made.
    pub(crate) fn enter(&self, end: Timestamp, count: u32) {
        let period = self.period_of(end);
        let place = self.slot(period);
        let mut bits = place.load(Ordering::Relaxed);
        loop {
            let before = Slot::unpack(bits);
            let is_same = before.period == period;
            // Leases of another period have ended: of those that have not, no two are at one place.
            let leases = if is_same { before.leases.saturating_add(count) } else { count };
            let after = Slot { period, leases }.pack();
            match place.compare_exchange_weak(bits, after, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) if is_same => return,
                Ok(_) => return self.release(before.leases),
                Err(other) => bits = other,
            }
        }
    }

    /// Removes a lease that the principal returned. A lease of another one is not there, or stands for one of
    /// the same end.
    pub(crate) fn remove(&self, end: Timestamp) {
        if self.take(end) {
            self.release(1);
        }
    }

    /// Moves a lease that the principal renewed. One that was made by another is counted from now on.
    pub(crate) fn renew(&self, before: Timestamp, after: Timestamp, now: Timestamp) {
        self.end_until(now);
        if !self.take(before) {
            self.add(1);
        }
        self.enter(after, 1);
    }

    /// Takes a lease out of its slot, which leaves it in the sum.
    fn take(&self, end: Timestamp) -> bool {
        let period = self.period_of(end);
        let take = |bits: u64| {
            let slot = Slot::unpack(bits);
            let is_there = slot.period == period && slot.leases > 0;
            is_there.then(|| Slot { leases: slot.leases - 1, ..slot }.pack())
        };
        self.slot(period).fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    /// Drops the leases of the periods that are over.
    fn end_until(&self, now: Timestamp) {
        let current = now.seconds() / self.period_seconds;
        if self.ended.fetch_max(current, Ordering::Relaxed) >= current {
            return;
        }
        for place in &self.slots {
            let drop_ended = |bits: u64| {
                let slot = Slot::unpack(bits);
                (slot.leases > 0 && slot.period <= current).then_some(Slot { leases: 0, ..slot }.pack())
            };
            if let Ok(bits) = place.fetch_update(Ordering::Relaxed, Ordering::Relaxed, drop_ended) {
                self.release(Slot::unpack(bits).leases);
            }
        }
    }

    fn seconds_to_next_end(&self, now: Timestamp) -> u64 {
        let slots = self.slots.iter().map(|slot| Slot::unpack(slot.load(Ordering::Relaxed)));
        let next = slots.filter(|slot| slot.leases > 0).map(|slot| slot.period).min();
        let end = next.map_or(0, |period| u64::from(period) * u64::from(self.period_seconds));
        end.saturating_sub(now.seconds().into()).max(1)
    }

    /// The period at whose end a lease is over; at most the last one that has a place beside those that have
    /// not ended.
    fn period_of(&self, end: Timestamp) -> u32 {
        let last = self.ended.load(Ordering::Relaxed) + SLOTS as u32 - 1;
        end.seconds().div_ceil(self.period_seconds).min(last)
    }

    fn slot(&self, period: u32) -> &AtomicU64 {
        &self.slots[period as usize % SLOTS]
    }
}

fn period_seconds(ttl_seconds: u32) -> u32 {
    ttl_seconds.div_ceil(PERIODS).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u32 = 200_000_000;

    fn at(seconds: u32) -> Timestamp {
        Timestamp::new(START + seconds)
    }

    fn live(leases: &LiveLeases) -> u64 {
        leases.live.load(Ordering::Relaxed)
    }

    #[test]
    fn leases_count_until_they_end_or_are_returned() {
        let leases = LiveLeases::new(600);
        assert_eq!(leases.reserve(3, 4, at(0)), Ok(()));
        leases.enter(at(600), 2);
        leases.release(1);
        assert_eq!(leases.reserve(3, 4, at(0)), Err(600));
        assert_eq!(leases.reserve(2, 4, at(0)), Ok(()));
        leases.enter(at(10), 2);
        assert_eq!(leases.reserve(1, 4, at(9)), Err(1));
        leases.remove(at(600));
        leases.remove(at(5));
        assert_eq!(live(&leases), 3);
        assert_eq!(leases.reserve(3, 4, at(10)), Ok(()));
        assert_eq!(live(&leases), 4);
    }

    #[test]
    fn a_renewed_lease_counts_until_its_new_end_and_anothers_is_adopted() {
        let leases = LiveLeases::new(100);
        leases.reserve(1, 9, at(0)).unwrap();
        leases.enter(at(100), 1);
        leases.renew(at(100), at(150), at(1));
        assert_eq!(live(&leases), 1);
        leases.reserve(0, 9, at(120)).unwrap();
        assert_eq!(live(&leases), 1);
        leases.renew(at(77), at(200), at(120));
        assert_eq!(live(&leases), 2);
        leases.reserve(0, 9, at(150)).unwrap();
        assert_eq!(live(&leases), 1);
    }

    #[test]
    fn periods_of_long_leases_are_long_and_a_lease_never_counts_too_short() {
        let (ttl, mut now) = (100_000, 0);
        let leases = LiveLeases::new(ttl);
        leases.reserve(0, 0, at(now)).unwrap();
        let mut ends = std::collections::VecDeque::new();
        for step in 0..20_000_u32 {
            now += step % 13;
            leases.reserve(1, u64::MAX, at(now)).unwrap();
            let end = now + ttl - (step % 7) * 10_000;
            leases.enter(at(end), 1);
            ends.push_back(end);
            if step % 500 == 0 {
                let really = ends.iter().filter(|end| **end > now).count() as u64;
                let late = ends.iter().filter(|end| **end + ttl / PERIODS + 1 > now).count() as u64;
                assert!((really..=late).contains(&live(&leases)), "{really} {} {late}", live(&leases));
            }
        }
    }

    #[test]
    fn leases_are_moved_to_other_periods() {
        let leases = LiveLeases::new(600);
        leases.reserve(5, 9, at(0)).unwrap();
        leases.enter(at(600), 5);
        assert!(leases.fits(1_000) && !leases.fits(86_400));
        let moved = leases.moved(86_400);
        assert_eq!(live(&moved), 5);
        moved.reserve(0, 9, at(599)).unwrap();
        assert_eq!(live(&moved), 5);
        moved.reserve(0, 9, at(700)).unwrap();
        assert_eq!(live(&moved), 0);
    }
}
