//! Who holds each number: a column beside the words, one entry per rank.
//!
//! ```text
//! bit 63          38 37                0
//!     | generation  | holder's id        |
//! ```
//!
//! The generation has the same bits as in the word. Only a lease for a holder writes an entry, before it changes
//! the word: so whoever sees the word sees its entry. An entry counts as long as the word has its generation. It
//! only grows, as the word does: merging two histories is `max`. A start forgets entries that no word knows.
//!
//! While a word says that its number is leased, its entry does not change, as only the thread that has taken an
//! available rank out of the free index writes one.

use std::ops::Range;

use crate::coordinates::Rank;
use crate::sys::atomics::AtomicU64;

use super::dirty_blocks::DirtyBlocks;
use super::holder_hints::HolderHints;
use super::word::{GENERATION_SHIFT, Word};
use super::word_table::WordTable;

/// The largest id of a holder. Not more than what the layout of the words leaves, and what a record of the journal
/// has room for.
pub const MAX_HOLDER_ID: u64 = (1 << if GENERATION_SHIFT < 48 { GENERATION_SHIFT } else { 48 }) - 1;

/// Entries that are prefetched before the first is read: few fit, far from each other.
const ENTRIES_AT_ONCE: usize = 64;

/// Names a holder within its pool. An id is given out once, and ids only grow. 0 stands for nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct HolderId(pub u64);

impl HolderId {
    /// No holder.
    pub const NOBODY: Self = Self(0);
}

/// The entry of a holder at a generation, in the layout of a word.
fn entry(generation: u32, holder: HolderId) -> Word {
    debug_assert!(holder.0 <= MAX_HOLDER_ID);
    Word::from_bits(u64::from(generation) << GENERATION_SHIFT | holder.0 & MAX_HOLDER_ID)
}

/// The holder that an entry names, whatever its generation is.
fn named_by(entry: Word) -> HolderId {
    HolderId(entry.bits() & MAX_HOLDER_ID)
}

/// The column of a segment. `W` owns the memory of the entries.
pub struct HolderColumn<W> {
    /// The entries, in the form of words.
    pub entries: WordTable<W>,
    /// Which blocks are not yet written to the column's file.
    pub dirty: DirtyBlocks,
    hints: HolderHints,
}

impl<W: AsRef<[AtomicU64]>> HolderColumn<W> {
    /// A column over these entries, in which nobody has anything or until [`Self::find_hints`]; `dirty` are those that
    /// differ from the file.
    pub fn new(entries: WordTable<W>, dirty: DirtyBlocks) -> Self {
        let hints = HolderHints::new(entries.len());
        Self { entries, dirty, hints }
    }

    /// Takes in what the entries say. Before others use the column.
    pub fn find_hints(&self, ranks: Range<u32>) {
        for rank in ranks.map(Rank) {
            self.hints.put(rank, named_by(self.entries.get(rank)).0);
        }
    }

    /// Forgets the entries of leases that the words do not know. A loss of power can leave them alone on the disk, if
    /// nothing is synced; the next lease has their generation, and may be for nobody. Before others use the column.
    pub fn forget_unleased<V: AsRef<[AtomicU64]>>(&self, words: &WordTable<V>, ranks: Range<u32>) {
        for rank in ranks.map(Rank) {
            if self.entries.get(rank).generation() > words.get(rank).generation() {
                self.entries.reset(rank);
                self.dirty.mark(rank);
            }
        }
    }

    /// Prefetches what a lease of a rank for a holder writes.
    #[inline]
    pub fn prefetch(&self, rank: Rank) {
        self.entries.prefetch(rank);
        self.hints.prefetch(rank);
    }

    /// Writes who holds a number from this generation on. Call it before its word changes.
    #[inline]
    pub fn put(&self, rank: Rank, generation: u32, holder: HolderId) {
        self.hints.put(rank, holder.0);
        self.raise_entry(rank, entry(generation, holder));
    }

    /// Merges an entry: the larger of the two stays. Returns whether it changed. Whoever calls it at the same
    /// time for the rank has the same entry, unless nobody looks for holders yet.
    pub fn raise(&self, rank: Rank, entry: Word) -> bool {
        if entry > self.entries.get(rank) {
            self.hints.put(rank, named_by(entry).0);
        }
        self.raise_entry(rank, entry)
    }

    #[inline]
    fn raise_entry(&self, rank: Rank, entry: Word) -> bool {
        let raised = self.entries.update(rank, |own| Ok::<_, ()>(own.max(entry)));
        let changed = raised.is_ok_and(|(before, after)| before != after);
        if changed {
            self.dirty.mark(rank);
        }
        changed
    }

    /// Who holds a number of this word, or held it last; nobody if its lease has no holder.
    #[inline]
    pub fn holder(&self, rank: Rank, word: Word) -> HolderId {
        let entry = self.entries.get(rank);
        if entry.generation() == word.generation() { named_by(entry) } else { HolderId::NOBODY }
    }

    /// Calls `each` with every rank of some whose entry names the holder, believed or not.
    pub fn each_of(&self, ranks: Range<u32>, holder: HolderId, mut each: impl FnMut(Rank)) {
        let mut fitting = [Rank(0); ENTRIES_AT_ONCE];
        let mut count = 0;
        let mut verify = |fitting: &[Rank]| {
            fitting
                .iter()
                .filter(|rank| named_by(self.entries.get(**rank)) == holder)
                .for_each(|rank| each(*rank));
        };
        self.hints.each_of(ranks, holder.0, |rank| {
            self.entries.prefetch(rank);
            fitting[count] = rank;
            count += 1;
            if count == ENTRIES_AT_ONCE {
                verify(&fitting);
                count = 0;
            }
        });
        verify(&fitting[..count]);
    }

    /// The entry of a rank, believed or not: its generation, and the holder.
    #[inline]
    pub fn raw(&self, rank: Rank) -> (u32, HolderId) {
        let entry = self.entries.get(rank);
        (entry.generation(), named_by(entry))
    }
}

#[cfg(test)]
#[cfg(not(allotd_loom))]
mod tests {
    use super::*;
    use crate::state::floors::Floors;
    use crate::state::time::Timestamp;
    use crate::state::word::{MAX_GENERATION, NextWord};

    #[test]
    fn an_entry_counts_as_long_as_the_word_has_its_generation() {
        let entries = WordTable::new([AtomicU64::new(0), AtomicU64::new(0)]);
        let column = HolderColumn::new(entries, DirtyBlocks::new(2));
        let leased = Word::NEW.lease(Timestamp::new(9), Floors::NONE).unwrap();
        assert_eq!(column.holder(Rank(1), leased), HolderId::NOBODY);
        column.put(Rank(1), 1, HolderId(7));
        assert_eq!(column.holder(Rank(1), leased), HolderId(7));
        let returned = leased.return_lease(NextWord::Available).unwrap();
        assert_eq!(column.holder(Rank(1), returned), HolderId(7), "who held it last");
        let again = returned.lease(Timestamp::new(9), Floors::NONE).unwrap();
        assert_eq!(column.holder(Rank(1), again), HolderId::NOBODY);
        assert!(!column.raise(Rank(1), entry(0, HolderId(MAX_HOLDER_ID))), "an earlier entry");
        column.put(Rank(1), MAX_GENERATION, HolderId(MAX_HOLDER_ID));
        assert_eq!(column.raw(Rank(1)), (MAX_GENERATION, HolderId(MAX_HOLDER_ID)));
        assert_eq!(column.raw(Rank(0)), (0, HolderId::NOBODY));
    }

    #[test]
    fn an_entry_whose_lease_was_lost_names_nobody_of_the_next() {
        let cells = || WordTable::new([AtomicU64::new(0), AtomicU64::new(0)]);
        let (words, column) = (cells(), HolderColumn::new(cells(), DirtyBlocks::new(2)));
        let lease = |rank| words.update(rank, |own| own.lease(Timestamp::new(9), Floors::NONE)).unwrap().1;
        column.put(Rank(0), 1, HolderId(7));
        lease(Rank(0));
        column.put(Rank(1), 1, HolderId(8));
        column.forget_unleased(&words, 0..2);
        assert_eq!(column.holder(Rank(0), words.get(Rank(0))), HolderId(7));
        assert_eq!(column.holder(Rank(1), lease(Rank(1))), HolderId::NOBODY);
    }
}
