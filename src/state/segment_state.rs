//! The words of a segment together with what is derived from them. Every change of a word goes through here
//! and updates the free index, the due hints, the dirty marks and the counts.

use std::ops::Range;
use std::sync::OnceLock;

use crate::coordinates::{self, Rank};
use crate::sys::atomics::{self, AtomicU64};
use crate::sys::slot::Slot;

use super::block::BlockIndex;
use super::block_counts::BlockCounts;
use super::dirty_blocks::DirtyBlocks;
use super::due_hints::DueHints;
use super::end_rules::EndRules;
use super::floors::Floors;
use super::free_index::FreeIndex;
use super::holder_column::{HolderColumn, HolderId};
use super::number_state::State;
use super::time::Timestamp;
use super::word::{LeaseRefusal, Word};
use super::word_table::WordTable;

/// The words of a segment and everything derived from them. `W` owns the memory of the words.
pub struct SegmentState<W> {
    /// The words. All else is derived from them.
    pub words: WordTable<W>,
    /// Which ranks are probably available.
    pub free: FreeIndex,
    /// When the next word is due.
    pub due: DueHints,
    /// Which blocks are not yet written to the words' file.
    pub dirty: DirtyBlocks,
    /// How many words of each block are in each state.
    pub blocks: BlockCounts,
    /// Who holds the numbers, in a pool that tracks holders.
    pub holders: OnceLock<HolderColumn<W>>,
}

/// A change of a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Changed {
    /// The word before.
    pub before: Word,
    /// The word after; the same if nothing changed.
    pub after: Word,
    /// Who held the number before, or last; nobody in a pool that tracks no holders.
    pub holder: HolderId,
}

impl Changed {
    /// Whether the word is another one.
    #[inline]
    pub fn is_change(&self) -> bool {
        self.before != self.after
    }
}

impl<W: AsRef<[AtomicU64]>> SegmentState<W> {
    /// Leases a rank that the caller took out of the free index, with a generation above the floor. Whoever has
    /// the rank has the right to make the number unavailable, so it is available until this call.
    #[inline]
    pub fn lease(&self, rank: Rank, until: Timestamp, floors: Floors) -> Result<Word, LeaseRefusal> {
        let (_, word) = self.words.update(rank, |word| word.lease(until, floors))?;
        self.dirty.mark(rank);
        self.due.note(rank, until);
        self.blocks.moved(rank, State::Available, State::Leased);
        Ok(word)
    }

    /// Leases a rank for a holder, as [`Self::lease`] does. The column must be there.
    #[inline]
    pub fn lease_for(
        &self,
        rank: Rank,
        until: Timestamp,
        floors: Floors,
        holder: HolderId,
    ) -> Result<Word, LeaseRefusal> {
        let Some(column) = self.holders.get() else { return self.lease(rank, until, floors) };
        loop {
            // Others may still change it from one available word to another.
            let before = self.words.get(rank);
            let word = before.lease(until, floors)?;
            column.put(rank, word.generation(), holder);
            if self.words.replace(rank, before, word) {
                self.dirty.mark(rank);
                self.due.note(rank, until);
                self.blocks.moved(rank, State::Available, State::Leased);
                return Ok(word);
            }
        }
    }

    /// Who holds the number of a word that was just read, or held it last. While the word is the same, so is this.
    #[inline]
    fn holder(&self, rank: Rank, word: Word) -> HolderId {
        self.holders.get().map_or(HolderId::NOBODY, |column| column.holder(rank, word))
    }

    /// Prefetches what a change of this rank's word reads and the caches seldom hold.
    #[inline]
    pub fn prefetch(&self, rank: Rank) {
        self.words.prefetch(rank);
        self.free.prefetch(rank);
        self.due.prefetch(rank);
        self.blocks.prefetch(rank);
        if let Some(column) = self.holders.get() {
            column.prefetch(rank);
        }
    }

    /// Retires a rank whose generations are used up and that the caller took out of the free index.
    #[cold]
    pub fn retire_spent(&self, rank: Rank) -> Option<Changed> {
        let (before, after) = self.words.update(rank, |word| word.retire().ok_or(())).ok()?;
        self.dirty.mark(rank);
        self.blocks.moved(rank, before.state(), after.state());
        // An available number is held by nobody.
        Some(Changed { before, after, holder: HolderId::NOBODY })
    }

    /// Changes a word by a pure transition and updates what is derived from it.
    ///
    /// The bit of a rank in the free index is the right to make the number unavailable. So a claim is never in
    /// vain, and no search misses a number because of one. If another thread has the right, or is about to set
    /// the bit, this waits until that thread has changed the word or the index: its next instructions.
    #[inline]
    pub fn change<E>(
        &self,
        rank: Rank,
        slot: Slot,
        mut change: impl FnMut(Word) -> Result<Word, E>,
    ) -> Result<Changed, E> {
        loop {
            let before = self.words.get(rank);
            let after = change(before)?;
            if before == after {
                return Ok(Changed { before, after, holder: HolderId::NOBODY });
            }
            if before.is_available() && !after.is_available() {
                if let Some(changed) = self.take_away(rank, slot, &mut change)? {
                    return Ok(changed);
                }
                atomics::yield_now();
                continue;
            }
            // Before the exchange: once the number is available, another lease may write the entry.
            let holder = self.holder(rank, before);
            // Others may see the available word before the index has its rank. Until then no search that finds
            // nothing may be believed, so the mutation begins before the word changes.
            let becomes_available = !before.is_available() && after.is_available();
            let _mutation = becomes_available.then(|| self.free.mutations().begin(slot, rank));
            if self.words.replace(rank, before, after) {
                self.note_change(rank, before, after);
                if becomes_available {
                    self.free.put(rank, slot);
                }
                return Ok(Changed { before, after, holder });
            }
        }
    }

    /// Claims the rank of an available number, then changes its word. `None` if another thread has the rank or
    /// is about to put it into the index.
    #[cold]
    fn take_away<E>(
        &self,
        rank: Rank,
        slot: Slot,
        change: &mut impl FnMut(Word) -> Result<Word, E>,
    ) -> Result<Option<Changed>, E> {
        // Until the word is changed or the rank is back, a search that finds nothing must not be believed.
        let _mutation = self.free.mutations().begin(slot, rank);
        if !self.free.claim(rank, slot) {
            return Ok(None);
        }
        loop {
            // Other threads may still change it from one available word to another.
            let before = self.words.get(rank);
            let after = match change(before) {
                Ok(after) => after,
                Err(refused) => {
                    self.free.put(rank, slot);
                    return Err(refused);
                }
            };
            let holder = self.holder(rank, before);
            if before != after && !self.words.replace(rank, before, after) {
                continue;
            }
            if before != after {
                self.note_change(rank, before, after);
            }
            if after.is_available() {
                self.free.put(rank, slot);
            }
            return Ok(Some(Changed { before, after, holder }));
        }
    }

    /// Updates what is derived from a word that changed, except the free index.
    #[inline]
    fn note_change(&self, rank: Rank, before: Word, after: Word) {
        self.dirty.mark(rank);
        self.blocks.moved(rank, before.state(), after.state());
        if let Some(until) = after.due() {
            self.due.note(rank, until);
        }
    }

    /// Sweeps the words of some ranks. Calls `changed` with each change.
    pub fn sweep_ranks(
        &self,
        ranks: &Range<Rank>,
        now: Timestamp,
        rules: EndRules,
        slot: Slot,
        mut changed: impl FnMut(Rank, Changed),
    ) {
        for rank in coordinates::each(ranks) {
            if self.words.get(rank).due().is_some_and(|due| due <= now) {
                // On an error another thread has changed the word.
                let swept = self.change(rank, slot, |word| word.sweep(now, rules).ok_or(()));
                if let Ok(swept) = swept {
                    changed(rank, swept);
                }
            }
        }
    }

    /// Raises the hint of a block after its due words are swept.
    pub fn settle_block(&self, block: BlockIndex, slot: Slot) {
        let ranks = block.ranks(self.free.len());
        // While the hint is raised and the words are read, nothing due may be taken for swept.
        let _mutation = self.free.mutations().begin_over(slot, &ranks);
        self.due
            .settle(block, || coordinates::each(&ranks).filter_map(|rank| self.words.get(rank).due()).min());
    }

    /// Raises the hints of groups of blocks in which nothing is due any more.
    pub fn settle_groups(&self, now: Timestamp, slot: Slot) {
        let _mutation = self.free.mutations().begin_over(slot, &(Rank(0)..Rank(self.free.len())));
        self.due.settle_groups(now);
    }
}
