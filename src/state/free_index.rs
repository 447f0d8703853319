//! The index of free numbers: a tree of bitmaps over the ranks of a segment.
//!
//! A leaf bit says "this rank is probably available". A bit above says "there is something below". Taking a
//! rank is one atomic clear of its leaf bit: the thread that clears it may try the word. The whole index is a
//! hint that is rebuilt from the words at start.
//!
//! The races, and why nothing is lost:
//!
//! 1. *Two threads take one bit.* `fetch_and` returns the old bits, so exactly one of them sees that it
//!    cleared the bit.
//! 2. *A bit above is cleared while another thread puts a bit below.* A thread that puts a bit into an empty
//!    node then reads the bit above and sets it if it is clear. A thread that clears the bit above then reads
//!    the node below and sets the bit again if the node is not zero. In the single order of these `SeqCst`
//!    operations, one of the two reads comes after the other's write.
//! 3. *In the middle of 2* a bit is set below a cleared one, and a search does not find it. Both changes
//!    count as under way in [`Mutations`], so the search is not believed.
//! 4. *A bit above with nothing below* remains where few ranks are free, and after 2. A search that meets one
//!    clears it as in 2.
//!
//! A rank that is [blocked](super::blocked) has its bit beside the index instead of in it. The bit of an
//! available number is in one of the two places, or some thread has it. A bit enters the index by
//! `FreeIndex::place` only, those of a leaf together by `FreeIndex::place_bits`, whatever the reason is:
//!
//! 5. *A rank is blocked while another thread places its bit.* Who places the bit then reads whether the rank is
//!    blocked; who blocks (or unblocks) the rank then takes the bit from where it is wrong by now. In the single
//!    order of these `SeqCst` operations one of the two sees what the other has done, and `fetch_and` decides
//!    which of them moves the bit. So once both are done the bit is where it belongs.
//! 6. *In the middle of 5* the bit of a blocked rank can be in the index for a moment, and a lease can take it.
//!    The thread that placed it had asked before the rank was blocked. So it is gone when all threads that were
//!    changing words then have come to rest, and the lease is made when those that were changing words after
//!    that have. Whoever confirms that a rank is blocked waits for both (`Journal::settled_position`).

use std::ops::Range;

use crate::coordinates::Rank;
use crate::sys::atomics::{AtomicU64, Ordering, total_order_for_loom};
use crate::sys::prefetch::prefetch;
use crate::sys::slot::Slot;

use super::blocked::Blocked;
use super::mutations::Mutations;

/// Bits per node: 64, or few under loom so that small models have all levels.
pub(super) const NODE_BITS: u32 = if cfg!(allotd_loom) { 2 } else { 64 };
pub(super) const NODE_SHIFT: u32 = NODE_BITS.trailing_zeros();
const NODE_MASK: u64 = u64::MAX >> (64 - NODE_BITS);

/// Ranks taken from one leaf: bit `i` of `bits` is the rank `base + i`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Taken {
    /// Rank of bit 0.
    pub base: Rank,
    /// The ranks taken.
    pub bits: u64,
}

impl Taken {
    /// The ranks, ascending.
    #[inline]
    pub fn ranks(self) -> impl Iterator<Item = Rank> {
        let mut bits = self.bits;
        std::iter::from_fn(move || {
            let bit = (bits != 0).then(|| bits.trailing_zeros())?;
            bits &= bits - 1;
            Some(Rank(self.base.0 + bit))
        })
    }
}

/// The tree of bitmaps that finds free ranks.
pub struct FreeIndex {
    len: u32,
    /// `levels[0]` are the leaves; the last level is one node.
    levels: Vec<Box<[AtomicU64]>>,
    blocked: Blocked,
    mutations: Mutations,
}

/// The bits of a node from `from` on (`from` below [`NODE_BITS`]).
fn bits_from(from: u32) -> u64 {
    (NODE_MASK >> from) << from
}

fn lowest(bits: u64, count: u32) -> u64 {
    if bits.count_ones() <= count {
        return bits;
    }
    let mut rest = bits;
    for _ in 0..count {
        rest &= rest - 1;
    }
    bits ^ rest
}

impl FreeIndex {
    /// An index of `len` ranks whose leaf `i` is `leaf(i)`; bits past the end must be clear. No rank is blocked:
    /// block those that are before the index is used.
    pub fn build(len: u32, slots: usize, leaves: impl IntoIterator<Item = u64>) -> Self {
        let mut nodes: Vec<u64> = leaves.into_iter().collect();
        nodes.resize(len.div_ceil(NODE_BITS).max(1) as usize, 0);
        let mut levels = Vec::new();
        loop {
            let above: Vec<u64> = nodes
                .chunks(NODE_BITS as usize)
                .map(|chunk| chunk.iter().enumerate().fold(0, |bits, (i, n)| bits | u64::from(*n != 0) << i))
                .collect();
            levels.push(nodes.into_iter().map(AtomicU64::new).collect::<Box<[_]>>());
            if levels.last().is_none_or(|level| level.len() == 1) {
                return Self {
                    len,
                    levels,
                    blocked: Blocked::new(len),
                    mutations: Mutations::new(slots, len),
                };
            }
            nodes = above;
        }
    }

    /// The number of ranks that the index covers.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether the index covers no rank.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The changes under way in this index and in the words under it.
    pub fn mutations(&self) -> &Mutations {
        &self.mutations
    }

    #[inline]
    pub(super) fn node(&self, level: usize, index: u32) -> &AtomicU64 {
        &self.levels[level][index as usize]
    }

    /// Prefetches the leaf of a rank that will be read soon.
    #[inline]
    pub fn prefetch(&self, rank: Rank) {
        prefetch(self.node(0, rank.0 >> NODE_SHIFT));
    }

    /// Which ranks are blocked.
    #[inline]
    pub fn blocked(&self) -> &Blocked {
        &self.blocked
    }

    /// Marks a rank as free, or parks it if it is blocked. Call after its word became available, during a
    /// transition.
    #[inline]
    pub fn put(&self, rank: Rank, slot: Slot) {
        let _mutation = self.mutations.begin(slot, rank);
        self.place(rank, slot);
    }

    /// Puts the bit of a rank, which the caller has, where it belongs.
    #[inline]
    fn place(&self, rank: Rank, slot: Slot) {
        debug_assert!(rank.0 < self.len);
        loop {
            let is_blocked = self.blocked.contains(rank);
            if is_blocked {
                self.blocked.park(rank);
            } else {
                let leaf = rank.0 >> NODE_SHIFT;
                if self.node(0, leaf).fetch_or(1 << (rank.0 % NODE_BITS), Ordering::SeqCst) == 0 {
                    self.announce(0, leaf);
                }
            }
            total_order_for_loom();
            if self.blocked.contains(rank) == is_blocked {
                return;
            }
            let has_bit =
                if is_blocked { self.blocked.unpark(rank) } else { self.take_one(rank, slot).is_some() };
            if !has_bit {
                return;
            }
        }
    }

    /// Takes the bit of a rank, whether the rank is blocked or not. Returns whether the caller has it now, and
    /// with it the right to make the number unavailable. If not, another thread has it or moves it.
    pub fn claim(&self, rank: Rank, slot: Slot) -> bool {
        self.take_one(rank, slot).is_some() || self.blocked.unpark(rank)
    }

    #[inline]
    fn take_one(&self, rank: Rank, slot: Slot) -> Option<Taken> {
        self.take_near(rank..Rank(rank.0 + 1), 1, slot)
    }

    /// Sets the bits above a node that is not zero, up to the first that is set already: a thread that clears
    /// that bit reads the node below it again.
    pub(super) fn announce(&self, level: usize, index: u32) {
        let mut index = index;
        for above in level + 1..self.levels.len() {
            let bit = 1 << (index % NODE_BITS);
            index >>= NODE_SHIFT;
            total_order_for_loom();
            let node = self.node(above, index);
            // Read first: in a nearly empty index the bit is often set, and a load is cheaper than a write.
            if node.load(Ordering::SeqCst) & bit != 0 {
                return;
            }
            if node.fetch_or(bit, Ordering::SeqCst) != 0 {
                return;
            }
        }
    }

    /// Clears the bit above a node that was seen to be zero. The caller holds a
    /// [`Mutation`](super::mutations::Mutation). Nodes higher up keep their bits until a search meets them:
    /// taking a rank and putting it back then writes less per level.
    fn withdraw(&self, level: usize, index: u32) {
        if level + 1 == self.levels.len() {
            return;
        }
        let bit = 1 << (index % NODE_BITS);
        self.node(level + 1, index >> NODE_SHIFT).fetch_and(!bit, Ordering::SeqCst);
        total_order_for_loom();
        if self.node(level, index).load(Ordering::SeqCst) != 0 {
            self.announce(level, index);
        }
    }

    /// The ranks below a node.
    fn ranks_below(&self, level: usize, index: u32) -> Range<Rank> {
        let shift = NODE_SHIFT * (level as u32 + 1);
        let rank = |node: u32| Rank(u64::from(self.len).min(u64::from(node) << shift) as u32);
        rank(index)..rank(index + 1)
    }

    /// Whether a leaf is the only one set in its parent. Then its bit is left for a search to clear: where so
    /// few ranks are free, taking one and putting it back writes nothing above the leaf. A search finds at
    /// most one such bit per parent.
    fn is_alone(&self, leaf: u32) -> bool {
        let above = self.levels.get(1).map(|level| &level[(leaf >> NODE_SHIFT) as usize]);
        above.is_none_or(|above| above.load(Ordering::SeqCst) == 1 << (leaf % NODE_BITS))
    }

    /// Takes up to `count` (at most 64) free ranks from the leaf of `range.start`, within `range`.
    #[inline]
    pub fn take_near(&self, range: Range<Rank>, count: u32, slot: Slot) -> Option<Taken> {
        if range.is_empty() {
            return None;
        }
        let leaf = range.start.0 >> NODE_SHIFT;
        let base = leaf << NODE_SHIFT;
        let mut mask = bits_from(range.start.0 - base);
        if range.end.0 - base < NODE_BITS {
            mask &= !bits_from(range.end.0 - base);
        }
        self.take_masked(leaf, mask, count, slot)
    }

    #[inline]
    pub(super) fn take_masked(&self, leaf: u32, mask: u64, count: u32, slot: Slot) -> Option<Taken> {
        let node = self.node(0, leaf);
        loop {
            let wanted = lowest(node.load(Ordering::SeqCst) & mask, count);
            if wanted == 0 {
                return None;
            }
            let before = node.fetch_and(!wanted, Ordering::SeqCst);
            let won = before & wanted;
            if won == 0 {
                continue;
            }
            if won == before && !self.is_alone(leaf) {
                // The bits above still say "something below": only clearing them can hide a rank.
                let _mutation = self.mutations.begin(slot, Rank(leaf << NODE_SHIFT));
                self.withdraw(0, leaf);
            }
            return Some(Taken { base: Rank(leaf << NODE_SHIFT), bits: won });
        }
    }

    /// Takes up to `count` (at most 64) free ranks from the first leaf at or after `range.start` that has
    /// any. This takes a few loads however few ranks are left. `None` means that none was found, which is
    /// only certain if no mutation ran meanwhile.
    #[inline]
    pub fn take(&self, range: Range<Rank>, count: u32, slot: Slot) -> Option<Taken> {
        let mut range = range.start..range.end.min(Rank(self.len));
        while !range.is_empty() {
            if let Some(taken) = self.take_near(range.clone(), count, slot) {
                return Some(taken);
            }
            let next = self.next_leaf(range.start.0 >> NODE_SHIFT, slot)?;
            range.start = Rank(next << NODE_SHIFT);
        }
        None
    }

    /// The first leaf after `leaf` that seems to have a bit.
    fn next_leaf(&self, leaf: u32, slot: Slot) -> Option<u32> {
        let (mut level, mut index) = (0, leaf);
        loop {
            // Go up until a node has a bit further to the right.
            level += 1;
            if level >= self.levels.len() {
                return None;
            }
            let (bit, above) = (index % NODE_BITS, index >> NODE_SHIFT);
            let further = if bit + 1 == NODE_BITS { 0 } else { bits_from(bit + 1) };
            let found = self.node(level, above).load(Ordering::SeqCst) & further;
            if found == 0 {
                index = above;
                continue;
            }
            // Go down along the lowest bits.
            index = (above << NODE_SHIFT) + found.trailing_zeros();
            loop {
                level -= 1;
                let below = self.node(level, index).load(Ordering::SeqCst);
                if below == 0 {
                    let _mutation = self.mutations.begin_over(slot, &self.ranks_below(level, index));
                    self.withdraw(level, index);
                    break; // continue upwards from this empty node
                }
                if level == 0 {
                    return Some(index);
                }
                index = (index << NODE_SHIFT) + below.trailing_zeros();
            }
        }
    }

    /// As [`Self::take`], but reads every leaf. So it also finds ranks below a bit that is cleared for a
    /// moment.
    pub fn take_scanning(&self, range: Range<Rank>, count: u32, slot: Slot) -> Option<Taken> {
        let end = range.end.min(Rank(self.len));
        let mut start = range.start;
        while start < end {
            if let Some(taken) = self.take_near(start..end, count, slot) {
                return Some(taken);
            }
            start = Rank(((start.0 >> NODE_SHIFT) + 1) << NODE_SHIFT);
        }
        None
    }

    /// The number of ranks marked free; exact while nobody changes the index.
    pub fn count(&self) -> u64 {
        self.levels[0].iter().map(|node| u64::from(node.load(Ordering::Relaxed).count_ones())).sum()
    }

    /// The number of ranks among some that are marked free; exact while nobody changes the index.
    pub fn count_in(&self, ranks: &Range<Rank>) -> u64 {
        let end = ranks.end.0.min(self.len);
        let mut count = 0;
        let mut start = ranks.start.0;
        while start < end {
            let next = ((start >> NODE_SHIFT) + 1) << NODE_SHIFT;
            let mut bits = self.node(0, start >> NODE_SHIFT).load(Ordering::Relaxed);
            bits &= u64::MAX << (start % NODE_BITS);
            if end < next {
                bits &= !(u64::MAX << (end % NODE_BITS));
            }
            count += u64::from(bits.count_ones());
            start = next;
        }
        count
    }

    /// Whether a rank is marked free.
    pub fn contains(&self, rank: Rank) -> bool {
        let leaf = self.node(0, rank.0 >> NODE_SHIFT).load(Ordering::SeqCst);
        leaf & (1 << (rank.0 % NODE_BITS)) != 0
    }
}

#[cfg(test)]
#[cfg(not(allotd_loom))]
mod tests;
