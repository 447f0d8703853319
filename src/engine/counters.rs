//! What a pool counts: how many numbers are in each state, and how often each thing happened.
//!
//! Every thread adds to counters of its own slot, so counting costs no shared cache line; a reader
//! adds the slots up. Each change of a word is won by one compare-exchange, and the winner counts the
//! move, so when no call is under way the counts are exact.

use crossbeam::utils::CachePadded;
use serde::{Deserialize, Serialize};

use crate::state::block_counts::StateCounts;
use crate::state::word::State;
use crate::sys::atomics::{AtomicU64, Ordering};
use crate::sys::slot::Slot;

use super::outcomes::{OUTCOME_COUNTERS, OutcomeId};

const STATES: usize = State::Retired as usize + 1;
const TOTALS: usize = Total::Stale as usize + 1;

/// How many numbers are in each state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// All of them.
    pub numbers: u64,
    /// That can be leased.
    pub available: u64,
    /// That someone holds.
    pub leased: u64,
    /// That rest after a return.
    pub resting: u64,
    /// That are done for this round.
    pub done: u64,
    /// That are never handed out.
    pub retired: u64,
}

impl Counts {
    /// Counts one number more.
    pub fn add(&mut self, state: State) {
        self.numbers += 1;
        *match state {
            State::Available => &mut self.available,
            State::Leased => &mut self.leased,
            State::Resting => &mut self.resting,
            State::Done => &mut self.done,
            State::Retired => &mut self.retired,
        } += 1;
    }

    /// Adds other counts to these.
    pub(crate) fn merge(&mut self, other: Self) {
        self.numbers += other.numbers;
        self.available += other.available;
        self.leased += other.leased;
        self.resting += other.resting;
        self.done += other.done;
        self.retired += other.retired;
    }

    /// Adds the counts of a block of words.
    pub(crate) fn add_block(&mut self, block: StateCounts) {
        let [available, leased, resting, done, retired] = block.map(u64::from);
        let numbers = available + leased + resting + done + retired;
        self.merge(Self { numbers, available, leased, resting, done, retired });
    }

    fn from_states(states: [u64; STATES]) -> Self {
        // A reader meets a move between its two halves: then a state can be one short for a moment.
        let [available, leased, resting, done, retired] =
            states.map(|n| n.cast_signed().max(0).cast_unsigned());
        Self {
            numbers: available + leased + resting + done + retired,
            available,
            leased,
            resting,
            done,
            retired,
        }
    }
}

/// What a pool counts the occurrences of.
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

/// How often each thing happened since the pool was created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Totals {
    /// Numbers leased.
    pub leases: u64,
    /// Leases renewed.
    pub renewals: u64,
    /// Numbers returned; a repeated return does not count.
    pub returns: u64,
    /// Leases that ended without a return.
    pub expirations: u64,
    /// Lease calls that found no number available.
    pub exhausted: u64,
    /// Items of renew and return with a token that is not, or no longer, right.
    pub stale: u64,
}

struct SlotCounters {
    /// Numbers that came into each state less those that left it, wrapping.
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

/// Adds to a counter that only this thread writes.
#[inline]
fn add(counter: &AtomicU64, count: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
}

/// See the module.
pub(crate) struct PoolCounters {
    slots: Box<[CachePadded<SlotCounters>]>,
}

impl PoolCounters {
    pub(crate) fn new(slots: usize) -> Self {
        Self { slots: (0..slots).map(|_| CachePadded::default()).collect() }
    }

    /// Counts numbers found in a state when a segment is loaded.
    pub(crate) fn found(&self, slot: Slot, counts: Counts) {
        let found = [counts.available, counts.leased, counts.resting, counts.done, counts.retired];
        for (counter, count) in self.slots[slot.0].states.iter().zip(found) {
            add(counter, count);
        }
    }

    /// Counts numbers that went from one state to another.
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

    /// Goes on from totals that were kept. To be called before any thread counts.
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
