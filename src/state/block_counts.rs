//! How many words of each block are in each state: what a map of a whole pool is drawn from without
//! looking at its words.
//!
//! Each change of a word is told after it was made, so for a moment a block can be behind, or tell of two
//! changes in the other order; when no change is under way the counts are exact.

use std::ops::Range;

// Not those of loom: nothing is decided by these counts, and each would multiply what its models explore.
use std::sync::atomic::{AtomicU64, Ordering};

use crate::sys::prefetch::prefetch;

use super::due_hints::BLOCK_WORDS;
use super::word::State;

/// Bits of a count: enough for all words of a block, with room for sums that are behind.
const COUNT_BITS: u32 = 16;
/// The states that are counted; what is left of a block is available.
const COUNTED: [State; 4] = [State::Leased, State::Resting, State::Done, State::Retired];

/// See the module. One word a block holds four counts.
pub struct BlockCounts {
    blocks: Box<[AtomicU64]>,
}

/// How many words are in each state, by [`State`].
pub type StateCounts = [u32; State::Retired as usize + 1];

/// One word in a state, as it is added to the word of a block; nothing for `Available`.
#[inline]
pub fn one(state: State) -> u64 {
    const ONES: [u64; State::Retired as usize + 1] = {
        let mut ones = [0; State::Retired as usize + 1];
        let mut place = 0;
        while place < COUNTED.len() {
            ones[COUNTED[place] as usize] = 1 << (COUNT_BITS * place as u32);
            place += 1;
        }
        ones
    };
    ONES[state as usize]
}

impl BlockCounts {
    /// Counts of `len` words, all available.
    pub fn new(len: u32) -> Self {
        Self { blocks: (0..len.div_ceil(BLOCK_WORDS)).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Adds words found in a block: a sum of [`one`]s.
    pub fn found(&self, rank: u32, words: u64) {
        self.blocks[(rank / BLOCK_WORDS) as usize].fetch_add(words, Ordering::Relaxed);
    }

    /// Says that a word changed its state. To be called after it was written.
    #[inline]
    pub fn moved(&self, rank: u32, from: State, to: State) {
        let change = one(to).wrapping_sub(one(from));
        if change != 0 {
            // Read by maps alone, which order nothing by it.
            self.blocks[(rank / BLOCK_WORDS) as usize].fetch_add(change, Ordering::Relaxed);
        }
    }

    /// Asks the processor to fetch the counts of a word that will change soon.
    #[inline]
    pub fn prefetch(&self, rank: u32) {
        prefetch(&self.blocks[(rank / BLOCK_WORDS) as usize]);
    }

    /// The words of a block of ranks, which begins at a multiple of [`BLOCK_WORDS`].
    pub fn of_block(&self, ranks: &Range<u32>) -> StateCounts {
        let words = ranks.end - ranks.start;
        let sums = self.blocks[(ranks.start / BLOCK_WORDS) as usize].load(Ordering::Relaxed);
        let mut counts = StateCounts::default();
        let mut rest = words;
        for (place, state) in COUNTED.into_iter().enumerate() {
            let sum = (sums >> (COUNT_BITS * place as u32)) as u16;
            // One below zero, or one too many: another thread is between two changes.
            let count = if u32::from(sum) > BLOCK_WORDS { 0 } else { u32::from(sum).min(rest) };
            counts[state as usize] = count;
            rest -= count;
        }
        counts[State::Available as usize] = rest;
        counts
    }
}

#[cfg(test)]
#[cfg(not(allotd_loom))]
mod tests {
    use super::*;

    #[test]
    fn a_block_counts_its_own_words_and_never_more_than_it_has() {
        let counts = BlockCounts::new(BLOCK_WORDS + 3);
        let (first, last) = (0..BLOCK_WORDS, BLOCK_WORDS..BLOCK_WORDS + 3);
        for _ in 0..BLOCK_WORDS {
            counts.moved(5, State::Available, State::Leased);
        }
        counts.moved(BLOCK_WORDS - 1, State::Leased, State::Retired);
        counts.moved(BLOCK_WORDS, State::Available, State::Done);
        assert_eq!(counts.of_block(&first), [0, 511, 0, 0, 1]);
        assert_eq!(counts.of_block(&last), [2, 0, 0, 1, 0]);
        // The return is told before the lease that it ends.
        counts.moved(BLOCK_WORDS + 1, State::Leased, State::Resting);
        assert!(counts.of_block(&last).iter().sum::<u32>() == 3);
        counts.moved(BLOCK_WORDS + 1, State::Available, State::Leased);
        assert_eq!(counts.of_block(&last), [1, 0, 1, 1, 0]);
        counts.found(0, one(State::Leased).wrapping_neg());
        assert_eq!(counts.of_block(&first), [1, 510, 0, 0, 1]);
    }
}
