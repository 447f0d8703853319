//! Counts the changes to a free index that are under way, so that the caller of a search that found nothing
//! knows whether to believe it.
//!
//! A search reads nodes one after another. If one number comes back behind it while another is taken in front
//! of it, it finds none although one was free all the time. So each thread counts the changes it begins and
//! those it finishes. If all changes begun by the end of a search were finished before it started, none ran
//! during the search, and its result is true.

use crossbeam::utils::CachePadded;

use crate::sys::atomics::{AtomicU64, Ordering, total_order_for_loom};
use crate::sys::slot::Slot;

struct Pair {
    begun: AtomicU64,
    finished: AtomicU64,
}

/// The counters of all threads.
pub struct Mutations {
    slots: Box<[CachePadded<Pair>]>,
}

impl Mutations {
    /// Counters for `slots` threads.
    pub fn new(slots: usize) -> Self {
        let pair = || CachePadded::new(Pair { begun: AtomicU64::new(0), finished: AtomicU64::new(0) });
        Self { slots: (0..slots).map(|_| pair()).collect() }
    }

    /// Begins a change. It lasts until the returned guard is dropped.
    #[inline]
    pub fn begin(&self, slot: Slot) -> Mutation<'_> {
        let pair = &self.slots[slot.0];
        // Only this thread writes the pair, so a load and a store suffice. The change that follows is a
        // read-modify-write on the index or a word: a thread that sees it, or comes after it, sees this
        // store.
        let begun = pair.begun.load(Ordering::Relaxed) + 1;
        pair.begun.store(begun, Ordering::Release);
        total_order_for_loom();
        Mutation { pair }
    }

    /// The changes finished so far. Read it before a search.
    pub fn finished(&self) -> u64 {
        let finished = self.slots.iter().map(|pair| pair.finished.load(Ordering::Acquire)).sum();
        total_order_for_loom();
        finished
    }

    /// The changes begun so far. Read it after a search: if it equals [`Self::finished`] from before the
    /// search, no change ran meanwhile.
    pub fn begun(&self) -> u64 {
        total_order_for_loom();
        self.slots.iter().map(|pair| pair.begun.load(Ordering::SeqCst)).sum()
    }

    /// How many changes one thread began.
    #[cfg(all(test, allotd_loom))]
    pub(crate) fn begun_in(&self, slot: Slot) -> u64 {
        self.slots[slot.0].begun.load(Ordering::SeqCst)
    }
}

/// A change under way.
pub struct Mutation<'a> {
    pair: &'a Pair,
}

impl Drop for Mutation<'_> {
    #[inline]
    fn drop(&mut self) {
        let finished = self.pair.finished.load(Ordering::Relaxed) + 1;
        self.pair.finished.store(finished, Ordering::Release);
    }
}
