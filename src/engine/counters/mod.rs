//! What a pool counts: how many numbers are in each state, and how often each event happened.
//!
//! Every thread adds to the counters of its own slot, so counting shares no cache line; a reader sums the
//! slots. One compare-exchange wins each change of a word, and the winner counts the move, so the counts are
//! exact when no call is in progress.

pub mod history;
pub(crate) mod lateness;
pub mod outcomes;

use crossbeam::utils::CachePadded;

use crate::domain::counts::{Counts, STATES, Totals};
use crate::state::number_state::State;
use crate::sys::atomics::{AtomicU64, Ordering};
use crate::sys::slot::Slot;

use outcomes::{OUTCOME_COUNTERS, OutcomeId};

const TOTALS: usize = Total::Stale as usize + 1;

/// Events that a pool counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Total {
    Leases,
    Renewals,
    Returns,
    Expirations,
    Exhausted,
    Stale,
}

struct SlotCounters {
    /// Numbers that entered each state minus those that left it, wrapping.
    states: [AtomicU64; STATES],
    totals: [AtomicU64; TOTALS],
    returns_by_outcome: [AtomicU64; OUTCOME_COUNTERS],
}

impl Default for SlotCounters {
    fn default() -> Self {
        Self {
            states: Default::default(),
            totals: Default::default(),
            returns_by_outcome: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

/// Adds to a counter that only this thread writes: no read-modify-write is needed.
#[inline]
pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
}

/// The counters of a pool, one set per slot.
pub(crate) struct PoolCounters {
    slots: Box<[CachePadded<SlotCounters>]>,
}

impl PoolCounters {
    pub(crate) fn new(slots: usize) -> Self {
        Self { slots: (0..slots).map(|_| CachePadded::default()).collect() }
    }

    /// Counts the numbers found in each state when a segment is opened.
    pub(crate) fn found(&self, slot: Slot, counts: Counts) {
        let found = [counts.available, counts.leased, counts.resting, counts.done, counts.retired];
        for (counter, count) in self.slots[slot.0].states.iter().zip(found) {
            add(counter, count);
        }
    }

    /// Counts numbers that moved from one state to another.
    #[inline]
    pub(crate) fn moved(&self, slot: Slot, from: State, to: State, count: u64) {
        let states = &self.slots[slot.0].states;
        add(&states[to as usize], count);
        add(&states[from as usize], count.wrapping_neg());
    }

    #[inline]
    pub(crate) fn count(&self, slot: Slot, total: Total, count: u64) {
        add(&self.slots[slot.0].totals[total as usize], count);
    }

    #[inline]
    pub(crate) fn returned(&self, slot: Slot, outcome: OutcomeId, count: u64) {
        add(&self.slots[slot.0].returns_by_outcome[outcome.index()], count);
    }

    /// Continues from saved totals. Call it before any thread counts.
    pub(crate) fn resume(&self, slot: Slot, kept: &Totals) {
        for (total, count) in [
            (Total::Leases, kept.leases),
            (Total::Renewals, kept.renewals),
            (Total::Returns, kept.returns),
            (Total::Expirations, kept.expirations),
            (Total::Exhausted, kept.exhausted),
            (Total::Stale, kept.stale),
        ] {
            self.count(slot, total, count);
        }
    }

    pub(crate) fn returns(&self, outcome: OutcomeId) -> u64 {
        let of_slot = |slot: &CachePadded<SlotCounters>| {
            slot.returns_by_outcome[outcome.index()].load(Ordering::Relaxed)
        };
        self.slots.iter().map(of_slot).sum()
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts::from_states(std::array::from_fn(|state| {
            self.slots
                .iter()
                .fold(0, |sum: u64, slot| sum.wrapping_add(slot.states[state].load(Ordering::Relaxed)))
        }))
    }

    pub(crate) fn totals(&self) -> Totals {
        let total = |total: Total| {
            self.slots.iter().map(|slot| slot.totals[total as usize].load(Ordering::Relaxed)).sum::<u64>()
        };
        Totals {
            leases: total(Total::Leases),
            renewals: total(Total::Renewals),
            returns: total(Total::Returns),
            expirations: total(Total::Expirations),
            exhausted: total(Total::Exhausted),
            stale: total(Total::Stale),
        }
    }
}
