//! What follows once a word has changed: its record goes to the journal, the change is counted. Every change of
//! a word by a caller, an operator or the sweep passes here; whoever else must learn of changes is called here.
//!
//! Opening a round is the one change without a record: the round is in the manifest, and a start repeats it.

use crate::coordinates::Rank;
use crate::journal::handle::Changing;
use crate::journal::record::{Record, WordRecord};
use crate::state::word::{State, Word};
use crate::sys::slot::Slot;

use super::counters::Total;
use super::pool::Pool;
use super::segment::Segment;

/// A thread is changing words of a pool. The journal's writer waits for its end before it records the time: a
/// recorded time never passes a change that was decided before it.
pub(crate) struct Transition<'a> {
    pool: &'a Pool,
    slot: Slot,
    changing: Changing<'a>,
    leased: u64,
}

impl Transition<'_> {
    /// The word of a number changed from `before` to `after`; nothing follows if they are equal.
    #[inline]
    pub(crate) fn changed(&self, segment: &Segment, rank: Rank, before: Word, after: Word) {
        if before == after {
            return;
        }
        self.journal(segment, rank, after);
        self.pool.count_change(segment, self.slot, rank, before, after);
    }

    /// A number that was available is leased; counted by [`Self::finish`].
    #[inline]
    pub(crate) fn leased(&mut self, segment: &Segment, rank: Rank, after: Word) {
        self.journal(segment, rank, after);
        self.leased += 1;
    }

    /// Counts the leases, all at once.
    #[inline]
    pub(crate) fn finish(self) {
        let Self { pool, slot, changing, leased } = self;
        drop(changing);
        pool.counters.moved(slot, State::Available, State::Leased, leased);
        pool.counters.count(slot, Total::Leases, leased);
    }

    #[inline]
    fn journal(&self, segment: &Segment, rank: Rank, word: Word) {
        self.changing.record(|| {
            Record::Word(WordRecord { pool: self.pool.id, segment: segment.id, rank, word, holder: 0 })
        });
    }
}

impl Pool {
    /// To be called before the words are changed; lasts until the last of them is.
    #[inline]
    pub(crate) fn begin_transition(&self, slot: Slot) -> Transition<'_> {
        Transition { pool: self, slot, changing: self.shared.journal.change(slot), leased: 0 }
    }

    /// Counts a change of a word, and makes a number available that became done too late for its round.
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

    /// Makes a number available that was marked done in a round that ended at that moment: the scan
    /// that opens a round may have passed it already.
    fn catch_up_with_round(&self, segment: &Segment, slot: Slot, rank: Rank) {
        let round = self.round();
        let opened = segment.state.change(rank, slot, |word| word.open_round(round).ok_or(()));
        if let Ok((before, after)) = opened {
            self.counters.moved(slot, before.state(), after.state(), 1);
        }
    }
}
