//! Where to look for what a holder has: one byte per rank that says which ids its entry in the column can have. So a list of
//! what a holder has reads an eighth of the column, and of the column itself about one entry in 255.
//!
//! A rank's byte is written before its entry, by whoever writes that. Eight of them are one atomic word.

use std::ops::Range;

use crate::coordinates::Rank;
use crate::sys::atomics::{AtomicU64, Ordering};

const RANKS_PER_WORD: u32 = 8;
const BYTE_BITS: u32 = 8;
/// The lowest and the highest bit of each byte.
const LOW: u64 = u64::from_le_bytes([1; 8]);
const HIGH: u64 = LOW << 7;
/// Words that are searched together: a line of the cache.
const WORDS_AT_ONCE: usize = 8;
/// Bytes that stand for holders.
const HINTS: u64 = 255;

/// The bytes of a segment.
pub(super) struct HolderHints(Box<[AtomicU64]>);

/// The byte of a holder's id; 0 is that of nobody.
fn hint(holder: u64) -> u64 {
    if holder == 0 { 0 } else { holder % HINTS + 1 }
}

fn place(rank: Rank) -> (usize, u32) {
    ((rank.0 / RANKS_PER_WORD) as usize, rank.0 % RANKS_PER_WORD * BYTE_BITS)
}

/// The highest bits of the bytes of a word that are zero. Those above one of them can be set too.
fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(LOW) & !word & HIGH
}

impl HolderHints {
    /// Nobody has any of `len` ranks.
    pub(super) fn new(len: u32) -> Self {
        Self((0..len.div_ceil(RANKS_PER_WORD)).map(|_| AtomicU64::new(0)).collect())
    }

    /// Whose entry a rank has from now on.
    #[inline]
    pub(super) fn put(&self, rank: Rank, holder: u64) {
        let (word, shift) = place(rank);
        let word = &self.0[word];
        let mut before = word.load(Ordering::Relaxed);
        loop {
            let after = before & !(0xFF << shift) | hint(holder) << shift;
            // The entry that is written after it publishes it.
            if after == before {
                return;
            }
            match word.compare_exchange(before, after, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => before = now,
            }
        }
    }

    #[inline]
    pub(super) fn prefetch(&self, rank: Rank) {
        crate::sys::prefetch::prefetch(&self.0[place(rank).0]);
    }

    /// Calls `each` with some ranks, among them all whose entries name the holder.
    #[inline]
    pub(super) fn each_of(&self, ranks: Range<u32>, holder: u64, mut each: impl FnMut(Rank)) {
        let pattern = LOW * hint(holder);
        let words = ranks.start / RANKS_PER_WORD..ranks.end.div_ceil(RANKS_PER_WORD);
        let mut base = words.start * RANKS_PER_WORD;
        for chunk in self.0[words.start as usize..words.end as usize].chunks(WORDS_AT_ONCE) {
            let zeros = |word: &AtomicU64| zero_bytes(word.load(Ordering::Acquire) ^ pattern);
            // In most chunks there is nothing: one branch for all of it.
            if chunk.iter().fold(0, |any, word| any | zeros(word)) == 0 {
                base += chunk.len() as u32 * RANKS_PER_WORD;
                continue;
            }
            for word in chunk {
                let mut zeros = zeros(word);
                while zeros != 0 {
                    let rank = base + zeros.trailing_zeros() / BYTE_BITS;
                    zeros &= zeros - 1;
                    if ranks.contains(&rank) {
                        each(Rank(rank));
                    }
                }
                base += RANKS_PER_WORD;
            }
        }
    }
}

#[cfg(test)]
#[cfg(not(allotd_loom))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_rank_of_a_holder_is_missed(puts in prop::collection::vec((0_u32..100, 0_u64..600), 0..300), start in 0_u32..100, count in 0_u32..100) {
            let (hints, mut last) = (HolderHints::new(100), [0; 100]);
            for (rank, holder) in puts {
                hints.put(Rank(rank), holder);
                last[rank as usize] = holder;
            }
            let ranks = start..(start + count).min(100);
            for holder in 1..600 {
                let mut found = Vec::new();
                hints.each_of(ranks.clone(), holder, |rank| found.push(rank.0));
                prop_assert!(found.is_sorted() && found.iter().all(|rank| ranks.contains(rank)));
                for rank in ranks.clone().filter(|rank| last[*rank as usize] == holder) {
                    prop_assert!(found.contains(&rank), "{rank} of {holder}");
                }
                let byte = |holder: u64| holder.checked_sub(1).map(|_| holder % HINTS);
                let same = last.iter().filter(|last| byte(**last) == byte(holder)).count();
                prop_assert!(same > 0 || found.is_empty(), "nothing is to be found in {found:?}");
            }
        }
    }
}
