//! The words of a segment together with what is derived from them: each change of a word, and what
//! the free index and the due hints are told of it.

use crate::sys::atomics::AtomicU64;
use crate::sys::slot::Slot;

use super::block_counts::BlockCounts;
use super::dirty_blocks::DirtyBlocks;
use super::due_hints::DueHints;
use super::free_index::FreeIndex;
use super::time::Timestamp;
use super::word::{ExpiryRule, LeaseRefusal, State, Word};
use super::word_table::WordTable;

/// See the module. `W` owns the memory of the words.
pub struct SegmentState<W> {
    /// The truth.
    pub words: WordTable<W>,
    /// Which ranks are probably available.
    pub free: FreeIndex,
    /// When the next one's time comes.
    pub due: DueHints,
    /// What is to be written to the words' file.
    pub dirty: DirtyBlocks,
    /// How many words of each block are in each state.
    pub blocks: BlockCounts,
}

impl<W: AsRef<[AtomicU64]>> SegmentState<W> {
    /// Leases a rank that the caller took out of the free index. A refusal is no loss: whoever makes
    /// the number available puts the rank back after that.
    #[inline]
    pub fn lease(&self, rank: u32, until: Timestamp) -> Result<Word, LeaseRefusal> {
        let (_, word) = self.words.update(rank, |word| word.lease(until))?;
        self.dirty.mark(rank);
        self.due.note(rank, until);
        self.blocks.moved(rank, State::Available, State::Leased);
        Ok(word)
    }

    /// Asks the processor to fetch what a change of this rank's word will look at and is seldom in a cache.
    #[inline]
    pub fn prefetch(&self, rank: u32) {
        self.words.prefetch(rank);
        self.free.prefetch(rank);
        self.due.prefetch(rank);
        self.blocks.prefetch(rank);
    }

    /// Retires a rank whose generations are used up, which the caller took out of the free index. Answers with the
    /// word before and after.
    #[cold]
    pub fn retire_spent(&self, rank: u32) -> Option<(Word, Word)> {
        let (before, after) = self.words.update(rank, |word| word.retire().ok_or(())).ok()?;
        self.dirty.mark(rank);
        self.blocks.moved(rank, before.state(), after.state());
        Some((before, after))
    }

    /// Changes a word by a pure transition and tells the index and the hints. Answers with the word
    /// before and after.
    #[inline]
    pub fn change<E>(
        &self,
        rank: u32,
        slot: Slot,
        mut change: impl FnMut(Word) -> Result<Word, E>,
    ) -> Result<(Word, Word), E> {
        // From before the word says that the number is available until the index does, nobody may
        // believe that there is none: others may have seen the word.
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

    /// Takes a rank out of the free index whose number is not available, without losing it should it
    /// have become available meanwhile.
    #[cold]
    fn take_out(&self, rank: u32, slot: Slot) {
        let _mutation = self.free.mutations().begin(slot);
        if self.free.take_near(rank..rank + 1, 1, slot).is_some() && self.words.get(rank).is_available() {
            self.free.put(rank, slot);
        }
    }

    /// Sweeps one due block, if there is one: tells `changed` of each word before and after. `cursor`
    /// is where to look first.
    pub fn sweep_one(
        &self,
        now: Timestamp,
        on_expiry: ExpiryRule,
        cursor: &mut usize,
        slot: Slot,
        mut changed: impl FnMut(u32, Word, Word),
    ) -> bool {
        if !self.due.is_due(now) {
            return false;
        }
        // From before the hint is raised until all that is due is in the index, nobody may believe
        // that there is nothing.
        let _mutation = self.free.mutations().begin(slot);
        self.due.sweep_one(now, cursor, |ranks| {
            let mut earliest: Option<Timestamp> = None;
            for rank in ranks {
                let mut due = self.words.get(rank).due();
                if due.is_some_and(|due| due <= now) {
                    due = None;
                    // Else another thread changed the word, and tells the hints of what it made of it.
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
