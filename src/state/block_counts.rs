//! Counts of the words in each state, per block. They let a map of a whole pool be drawn without reading
//! its words.
//!
//! A change is counted after its word is written. So a block can briefly lag behind, or count two changes in
//! the other order. While no change is under way the counts are exact.

use std::ops::Range;

// Std's atomics also under loom: no decision depends on these counts, and each would multiply the states
// that the models explore.
use std::sync::atomic::{AtomicU64, Ordering};

use crate::coordinates::{self, Rank};
use crate::sys::prefetch::prefetch;

use super::block::{BLOCK_WORDS, BlockIndex};
use super::number_state::State;

/// Bits per count: enough for all words of a block, with headroom for counts that lag behind.
const COUNT_BITS: u32 = 16;
/// The states that are counted. The remaining words of a block are available.
const COUNTED: [State; 4] = [State::Leased, State::Resting, State::Done, State::Retired];

/// How many words of each block are in each state: one atomic per block holds four counts.
pub struct BlockCounts {
    blocks: Box<[AtomicU64]>,
}

/// The number of words in each state, indexed by [`State`]: all but `Blocked`, which no word says.
pub type StateCounts = [u32; State::Retired as usize + 1];

/// What one word in a state adds to the counts of its block; 0 for `Available`.
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
        Self { blocks: (0..BlockIndex::count(len)).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Adds the words found in the block of a rank; `words` is a sum of [`one`]s.
    pub fn found(&self, rank: Rank, words: u64) {
        self.blocks[BlockIndex::of(rank).index()].fetch_add(words, Ordering::Relaxed);
    }

    /// Counts a change of state. Call after the word is written.
    #[inline]
    pub fn moved(&self, rank: Rank, from: State, to: State) {
        let change = one(to).wrapping_sub(one(from));
        if change != 0 {
            // Relaxed: only maps read it, and they order nothing by it.
            self.blocks[BlockIndex::of(rank).index()].fetch_add(change, Ordering::Relaxed);
        }
    }

    /// Prefetches the counts of a word that will change soon.
    #[inline]
    pub fn prefetch(&self, rank: Rank) {
        prefetch(&self.blocks[BlockIndex::of(rank).index()]);
    }

    /// The counts of one block. `ranks` is the block's range and begins at a multiple of [`BLOCK_WORDS`].
    pub fn of_block(&self, ranks: &Range<Rank>) -> StateCounts {
        let words = coordinates::count(ranks);
        let sums = self.blocks[BlockIndex::of(ranks.start).index()].load(Ordering::Relaxed);
        let mut counts = StateCounts::default();
        let mut rest = words;
        for (place, state) in COUNTED.into_iter().enumerate() {
            let sum = (sums >> (COUNT_BITS * place as u32)) as u16;
            // A count below zero or above the block's size: another thread is between its changes.
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
        let (first, last) = (Rank(0)..Rank(BLOCK_WORDS), Rank(BLOCK_WORDS)..Rank(BLOCK_WORDS + 3));
        for _ in 0..BLOCK_WORDS {
            counts.moved(Rank(5), State::Available, State::Leased);
        }
        counts.moved(Rank(BLOCK_WORDS - 1), State::Leased, State::Retired);
        counts.moved(Rank(BLOCK_WORDS), State::Available, State::Done);
        assert_eq!(counts.of_block(&first), [0, 511, 0, 0, 1]);
        assert_eq!(counts.of_block(&last), [2, 0, 0, 1, 0]);
        // The return is counted before the lease that it ends.
        counts.moved(Rank(BLOCK_WORDS + 1), State::Leased, State::Resting);
        assert!(counts.of_block(&last).iter().sum::<u32>() == 3);
        counts.moved(Rank(BLOCK_WORDS + 1), State::Available, State::Leased);
        assert_eq!(counts.of_block(&last), [1, 0, 1, 1, 0]);
        counts.found(Rank(0), one(State::Leased).wrapping_neg());
        assert_eq!(counts.of_block(&first), [1, 510, 0, 0, 1]);
    }
}
