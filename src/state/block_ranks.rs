//! Blocking ranks of a free index and freeing them again, those of one leaf together.
//!
//! Each bit moves as [`super::free_index`] says at 5 and 6. Several of them take the same few atomic operations as
//! one does.

use crate::coordinates::Rank;
use crate::sys::atomics::{Ordering, total_order_for_loom};
use crate::sys::slot::Slot;

use super::free_index::{FreeIndex, NODE_BITS, NODE_SHIFT, Taken};

impl Taken {
    /// One rank.
    pub fn one(rank: Rank) -> Self {
        Self { base: Rank(rank.0 >> NODE_SHIFT << NODE_SHIFT), bits: 1 << (rank.0 % NODE_BITS) }
    }
}

impl FreeIndex {
    /// Blocks a rank. Returns whether it was not blocked. A lease of it may be in progress: see 6 of
    /// [`super::free_index`].
    pub fn block(&self, rank: Rank, slot: Slot) -> bool {
        self.block_in_leaf(Taken::one(rank), slot) != 0
    }

    /// Makes a rank as if it had not been blocked. Returns whether it was.
    pub fn unblock(&self, rank: Rank, slot: Slot) -> bool {
        self.unblock_in_leaf(Taken::one(rank), slot) != 0
    }

    /// As [`Self::block`], for ranks of one leaf. Returns the bits of those that were not blocked.
    pub fn block_in_leaf(&self, ranks: Taken, slot: Slot) -> u64 {
        let _mutation = self.mutations().begin(slot, ranks.base);
        let new = self.blocked().insert(ranks.base, ranks.bits);
        total_order_for_loom();
        let taken = self.take_bits(ranks.base, ranks.bits, slot);
        self.place_bits(ranks.base, taken, slot);
        new
    }

    /// As [`Self::unblock`], for ranks of one leaf. Returns the bits of those that were blocked.
    pub fn unblock_in_leaf(&self, ranks: Taken, slot: Slot) -> u64 {
        // Begun before: from the moment that they are not blocked, no search that misses them may be believed.
        let _mutation = self.mutations().begin(slot, ranks.base);
        let were = self.blocked().remove(ranks.base, ranks.bits);
        total_order_for_loom();
        let taken = self.blocked().unpark_bits(ranks.base, ranks.bits);
        self.place_bits(ranks.base, taken, slot);
        were
    }

    /// Takes those of some ranks of a leaf that are free.
    fn take_bits(&self, base: Rank, bits: u64, slot: Slot) -> u64 {
        let mut all = 0;
        while let Some(taken) = self.take_masked(base.0 >> NODE_SHIFT, bits, NODE_BITS, slot) {
            all |= taken.bits;
        }
        all
    }

    /// Puts bits of a leaf, which the caller has, where they belong.
    fn place_bits(&self, base: Rank, mut bits: u64, slot: Slot) {
        let leaf = base.0 >> NODE_SHIFT;
        while bits != 0 {
            let parked = self.blocked().among(base, bits);
            let free = bits & !parked;
            self.blocked().park_bits(base, parked);
            if free != 0 && self.node(0, leaf).fetch_or(free, Ordering::SeqCst) == 0 {
                self.announce(0, leaf);
            }
            total_order_for_loom();
            let blocked = self.blocked().among(base, bits);
            bits = self.blocked().unpark_bits(base, parked & !blocked)
                | self.take_bits(base, free & blocked, slot);
        }
    }
}

#[cfg(test)]
#[cfg(not(allotd_loom))]
mod tests {
    use super::*;

    const SLOT: Slot = Slot(0);

    #[test]
    fn ranks_of_a_leaf_are_blocked_together_as_one_by_one() {
        let leaves = || [u64::MAX, 0xFF00, u64::MAX, 0];
        let (together, alone) = (FreeIndex::build(256, 1, leaves()), FreeIndex::build(256, 1, leaves()));
        let masks = [(0, 0xF0F0), (64, 0xFFFF), (192, u64::MAX), (0, 0xFF), (128, 1 << 63)];
        for turn in 0..2 {
            for (base, bits) in masks {
                let ranks = Taken { base: Rank(base), bits };
                let changed = if turn == 0 {
                    together.block_in_leaf(ranks, SLOT)
                } else {
                    together.unblock_in_leaf(ranks, SLOT)
                };
                for rank in ranks.ranks() {
                    let was = if turn == 0 { alone.block(rank, SLOT) } else { alone.unblock(rank, SLOT) };
                    assert_eq!(was, changed >> (rank.0 - base) & 1 == 1, "{rank:?}");
                }
                for rank in (0..256).map(Rank) {
                    assert_eq!(together.contains(rank), alone.contains(rank), "{rank:?}");
                }
                assert_eq!(together.blocked().parked(), alone.blocked().parked());
            }
        }
        assert_eq!((together.count(), together.blocked().parked()), (64 + 8 + 64, 0));
    }
}
