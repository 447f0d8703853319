//! The word table: one atomic word per rank, over memory that the caller owns and maps.

use std::ops::Range;

use crate::coordinates::Rank;
use crate::sys::atomics::{AtomicU64, Ordering};
use crate::sys::prefetch::prefetch;

use super::word::Word;

/// The words of a segment. `W` owns the memory: a mapping, or a boxed slice in tests and models.
pub struct WordTable<W> {
    words: W,
}

impl<W: AsRef<[AtomicU64]>> WordTable<W> {
    /// A table over these words, each a little-endian `u64` of [`Word`] bits.
    pub fn new(words: W) -> Self {
        Self { words }
    }

    /// The memory of the words.
    pub fn memory(&self) -> &W {
        &self.words
    }

    /// The number of words.
    pub fn len(&self) -> u32 {
        self.words.as_ref().len() as u32
    }

    /// Whether there is no word.
    pub fn is_empty(&self) -> bool {
        self.words.as_ref().is_empty()
    }

    /// The word of a rank now.
    #[inline]
    pub fn get(&self, rank: Rank) -> Word {
        // SeqCst here and in `update`: `due_hints` and the rounds rely on a single order of words and hints.
        Word::from_bits(u64::from_le(self.words.as_ref()[rank.index()].load(Ordering::SeqCst)))
    }

    /// Applies a pure transition with one compare-exchange, and retries if another thread was faster. Returns
    /// the word before and after, or the transition's error. A transition that returns the word it was given
    /// writes nothing.
    #[inline]
    pub fn update<E>(
        &self,
        rank: Rank,
        mut change: impl FnMut(Word) -> Result<Word, E>,
    ) -> Result<(Word, Word), E> {
        let cell = &self.words.as_ref()[rank.index()];
        let mut before = cell.load(Ordering::SeqCst);
        loop {
            let word = Word::from_bits(u64::from_le(before));
            let next = change(word)?;
            debug_assert!(next >= word, "a word only grows");
            if next == word {
                return Ok((word, word));
            }
            match cell.compare_exchange(before, next.bits().to_le(), Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => return Ok((word, next)),
                Err(now) => before = now,
            }
        }
    }

    /// Replaces a word if it still is `before`. Returns whether it was.
    #[inline]
    pub fn replace(&self, rank: Rank, before: Word, after: Word) -> bool {
        debug_assert!(after > before, "a word only grows");
        let cell = &self.words.as_ref()[rank.index()];
        let (from, to) = (before.bits().to_le(), after.bits().to_le());
        cell.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// Resets a word to that of a number that was never leased. Only for one that is damaged or that nothing stands
    /// for, before anyone uses the table.
    pub fn reset(&self, rank: Rank) {
        self.words.as_ref()[rank.index()].store(0, Ordering::SeqCst);
    }

    /// Makes words that were read from a file without attempts those that they are now. Only before anyone uses
    /// the table.
    pub fn add_attempts(&self, ranks: Range<Rank>) {
        for cell in &self.words.as_ref()[ranks.start.index()..ranks.end.index()] {
            let bits = u64::from_le(cell.load(Ordering::SeqCst));
            let word = Word::from_bits_without_attempts(bits);
            // A page that needs no change stays shared with the file.
            if word.bits() != bits {
                cell.store(word.bits().to_le(), Ordering::SeqCst);
            }
        }
    }

    /// Prefetches a word that will be needed soon.
    #[inline]
    pub fn prefetch(&self, rank: Rank) {
        if let Some(cell) = self.words.as_ref().get(rank.index()) {
            prefetch(cell);
        }
    }
}

#[cfg(test)]
#[cfg(not(allotd_loom))]
mod tests {
    use super::*;
    use crate::state::floors::Floors;
    use crate::state::time::Timestamp;

    #[test]
    fn update_writes_what_the_transition_says_or_nothing() {
        let table = WordTable::new([AtomicU64::new(0), AtomicU64::new(0)]);
        let leased = table.update(Rank(1), |word| word.lease(Timestamp::new(9), Floors::NONE)).unwrap().1;
        assert_eq!((table.get(Rank(0)), table.get(Rank(1))), (Word::NEW, leased));
        assert!(table.update(Rank(1), |word| word.lease(Timestamp::new(9), Floors::NONE)).is_err());
        assert_eq!(table.update(Rank(1), Ok::<_, ()>), Ok((leased, leased)));
        assert_eq!(table.get(Rank(1)), leased);
        table.prefetch(Rank(7));
    }
}
