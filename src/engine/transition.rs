//! Journals and counts each change of a word. Every change by a caller, an operator or the sweep goes through
//! here; call any other observer of changes from here.
//!
//! Opening a round is the only change without a record: the round is in the manifest, and a start repeats it.

use crate::coordinates::Rank;
use crate::journal::cause::{Cause, ChangeKind};
use crate::journal::handle::Changing;
use crate::journal::record::{HELD_UNTIL_CHANGE, RETURNED_BY_HOLDER, Record, WordRecord};
use crate::state::holder_column::HolderId;
use crate::state::number_state::State;
use crate::state::segment_state::Changed;
use crate::state::word::Word;
use crate::sys::slot::Slot;

use super::counters::Total;
use super::counters::outcomes::OutcomeId;
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
    /// Journals and counts a change of a number's word, if it is one.
    #[inline]
    pub(crate) fn changed(&self, segment: &Segment, rank: Rank, changed: Changed, kind: ChangeKind) {
        self.note(segment, rank, changed, Cause::of(kind));
    }

    /// As [`Self::changed`], of a change that returns a lease.
    #[inline]
    pub(crate) fn returned(
        &self,
        segment: &Segment,
        rank: Rank,
        changed: Changed,
        outcome: Option<OutcomeId>,
    ) {
        let cause = outcome.map_or(Cause::of(ChangeKind::Returned), |outcome| Cause::returned(outcome.tag()));
        self.note(segment, rank, changed, cause);
    }

    #[inline]
    fn note(&self, segment: &Segment, rank: Rank, changed: Changed, cause: Cause) {
        if !changed.is_change() {
            return;
        }
        let holder = match changed.holder {
            HolderId::NOBODY => 0,
            _ => self.pool.count_held(changed, cause.kind() == ChangeKind::Returned),
        };
        self.journal(segment, rank, changed.after, holder, cause);
        self.pool.count_change(segment, self.slot, rank, changed.before, changed.after);
    }

    /// Says that the thread is changing words.
    pub(crate) fn changing(&self) -> &Changing<'_> {
        &self.changing
    }

    /// Journals the lease of a number that was available. [`Self::finish`] counts it.
    #[inline]
    pub(crate) fn leased(&mut self, segment: &Segment, rank: Rank, after: Word, holder: HolderId) {
        self.journal(segment, rank, after, holder.0, Cause::of(ChangeKind::Leased));
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
    fn journal(&self, segment: &Segment, rank: Rank, word: Word, holder: u64, cause: Cause) {
        self.changing.record(|| {
            let (pool, segment) = (self.pool.id, segment.id);
            Record::Word(WordRecord { pool, segment, rank, word, holder, cause })
        });
    }
}

impl Pool {
    /// Begins a transition. Call it before the first word changes, and keep it until the last one has.
    #[inline]
    pub(crate) fn begin_transition(&self, slot: Slot) -> Transition<'_> {
        Transition { pool: self, slot, changing: self.shared.journal.change(slot), leased: 0 }
    }

    /// Begins a transition in which up to `want` ranks are claimed and leased. No thread waits for the journal
    /// between its claim of a rank and the change of its word, so its records must fit the queue.
    #[inline]
    pub(crate) fn begin_claims(&self, slot: Slot, want: usize) -> Transition<'_> {
        self.shared.journal.make_room(slot, want as u64);
        self.begin_transition(slot)
    }

    /// Counts a change of a number that somebody holds or held. Returns what the record says of the holder.
    fn count_held(&self, Changed { before, after, holder }: Changed, is_returned: bool) -> u64 {
        let [was_leased, is_leased] = [before, after].map(|word| word.state() == State::Leased);
        self.holders.count(holder, was_leased, is_leased, is_returned);
        let is_same_lease = before.generation() == after.generation();
        let returned = if is_returned { RETURNED_BY_HOLDER } else { 0 };
        holder.0 | returned | if is_same_lease { 0 } else { HELD_UNTIL_CHANGE }
    }

    /// Counts a change of a word. Also makes a number available that became done after its round had ended.
    #[inline]
    pub(crate) fn count_change(&self, segment: &Segment, slot: Slot, rank: Rank, before: Word, after: Word) {
        let (from, to) = (before.state(), after.state());
        if from != to {
            self.counters.moved(slot, from, to, 1);
            match to {
                State::Done => self.catch_up_with_round(segment, slot, rank),
                State::Available => self.announce(segment, rank),
                _ => {}
            }
        }
    }

    /// Makes a number available that was marked done in a round that had just ended: the scan that opens the
    /// next round may already have passed it.
    pub(crate) fn catch_up_with_round(&self, segment: &Segment, slot: Slot, rank: Rank) {
        let round = self.round();
        let opened = segment.state.change(rank, slot, |word| word.open_round(round).ok_or(()));
        if let Ok(Changed { before, after, .. }) = opened {
            self.counters.moved(slot, before.state(), after.state(), 1);
            self.announce(segment, rank);
        }
    }
}
