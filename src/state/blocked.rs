//! Which ranks of a segment are blocked: a bit per rank that [`super::free_index`] asks before a rank enters it.
//!
//! A rank that would be in the index but is blocked is *parked*: its bit is here instead of there. Whoever clears
//! it has the same right as by clearing a bit of the index: to make the number unavailable. A segment of a pool
//! that never used a list has no bits.

use std::ops::Range;
use std::sync::OnceLock;

use crate::coordinates::Rank;
use crate::sys::atomics::{AtomicBool, AtomicU64, Ordering};

/// Ranks per word of bits.
const WORD_RANKS: u32 = 64;

/// The bits of a segment.
struct Bits {
    blocked: Box<[AtomicU64]>,
    parked: Box<[AtomicU64]>,
    /// How many bits of `parked` are set.
    parked_count: AtomicU64,
    /// How often a rank stopped being blocked.
    unblocked: AtomicU64,
}

/// Which ranks are blocked, and which of them are parked.
pub struct Blocked {
    len: u32,
    in_use: AtomicBool,
    bits: OnceLock<Bits>,
}

/// The words that have the bits of some ranks, each with the mask of these ranks.
fn words_of(ranks: &Range<Rank>) -> impl Iterator<Item = (usize, u64)> + use<> {
    let (start, end) = (ranks.start.0, ranks.end.0.max(ranks.start.0));
    (start / WORD_RANKS..end.div_ceil(WORD_RANKS)).map(move |word| {
        let first = word * WORD_RANKS;
        let above = u64::MAX << start.saturating_sub(first);
        let below = u64::MAX >> (first + (WORD_RANKS - 1)).saturating_sub(end - 1);
        (word as usize, above & below)
    })
}

/// The word that has the bits of the ranks of a leaf that begins at `base`, and where they begin in it.
fn shifted(base: Rank) -> (usize, u32) {
    ((base.0 / WORD_RANKS) as usize, base.0 % WORD_RANKS)
}

fn place(rank: Rank) -> (usize, u64) {
    ((rank.0 / WORD_RANKS) as usize, 1 << (rank.0 % WORD_RANKS))
}

impl Blocked {
    /// Of `len` ranks none is blocked.
    pub fn new(len: u32) -> Self {
        Self { len, in_use: AtomicBool::new(false), bits: OnceLock::new() }
    }

    /// The bits, which are made at the first use.
    fn make_bits(&self) -> &Bits {
        let clear = || (0..self.len.div_ceil(WORD_RANKS)).map(|_| AtomicU64::new(0)).collect();
        let bits = self.bits.get_or_init(|| Bits {
            blocked: clear(),
            parked: clear(),
            parked_count: AtomicU64::new(0),
            unblocked: AtomicU64::new(0),
        });
        if !self.in_use.load(Ordering::SeqCst) {
            self.in_use.store(true, Ordering::SeqCst);
        }
        bits
    }

    #[inline]
    fn bits(&self) -> Option<&Bits> {
        if self.in_use.load(Ordering::SeqCst) { self.bits.get() } else { None }
    }

    /// Whether a rank is blocked.
    #[inline]
    pub fn contains(&self, rank: Rank) -> bool {
        let (word, bit) = place(rank);
        self.bits().is_some_and(|bits| bits.blocked[word].load(Ordering::SeqCst) & bit != 0)
    }

    /// Whether any of some ranks may be blocked.
    pub fn is_used(&self) -> bool {
        self.bits().is_some()
    }

    /// Which of the ranks from `base` on whose bits are set in `ranks` are blocked.
    pub fn among(&self, base: Rank, ranks: u64) -> u64 {
        let (word, shift) = shifted(base);
        self.bits().map_or(0, |bits| bits.blocked[word].load(Ordering::SeqCst) >> shift & ranks)
    }

    /// Marks ranks as blocked. Returns those that were not.
    pub(super) fn insert(&self, base: Rank, ranks: u64) -> u64 {
        let (word, shift) = shifted(base);
        ranks & !(self.make_bits().blocked[word].fetch_or(ranks << shift, Ordering::SeqCst) >> shift)
    }

    /// Marks ranks as not blocked. Returns those that were.
    pub(super) fn remove(&self, base: Rank, ranks: u64) -> u64 {
        let (word, shift) = shifted(base);
        let Some(bits) = self.bits() else { return 0 };
        let were = bits.blocked[word].fetch_and(!(ranks << shift), Ordering::SeqCst) >> shift & ranks;
        if were != 0 {
            bits.unblocked.fetch_add(were.count_ones().into(), Ordering::SeqCst);
        }
        were
    }

    /// As [`Self::park`], for several ranks.
    pub(super) fn park_bits(&self, base: Rank, ranks: u64) {
        if ranks != 0 {
            let (word, shift) = shifted(base);
            let bits = self.make_bits();
            let before = bits.parked[word].fetch_or(ranks << shift, Ordering::SeqCst) >> shift;
            bits.parked_count.fetch_add((ranks & !before).count_ones().into(), Ordering::Relaxed);
        }
    }

    /// As [`Self::unpark`], for several ranks. Returns those that the caller has taken.
    pub(super) fn unpark_bits(&self, base: Rank, ranks: u64) -> u64 {
        let (word, shift) = shifted(base);
        let Some(bits) = self.bits().filter(|_| ranks != 0) else { return 0 };
        let taken = bits.parked[word].fetch_and(!(ranks << shift), Ordering::SeqCst) >> shift & ranks;
        bits.parked_count.fetch_sub(taken.count_ones().into(), Ordering::Relaxed);
        taken
    }

    /// Parks a rank: the caller has taken its bit out of the index, or was about to put it there.
    pub(super) fn park(&self, rank: Rank) {
        let (word, bit) = place(rank);
        let bits = self.make_bits();
        if bits.parked[word].fetch_or(bit, Ordering::SeqCst) & bit == 0 {
            bits.parked_count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes a parked rank. Returns whether the caller has taken it.
    pub(super) fn unpark(&self, rank: Rank) -> bool {
        let (word, bit) = place(rank);
        let Some(bits) = self.bits() else { return false };
        let taken = bits.parked[word].fetch_and(!bit, Ordering::SeqCst) & bit != 0;
        if taken {
            bits.parked_count.fetch_sub(1, Ordering::Relaxed);
        }
        taken
    }

    /// How many ranks are parked: their numbers would be available, but for being blocked.
    pub fn parked(&self) -> u64 {
        let count = self.bits().map_or(0, |bits| bits.parked_count.load(Ordering::Relaxed));
        // Who takes a rank can count before who has just parked it.
        count.cast_signed().max(0).cast_unsigned()
    }

    /// How many of some ranks are parked.
    pub fn parked_in(&self, ranks: &Range<Rank>) -> u32 {
        let Some(bits) = self.bits() else { return 0 };
        let of = |(word, mask): (usize, u64)| (bits.parked[word].load(Ordering::Relaxed) & mask).count_ones();
        words_of(ranks).map(of).sum()
    }

    /// How often a rank stopped being blocked. While it stays the same, no rank has.
    pub fn unblocked(&self) -> u64 {
        self.bits().map_or(0, |bits| bits.unblocked.load(Ordering::SeqCst))
    }

    /// The blocked ones of some ranks, ascending.
    pub fn in_ranks(&self, ranks: Range<Rank>) -> impl Iterator<Item = Rank> + '_ {
        let bits = self.bits();
        words_of(&ranks).flat_map(move |(word, mask)| {
            let mut set = bits.map_or(0, |bits| bits.blocked[word].load(Ordering::SeqCst) & mask);
            std::iter::from_fn(move || {
                let bit = (set != 0).then(|| set.trailing_zeros())?;
                set &= set - 1;
                Some(Rank(word as u32 * WORD_RANKS + bit))
            })
        })
    }
}

#[cfg(test)]
#[cfg(not(allotd_loom))]
mod tests {
    use super::*;

    #[test]
    fn bits_of_ranks_are_found_and_counted_at_the_edges_of_words() {
        let blocked = Blocked::new(200);
        assert!(!blocked.is_used() && !blocked.contains(Rank(199)) && !blocked.unpark(Rank(3)));
        let ranks = [0, 63, 64, 127, 128, 199];
        for rank in ranks {
            let base = Rank(rank / 64 * 64);
            let bit = 1 << (rank % 64);
            assert_eq!((blocked.insert(base, bit), blocked.insert(base, bit)), (bit, 0));
            blocked.park(Rank(rank));
        }
        let found = |range: Range<u32>| -> Vec<u32> {
            blocked.in_ranks(Rank(range.start)..Rank(range.end)).map(|rank| rank.0).collect()
        };
        assert_eq!(found(0..200), ranks);
        assert_eq!(found(1..128), [63, 64, 127]);
        assert_eq!((found(64..64), found(65..127)), (vec![], vec![]));
        assert_eq!(blocked.parked_in(&(Rank(63)..Rank(65))), 2);
        assert_eq!((blocked.parked(), blocked.parked_in(&(Rank(0)..Rank(200)))), (6, 6));
        assert!(blocked.unpark(Rank(64)) && !blocked.unpark(Rank(64)));
        assert_eq!((blocked.remove(Rank(64), 1), blocked.remove(Rank(64), 1)), (1, 0));
        assert_eq!((blocked.parked(), blocked.unblocked(), found(64..127).len()), (5, 1, 0));
    }
}
