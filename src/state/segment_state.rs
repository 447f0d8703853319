//! The words of a segment together with what is derived from them. Every change of a word goes through here
//! and updates the free index, the due hints, the dirty marks and the counts.

use crate::coordinates::{self, Rank};
use crate::sys::atomics::AtomicU64;
use crate::sys::slot::Slot;

use super::block_counts::BlockCounts;
use super::dirty_blocks::DirtyBlocks;
use super::due_hints::DueHints;
use super::free_index::FreeIndex;
use super::number_state::State;
use super::time::Timestamp;
use super::word::{ExpiryRule, LeaseRefusal, Word};
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
}

impl<W: AsRef<[AtomicU64]>> SegmentState<W> {
    /// Leases a rank that the caller took out of the free index. A refusal loses nothing: the thread that
    /// makes the number available puts the rank back afterwards.
    #[inline]
    pub fn lease(&self, rank: Rank, until: Timestamp) -> Result<Word, LeaseRefusal> {
        let (_, word) = self.words.update(rank, |word| word.lease(until))?;
        self.dirty.mark(rank);
        self.due.note(rank, until);
        self.blocks.moved(rank, State::Available, State::Leased);
        Ok(word)
    }

    /// Prefetches what a change of this rank's word reads and the caches seldom hold.
    #[inline]
    pub fn prefetch(&self, rank: Rank) {
        self.words.prefetch(rank);
        self.free.prefetch(rank);
        self.due.prefetch(rank);
        self.blocks.prefetch(rank);
    }

    /// Retires a rank whose generations are used up and that the caller took out of the free index. Returns
    /// the word before and after.
    #[cold]
    pub fn retire_spent(&self, rank: Rank) -> Option<(Word, Word)> {
        let (before, after) = self.words.update(rank, |word| word.retire().ok_or(())).ok()?;
        self.dirty.mark(rank);
        self.blocks.moved(rank, before.state(), after.state());
        Some((before, after))
    }

    /// Changes a word by a pure transition and updates what is derived from it. Returns the word before and
    /// after.
    #[inline]
    pub fn change<E>(
        &self,
        rank: Rank,
        slot: Slot,
        mut change: impl FnMut(Word) -> Result<Word, E>,
    ) -> Result<(Word, Word), E> {
        // Others may see the available word before the index has its rank. Until then no search that finds
        // nothing may be believed, so the mutation begins before the word changes.
        let mut mutation = None;
        let (before, after) = self.words.update(rank, |word| {
            let next = change(word)?;
            if next.is_available() && !word.is_available() && mutation.is_none() {
                mutation = Some(self.free.mutations().begin(slot));
            }
            Ok(next)
        })?;
        if before == after {
            return Ok((before, after));
        }
        self.dirty.mark(rank);
        self.blocks.moved(rank, before.state(), after.state());
        if let Some(until) = after.due() {
            self.due.note(rank, until);
        }
        match (before.is_available(), after.is_available()) {
            (false, true) => self.free.put(rank, slot),
            (true, false) => self.take_out(rank, slot),
            _ => {}
        }
        Ok((before, after))
    }

    /// Takes the rank of an unavailable number out of the free index. Puts it back if the number became
    /// available meanwhile.
    #[cold]
    fn take_out(&self, rank: Rank, slot: Slot) {
        let _mutation = self.free.mutations().begin(slot);
        if self.free.take_near(rank..Rank(rank.0 + 1), 1, slot).is_some()
            && self.words.get(rank).is_available()
        {
            self.free.put(rank, slot);
        }
    }

    /// Sweeps one due block, if there is one, and returns whether there was. Calls `changed` with each
    /// changed word before and after. The search starts at `cursor`.
    pub fn sweep_one(
        &self,
        now: Timestamp,
        on_expiry: ExpiryRule,
        cursor: &mut usize,
        slot: Slot,
        mut changed: impl FnMut(Rank, Word, Word),
    ) -> bool {
        if !self.due.is_due(now) {
            return false;
        }
        // From before the hint is raised until all due ranks are in the index, no search that finds nothing
        // may be believed.
        let _mutation = self.free.mutations().begin(slot);
        self.due.sweep_one(now, cursor, |ranks| {
            let mut earliest: Option<Timestamp> = None;
            for rank in coordinates::each(&ranks) {
                let mut due = self.words.get(rank).due();
                if due.is_some_and(|due| due <= now) {
                    due = None;
                    // On an error another thread changed the word, and that thread lowers the hints.
                    let swept = self.change(rank, slot, |word| word.sweep(now, on_expiry).ok_or(()));
                    if let Ok((before, after)) = swept {
                        changed(rank, before, after);
                        due = after.due();
                    }
                }
                earliest = [earliest, due].into_iter().flatten().min();
            }
            earliest
        })
    }
}
