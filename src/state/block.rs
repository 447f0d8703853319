//! Blocks: the unit in which due hints, dirty marks and counts are kept.

use std::ops::Range;

use crate::coordinates::Rank;

/// Words per block; few under loom, which explores small models only.
pub const BLOCK_WORDS: u32 = if cfg!(allotd_loom) {
    2
} else if cfg!(allotd_shuttle) {
    64
} else {
    512
};

/// The index of a block in its segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockIndex(pub u32);

impl BlockIndex {
    /// The block of a rank.
    #[inline]
    pub fn of(rank: Rank) -> Self {
        Self(rank.0 / BLOCK_WORDS)
    }

    /// The number of blocks that hold `len` words.
    pub fn count(len: u32) -> u32 {
        len.div_ceil(BLOCK_WORDS)
    }

    /// The block as an index into memory.
    #[inline]
    pub fn index(self) -> usize {
        self.0 as usize
    }

    /// The first rank of the block.
    #[inline]
    pub fn first_rank(self) -> Rank {
        Rank(self.0 * BLOCK_WORDS)
    }

    /// The ranks of the block in a segment of `len` words.
    #[inline]
    pub fn ranks(self, len: u32) -> Range<Rank> {
        let start = self.first_rank();
        start..Rank(start.0.saturating_add(BLOCK_WORDS).min(len))
    }
}
