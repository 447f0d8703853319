//! Journals and counts each change of a word. Every change by a caller, an operator or the sweep goes through
//! here; call any other observer of changes from here.
//!
//! Opening a round is the only change without a record: the round is in the manifest, and a start repeats it.

use crate::coordinates::Rank;
use crate::journal::handle::Changing;
use crate::journal::record::{Record, WordRecord};
use crate::state::number_state::State;
use crate::state::word::Word;
use crate::sys::slot::Slot;

use super::counters::Total;
use super::pool::Pool;
use super::segment::Segment;

/// A change of words in progress on one thread. The journal's writer waits for it to end before it records
/// the time, so a recorded time is never later than a change that was decided before it but not journaled.
pub(crate) struct Transition<'a> {
    pool: &'a Pool,
    slot: Slot,
    changing: Changing<'a>,
    leased: u64,
}

impl Transition<'_> {
    /// Journals and counts a change of a number's word from `before` to `after`, unless they are equal.
    #[inline]
    pub(crate) fn changed(&self, segment: &Segment, rank: Rank, before: Word, after: Word) {
        if before == after {
            return;
        }
        self.journal(segment, rank, after);
        self.pool.count_change(segment, self.slot, rank, before, after);
    }

    /// Says that the thread is changing words.
    pub(crate) fn changing(&self) -> &Changing<'_> {
        &self.changing
    }

    /// Journals the lease of a number that was available. [`Self::finish`] counts it.
    #[inline]
    pub(crate) fn leased(&mut self, segment: &Segment, rank: Rank, after: Word) {
        self.journal(segment, rank, after);
        self.leased += 1;
    }

    /// Ends the transition and counts its leases together.
    #[inline]
    pub(crate) fn finish(self) {
        let Self { pool, slot, changing, leased } = self;
        pool.counters.moved(slot, State::Available, State::Leased, leased);
        pool.counters.count(slot, Total::Leases, leased);
        // Last: who waits for the thread to come to rest counts them (`super::operations::attempts`).
        drop(changing);
    }

    #[inline]
    fn journal(&self, segment: &Segment, rank: Rank, word: Word) {
        self.changing.record(|| {
            Record::Word(WordRecord { pool: self.pool.id, segment: segment.id, rank, word, holder: 0 })
        });
    }
}

impl Pool {
    /// Begins a transition. Call it before the first word changes, and keep it until the last one has.
    #[inline]
    pub(crate) fn begin_transition(&self, slot: Slot) -> Transition<'_> {
        Transition { pool: self, slot, changing: self.shared.journal.change(slot), leased: 0 }
    }

    /// Counts a change of a word. Also makes a number available that became done after its round had ended.
    #[inline]
    pub(crate) fn count_change(&self, segment: &Segment, slot: Slot, rank: Rank, before: Word, after: Word) {
        let (from, to) = (before.state(), after.state());
        if from != to {
            self.counters.moved(slot, from, to, 1);
            if to == State::Done {
                self.catch_up_with_round(segment, slot, rank);
            }
        }
    }

    /// Makes a number available that was marked done in a round that had just ended: the scan that opens the
    /// next round may already have passed it.
    pub(crate) fn catch_up_with_round(&self, segment: &Segment, slot: Slot, rank: Rank) {
        let round = self.round();
        let opened = segment.state.change(rank, slot, |word| word.open_round(round).ok_or(()));
        if let Ok((before, after)) = opened {
            self.counters.moved(slot, before.state(), after.state(), 1);
        }
    }
}
