//! When the next word's time comes: for each block of words a hint, the earliest `until` among them
//! or earlier, and two levels of the same above, so that the sweep looks only at blocks that are due.
//!
//! A change writes its word, then lowers the hints ([`DueHints::note`]). The sweep raises the hint of
//! a block, then reads the block's words, then lowers the hint to the earliest it saw. All of these
//! are `SeqCst`, so in their single order either the change looked at the hint after it was raised,
//! and lowers it again, or its word was there before the sweep read it. The same holds between each
//! level and the one above.
//!
//! An upper hint stays due until everything below was swept: a caller that must know whether
//! anything is still to be swept reads one number, and can help.

use std::ops::Range;

use crate::sys::atomics::{AtomicU32, Ordering, total_order_for_loom};
use crate::sys::prefetch::prefetch;

use super::time::Timestamp;

/// Words a block.
pub const BLOCK_WORDS: u32 = if cfg!(allotd_loom) { 2 } else { 512 };
/// Blocks a group.
const GROUP_BLOCKS: u32 = if cfg!(allotd_loom) { 2 } else { 64 };
/// The hint of a block in which nothing ends.
const NEVER: u32 = u32::MAX;

/// See the module.
pub struct DueHints {
    len: u32,
    blocks: Box<[AtomicU32]>,
    groups: Box<[AtomicU32]>,
    all: AtomicU32,
}

/// Lowers a hint, writing only if it has to.
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
    /// Hints for `len` words, in which nothing ends yet.
    pub fn new(len: u32) -> Self {
        let hints = |count: u32| (0..count).map(|_| AtomicU32::new(NEVER)).collect();
        let blocks = len.div_ceil(BLOCK_WORDS);
        Self {
            len,
            blocks: hints(blocks),
            groups: hints(blocks.div_ceil(GROUP_BLOCKS)),
            all: AtomicU32::new(NEVER),
        }
    }

    /// Says that a word now ends at `until`. To be called after the word was written.
    #[inline]
    pub fn note(&self, rank: u32, until: Timestamp) {
        let block = rank / BLOCK_WORDS;
        lower(&self.blocks[block as usize], until.seconds());
        lower(&self.groups[(block / GROUP_BLOCKS) as usize], until.seconds());
        lower(&self.all, until.seconds());
    }

    /// Asks the processor to fetch the hint of a word that will change soon.
    #[inline]
    pub fn prefetch(&self, rank: u32) {
        prefetch(&self.blocks[(rank / BLOCK_WORDS) as usize]);
    }

    /// Nothing ends before this time, if anything at all.
    pub fn earliest(&self) -> Option<Timestamp> {
        total_order_for_loom();
        let hint = self.all.load(Ordering::SeqCst);
        (hint != NEVER).then(|| Timestamp::new(hint))
    }

    /// Whether a block may have to be swept.
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.earliest().is_some_and(|earliest| earliest <= now)
    }

    /// Sweeps one due block: `sweep` gets its ranks and answers with the earliest time at which
    /// something in it ends after that. `cursor` (0 at first) is where to look first, so that going
    /// through all due blocks costs one pass. Returns whether a block was due.
    ///
    /// The caller counts as mutating the free index while this runs.
    pub fn sweep_one(
        &self,
        now: Timestamp,
        cursor: &mut usize,
        sweep: impl FnOnce(Range<u32>) -> Option<Timestamp>,
    ) -> bool {
        if !self.is_due(now) {
            return false;
        }
        let groups = self.groups.len();
        for step in 0..groups {
            let group = (*cursor + step) % groups;
            if self.groups[group].load(Ordering::SeqCst) > now.seconds() {
                continue;
            }
            if let Some(block) = self.claim_block(group, now) {
                *cursor = group;
                let ranks = self.ranks_of(block);
                if let Some(until) = sweep(ranks.clone()) {
                    self.note(ranks.start, until);
                }
                return true;
            }
            Self::raise(&self.groups[group], &self.blocks[self.blocks_of(group)], &self.all);
        }
        *cursor = 0;
        Self::raise(&self.all, &self.groups, &self.all);
        false
    }

    /// Raises the hint of a due block of the group; whoever raised it sweeps it.
    fn claim_block(&self, group: usize, now: Timestamp) -> Option<u32> {
        for block in self.blocks_of(group) {
            let hint = &self.blocks[block];
            if hint.load(Ordering::SeqCst) > now.seconds() {
                continue;
            }
            let before = hint.swap(NEVER, Ordering::SeqCst);
            total_order_for_loom();
            if before <= now.seconds() {
                return Some(block as u32);
            }
            if before != NEVER {
                self.note(block as u32 * BLOCK_WORDS, Timestamp::new(before));
            }
        }
        None
    }

    /// Sets a hint to the earliest of those below it; `above` is lowered with it.
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
    pub fn ranks_of(&self, block: u32) -> Range<u32> {
        let start = block * BLOCK_WORDS;
        start..start.saturating_add(BLOCK_WORDS).min(self.len)
    }

    /// The block with the earliest hint among those that touch `ranks` and are not yet in `seen`.
    pub fn earliest_block(&self, ranks: Range<u32>, seen: &[u32]) -> Option<(u32, Timestamp)> {
        if ranks.is_empty() {
            return None;
        }
        let (first, last) = (ranks.start / BLOCK_WORDS, (ranks.end - 1) / BLOCK_WORDS);
        let mut best = (0, NEVER);
        for group in first / GROUP_BLOCKS..=last / GROUP_BLOCKS {
            if self.groups[group as usize].load(Ordering::SeqCst) >= best.1 {
                continue;
            }
            for block in self.blocks_of(group as usize) {
                let (block, hint) = (block as u32, self.blocks[block].load(Ordering::SeqCst));
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
    use super::*;

    fn at(seconds: u32) -> Timestamp {
        Timestamp::new(seconds)
    }

    #[test]
    fn sweeps_each_due_block_once_and_no_other() {
        let words = BLOCK_WORDS * GROUP_BLOCKS * 3 + 7;
        let due = DueHints::new(words);
        assert_eq!(due.earliest(), None);
        due.note(5, at(10));
        due.note(words - 1, at(20));
        due.note(BLOCK_WORDS * GROUP_BLOCKS, at(30));
        assert_eq!(due.earliest(), Some(at(10)));
        let mut swept = Vec::new();
        let mut cursor = 0;
        while due.sweep_one(at(25), &mut cursor, |ranks| {
            swept.push(ranks.start / BLOCK_WORDS);
            (ranks.start == 0).then_some(at(40))
        }) {}
        swept.sort_unstable();
        assert_eq!(swept, [0, (words - 1) / BLOCK_WORDS]);
        assert_eq!(due.earliest(), Some(at(30)));
        assert_eq!(due.earliest_block(0..words, &[]), Some((GROUP_BLOCKS, at(30))));
        assert_eq!(due.earliest_block(0..words, &[GROUP_BLOCKS]), Some((0, at(40))));
        assert_eq!(due.earliest_block(BLOCK_WORDS..words, &[GROUP_BLOCKS]), None);
    }

    #[test]
    fn stays_due_until_all_below_is_swept() {
        let due = DueHints::new(BLOCK_WORDS * 4);
        for block in 0..4 {
            due.note(block * BLOCK_WORDS, at(1));
        }
        let mut cursor = 0;
        for _ in 0..4 {
            assert!(due.is_due(at(1)));
            assert!(due.sweep_one(at(1), &mut cursor, |_| None));
        }
        assert!(!due.sweep_one(at(1), &mut cursor, |_| None));
        assert!(!due.is_due(at(1)));
    }
}
