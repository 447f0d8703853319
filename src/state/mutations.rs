//! Counts the changes to a free index that are under way, so that the caller of a search that found nothing
//! knows whether to believe it.
//!
//! A search reads nodes one after another. If one number comes back behind it while another is taken in front
//! of it, it finds none although one was free all the time. So each thread counts the changes it begins and
//! those it finishes. If all changes begun by the end of a search were finished before it started, none ran
//! during the search, and its result is true.
//!
//! The ranks are divided into `STRIPES` stripes with counters of their own: traffic in one part of a segment
//! does not disturb a search in another.

use std::ops::Range;

use crossbeam::utils::CachePadded;

use crate::coordinates::Rank;
use crate::sys::atomics::{AtomicU64, Ordering, total_order_for_loom};
use crate::sys::slot::Slot;

/// Least ranks of a stripe: those of a leaf of the index are in one.
const MIN_STRIPE_RANKS: u32 = 64;

/// Stripes of a segment. The counters of one thread fill one padded cache line.
const STRIPES: usize = if cfg!(allotd_loom) { 1 } else { 8 };

#[derive(Default)]
struct Pair {
    begun: AtomicU64,
    finished: AtomicU64,
}

/// The counters of all threads.
pub struct Mutations {
    slots: Box<[CachePadded<[Pair; STRIPES]>]>,
    /// A rank's stripe is the rank shifted right by this.
    stripe_shift: u32,
}

impl Mutations {
    /// Counters for `slots` threads that change `len` ranks.
    pub fn new(slots: usize, len: u32) -> Self {
        let stripe_ranks = len.div_ceil(STRIPES as u32).max(MIN_STRIPE_RANKS).next_power_of_two();
        let pairs = || CachePadded::new(std::array::from_fn(|_| Pair::default()));
        Self { slots: (0..slots).map(|_| pairs()).collect(), stripe_shift: stripe_ranks.trailing_zeros() }
    }

    #[inline]
    fn stripe(&self, rank: Rank) -> usize {
        (rank.0 >> self.stripe_shift) as usize % STRIPES
    }

    fn stripes(&self, ranks: &Range<Rank>) -> Range<usize> {
        let last = Rank(ranks.end.0.saturating_sub(1)).max(ranks.start);
        self.stripe(ranks.start)..self.stripe(last) + 1
    }

    /// Begins a change at one rank. It lasts until the returned guard is dropped.
    #[inline]
    pub fn begin(&self, slot: Slot, rank: Rank) -> Mutation<'_> {
        let stripe = self.stripe(rank);
        self.begin_in(slot, stripe..stripe + 1)
    }

    /// Begins a change that concerns several ranks.
    pub fn begin_over(&self, slot: Slot, ranks: &Range<Rank>) -> Mutation<'_> {
        self.begin_in(slot, self.stripes(ranks))
    }

    #[inline]
    fn begin_in(&self, slot: Slot, stripes: Range<usize>) -> Mutation<'_> {
        let pairs = &self.slots[slot.0][stripes];
        for pair in pairs {
            // Only this thread writes the pair, so a load and a store suffice. The change that follows is a
            // read-modify-write on the index or a word: a thread that sees it, or comes after it, sees this
            // store.
            let begun = pair.begun.load(Ordering::Relaxed) + 1;
            pair.begun.store(begun, Ordering::Release);
        }
        total_order_for_loom();
        Mutation { pairs }
    }

    fn sum(&self, ranks: &Range<Rank>, count: impl Fn(&Pair) -> u64) -> u64 {
        let stripes = self.stripes(ranks);
        self.slots.iter().map(|pairs| pairs[stripes.clone()].iter().map(&count).sum::<u64>()).sum()
    }

    /// The changes at these ranks finished so far. Read it before a search.
    pub fn finished(&self, ranks: &Range<Rank>) -> u64 {
        let finished = self.sum(ranks, |pair| pair.finished.load(Ordering::Acquire));
        total_order_for_loom();
        finished
    }

    /// The changes at these ranks begun so far. Read it after a search: if it equals [`Self::finished`] from
    /// before the search, no change ran meanwhile.
    pub fn begun(&self, ranks: &Range<Rank>) -> u64 {
        total_order_for_loom();
        self.sum(ranks, |pair| pair.begun.load(Ordering::SeqCst))
    }

    /// How many changes one thread began.
    #[cfg(all(test, allotd_loom))]
    pub(crate) fn begun_in_slot(&self, slot: Slot) -> u64 {
        self.slots[slot.0].iter().map(|pair| pair.begun.load(Ordering::SeqCst)).sum()
    }
}

/// A change under way.
pub struct Mutation<'a> {
    pairs: &'a [Pair],
}

impl Drop for Mutation<'_> {
    #[inline]
    fn drop(&mut self) {
        for pair in self.pairs {
            let finished = pair.finished.load(Ordering::Relaxed) + 1;
            pair.finished.store(finished, Ordering::Release);
        }
    }
}
