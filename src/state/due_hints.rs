//! Hints of when the next word is due. Each block has a hint: a lower bound of the earliest `until` among its
//! words. Two more levels summarize the blocks, so the sweep reads only blocks that are due.
//!
//! A change writes its word, then lowers the hints ([`DueHints::note`]). The sweep changes the due words of a
//! block. Then it raises the block's hint, reads the words again, and lowers the hint to the earliest `until`
//! it read. All of these
//! are `SeqCst` and have a single order. Either the change reads the hint after it is raised, and lowers it
//! again, or its word is written before the sweep reads it. The same holds between each level and the one
//! above.
//!
//! A hint stays due until everything below it is swept. So a caller that must know whether anything is left to
//! sweep reads the hints, and can help: several threads may sweep one block, and each word is swept by one.

use std::ops::Range;

use crate::coordinates::Rank;
use crate::sys::atomics::{AtomicU32, Ordering, total_order_for_loom};
use crate::sys::prefetch::prefetch;

use super::block::BlockIndex;
use super::time::Timestamp;

/// Blocks per group.
const GROUP_BLOCKS: u32 = if cfg!(allotd_loom) { 2 } else { 64 };
/// The hint of a block in which nothing is due.
const NEVER: u32 = u32::MAX;

/// The hints of all blocks, of groups of blocks, and of the whole segment.
pub struct DueHints {
    len: u32,
    blocks: Box<[AtomicU32]>,
    groups: Box<[AtomicU32]>,
    all: AtomicU32,
}

/// Lowers a hint. Writes only if the hint is higher.
#[inline]
fn lower(hint: &AtomicU32, until: u32) {
    total_order_for_loom();
    if hint.load(Ordering::SeqCst) > until {
        hint.fetch_min(until, Ordering::SeqCst);
    }
}

fn earliest(hints: &[AtomicU32]) -> u32 {
    hints.iter().map(|hint| hint.load(Ordering::SeqCst)).min().unwrap_or(NEVER)
}

impl DueHints {
    /// Hints for `len` words of which none is due.
    pub fn new(len: u32) -> Self {
        let hints = |count: u32| (0..count).map(|_| AtomicU32::new(NEVER)).collect();
        let blocks = BlockIndex::count(len);
        Self {
            len,
            blocks: hints(blocks),
            groups: hints(blocks.div_ceil(GROUP_BLOCKS)),
            all: AtomicU32::new(NEVER),
        }
    }

    /// Notes that a word is due at `until`. Call after the word is written.
    #[inline]
    pub fn note(&self, rank: Rank, until: Timestamp) {
        let block = BlockIndex::of(rank);
        lower(&self.blocks[block.index()], until.seconds());
        lower(&self.groups[(block.0 / GROUP_BLOCKS) as usize], until.seconds());
        lower(&self.all, until.seconds());
    }

    /// Prefetches the hint of a word that will change soon.
    #[inline]
    pub fn prefetch(&self, rank: Rank) {
        prefetch(&self.blocks[BlockIndex::of(rank).index()]);
    }

    /// Nothing is due before this time; `None` if nothing is due at all.
    pub fn earliest(&self) -> Option<Timestamp> {
        total_order_for_loom();
        let hint = self.all.load(Ordering::SeqCst);
        (hint != NEVER).then(|| Timestamp::new(hint))
    }

    /// Whether a block may have to be swept.
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.earliest().is_some_and(|earliest| earliest <= now)
    }

    /// A block of these ranks that may have to be swept. The search starts at group `cursor` (0 at first) and
    /// wraps around, so that all due blocks take one pass.
    pub fn due_block(&self, now: Timestamp, ranks: &Range<Rank>, cursor: &mut usize) -> Option<BlockIndex> {
        if ranks.is_empty() || !self.is_due(now) {
            return None;
        }
        let (first, last) = (BlockIndex::of(ranks.start), BlockIndex::of(Rank(ranks.end.0 - 1)));
        let (from, to) = (first.0 / GROUP_BLOCKS, last.0 / GROUP_BLOCKS);
        let groups = to - from + 1;
        for step in 0..groups {
            let group = from + (*cursor as u32 + step) % groups;
            if self.groups[group as usize].load(Ordering::SeqCst) > now.seconds() {
                continue;
            }
            let blocks = self.blocks_of(group as usize);
            let blocks = blocks.start.max(first.index())..blocks.end.min(last.index() + 1);
            let is_due = |block: &usize| self.blocks[*block].load(Ordering::SeqCst) <= now.seconds();
            if let Some(block) = blocks.into_iter().find(is_due) {
                *cursor = (group - from) as usize;
                return Some(BlockIndex(block as u32));
            }
        }
        None
    }

    /// Raises the hint of a block to what `earliest` returns, which reads its words.
    ///
    /// The caller must hold a [`Mutation`](super::mutations::Mutation) of its ranks.
    pub fn settle(&self, block: BlockIndex, earliest: impl FnOnce() -> Option<Timestamp>) {
        self.blocks[block.index()].swap(NEVER, Ordering::SeqCst);
        total_order_for_loom();
        if let Some(until) = earliest() {
            self.note(block.first_rank(), until);
        }
    }

    /// Raises the hints of the groups that have no due block any more, and the hint of all.
    ///
    /// The caller must hold a [`Mutation`](super::mutations::Mutation) of all ranks.
    pub fn settle_groups(&self, now: Timestamp) {
        for (group, hint) in self.groups.iter().enumerate() {
            if hint.load(Ordering::SeqCst) <= now.seconds() {
                Self::raise(hint, &self.blocks[self.blocks_of(group)], &self.all);
            }
        }
        Self::raise(&self.all, &self.groups, &self.all);
    }

    /// Sets a hint to the earliest of those below it, and lowers `above` to the same time.
    fn raise(hint: &AtomicU32, below: &[AtomicU32], above: &AtomicU32) {
        hint.swap(NEVER, Ordering::SeqCst);
        total_order_for_loom();
        let until = earliest(below);
        lower(hint, until);
        lower(above, until);
    }

    fn blocks_of(&self, group: usize) -> Range<usize> {
        let start = group * GROUP_BLOCKS as usize;
        start..(start + GROUP_BLOCKS as usize).min(self.blocks.len())
    }

    /// The ranks of a block.
    pub fn ranks_of(&self, block: BlockIndex) -> Range<Rank> {
        block.ranks(self.len)
    }

    /// The block with the earliest hint among those that touch `ranks` and are not yet in `seen`.
    pub fn earliest_block(
        &self,
        ranks: &Range<Rank>,
        seen: &[BlockIndex],
    ) -> Option<(BlockIndex, Timestamp)> {
        if ranks.is_empty() {
            return None;
        }
        let (first, last) = (BlockIndex::of(ranks.start), BlockIndex::of(Rank(ranks.end.0 - 1)));
        let mut best = (first, NEVER);
        for group in first.0 / GROUP_BLOCKS..=last.0 / GROUP_BLOCKS {
            if self.groups[group as usize].load(Ordering::SeqCst) >= best.1 {
                continue;
            }
            for block in self.blocks_of(group as usize) {
                let hint = self.blocks[block].load(Ordering::SeqCst);
                let block = BlockIndex(block as u32);
                if hint < best.1 && (first..=last).contains(&block) && !seen.contains(&block) {
                    best = (block, hint);
                }
            }
        }
        (best.1 != NEVER).then(|| (best.0, Timestamp::new(best.1)))
    }
}

#[cfg(test)]
#[cfg(not(allotd_loom))]
mod tests {
    use crate::state::block::BLOCK_WORDS;

    use super::*;

    fn at(seconds: u32) -> Timestamp {
        Timestamp::new(seconds)
    }

    #[test]
    fn sweeps_each_due_block_once_and_no_other() {
        let words = BLOCK_WORDS * GROUP_BLOCKS * 3 + 7;
        let all = Rank(0)..Rank(words);
        let due = DueHints::new(words);
        assert_eq!(due.earliest(), None);
        due.note(Rank(5), at(10));
        due.note(Rank(words - 1), at(20));
        due.note(Rank(BLOCK_WORDS * GROUP_BLOCKS), at(30));
        assert_eq!(due.earliest(), Some(at(10)));
        let mut swept = Vec::new();
        let mut cursor = 0;
        while let Some(block) = due.due_block(at(25), &all, &mut cursor) {
            swept.push(block.0);
            due.settle(block, || (block.0 == 0).then_some(at(40)));
        }
        due.settle_groups(at(25));
        swept.sort_unstable();
        assert_eq!(swept, [0, (words - 1) / BLOCK_WORDS]);
        assert_eq!(due.earliest(), Some(at(30)));
        assert_eq!(due.earliest_block(&all, &[]), Some((BlockIndex(GROUP_BLOCKS), at(30))));
        assert_eq!(due.earliest_block(&all, &[BlockIndex(GROUP_BLOCKS)]), Some((BlockIndex(0), at(40))));
        assert_eq!(due.earliest_block(&(Rank(BLOCK_WORDS)..Rank(words)), &[BlockIndex(GROUP_BLOCKS)]), None);
    }

    #[test]
    fn stays_due_until_all_below_is_swept() {
        let due = DueHints::new(BLOCK_WORDS * 4);
        for block in 0..4 {
            due.note(BlockIndex(block).first_rank(), at(1));
        }
        let mut cursor = 0;
        let all = Rank(0)..Rank(BLOCK_WORDS * 4);
        for _ in 0..4 {
            assert!(due.is_due(at(1)));
            let block = due.due_block(at(1), &all, &mut cursor).unwrap();
            due.settle(block, || None);
        }
        assert_eq!(due.due_block(at(1), &all, &mut cursor), None);
        due.settle_groups(at(1));
        assert!(!due.is_due(at(1)));
    }

    #[test]
    fn finds_due_blocks_of_some_ranks_only() {
        let due = DueHints::new(BLOCK_WORDS * 4);
        due.note(BlockIndex(2).first_rank(), at(1));
        let before = Rank(0)..BlockIndex(2).first_rank();
        assert_eq!(due.due_block(at(1), &before, &mut 0), None);
        let last = Rank(BLOCK_WORDS * 3 - 1)..Rank(BLOCK_WORDS * 3);
        assert_eq!(due.due_block(at(1), &last, &mut 0), Some(BlockIndex(2)));
    }
}
