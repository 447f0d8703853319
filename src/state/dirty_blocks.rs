//! Which blocks of words changed since they were last written to their file.
//!
//! A change writes its word, then marks the block. The checkpoint takes the mark, then reads the words.
//! All of these are `SeqCst` and have a single order. A change that finds the mark set and leaves it comes
//! before the mark is taken, so the checkpoint reads its word. A change that comes later sets the mark again.

use std::ops::Range;

use crate::coordinates::Rank;
use crate::sys::atomics::{AtomicU64, Ordering, total_order_for_loom};

use super::block::BlockIndex;

/// One dirty bit per block of words.
pub struct DirtyBlocks {
    len: u32,
    marks: Box<[AtomicU64]>,
}

impl DirtyBlocks {
    /// Marks for `len` words, none set.
    pub fn new(len: u32) -> Self {
        let marks = BlockIndex::count(len).div_ceil(u64::BITS);
        Self { len, marks: (0..marks).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Marks the block of a changed word. Call after the word is written.
    #[inline]
    pub fn mark(&self, rank: Rank) {
        let block = BlockIndex::of(rank).0;
        let (mark, bit) = (&self.marks[(block / u64::BITS) as usize], 1 << (block % u64::BITS));
        total_order_for_loom();
        if mark.load(Ordering::SeqCst) & bit == 0 {
            mark.fetch_or(bit, Ordering::SeqCst);
        }
    }

    /// The number of blocks.
    pub fn blocks(&self) -> u32 {
        BlockIndex::count(self.len)
    }

    /// Takes the marks of a range of blocks and returns the ranks of each marked block, ascending. The range
    /// begins at a multiple of 64 and ends at one or at the last block.
    pub fn take(&self, blocks: Range<BlockIndex>) -> Vec<Range<Rank>> {
        let mut taken = Vec::new();
        for index in blocks.start.0 / u64::BITS..blocks.end.0.div_ceil(u64::BITS) {
            let mark = &self.marks[index as usize];
            let mut bits = mark.load(Ordering::SeqCst);
            while bits != 0 {
                let bit = bits & bits.wrapping_neg();
                bits ^= bit;
                mark.fetch_and(!bit, Ordering::SeqCst);
                total_order_for_loom();
                taken.push(BlockIndex(index * u64::BITS + bit.trailing_zeros()).ranks(self.len));
            }
        }
        taken
    }
}

#[cfg(test)]
#[cfg(not(allotd_loom))]
mod tests {
    use crate::state::block::BLOCK_WORDS;

    use super::*;

    #[test]
    fn marks_are_taken_once_in_order_and_in_parts() {
        let dirty = DirtyBlocks::new(BLOCK_WORDS * 200 + 3);
        for block in [199, 0, 64, 200, 63, 0] {
            dirty.mark(Rank(block * BLOCK_WORDS + 2));
        }
        let starts = |blocks: &[Range<Rank>]| -> Vec<_> {
            blocks.iter().map(|ranks| BlockIndex::of(ranks.start).0).collect()
        };
        assert_eq!(starts(&dirty.take(BlockIndex(0)..BlockIndex(64))), [0, 63]);
        let rest = dirty.take(BlockIndex(64)..BlockIndex(dirty.blocks()));
        assert_eq!(starts(&rest), [64, 199, 200]);
        assert_eq!(rest.last(), Some(&(Rank(BLOCK_WORDS * 200)..Rank(BLOCK_WORDS * 200 + 3))));
        assert!(dirty.take(BlockIndex(0)..BlockIndex(dirty.blocks())).is_empty());
    }
}
