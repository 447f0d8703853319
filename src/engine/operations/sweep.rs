//! The sweep: moves numbers whose lease or rest has ended to their next state.

use std::ops::Range;

use crate::coordinates::{self, Rank};
use crate::engine::counters::Total;
use crate::engine::pool::Pool;
use crate::engine::segment::Segment;
use crate::engine::worker::Worker;
use crate::journal::cause::ChangeKind;
use crate::state::end_rules::EndRules;
use crate::state::number_state::State;
use crate::state::segment_state::Changed;
use crate::state::time::Timestamp;
use crate::sys::slot::Slot;

/// Words swept in one transition, for whose end the journal's writer waits.
const SWEEP_WORDS: u32 = 64;

impl Pool {
    /// Sweeps all that is due, on the calling thread: for tests and benchmarks, which do not wait for the
    /// sweeper.
    pub fn sweep_due(&self, worker: &mut Worker) {
        for segment in &self.segments.load().list {
            let (all, mut cursor) = (Rank(0)..Rank(segment.state.free.len()), 0);
            while self.sweep_one(segment, &all, self.shared.clock.now(), &mut cursor, worker.slot) {}
        }
    }

    /// Sweeps one due block among some ranks of a segment, if there is one, and returns whether there was.
    /// `cursor` is where the search starts.
    pub(crate) fn sweep_one(
        &self,
        segment: &Segment,
        ranks: &Range<Rank>,
        now: Timestamp,
        cursor: &mut usize,
        slot: Slot,
    ) -> bool {
        let state = &segment.state;
        let Some(block) = state.due.due_block(now, ranks, cursor) else { return false };
        let (mut block_ranks, rules) = (block.ranks(state.free.len()), self.end_rules());
        while !block_ranks.is_empty() {
            let end = block_ranks.end.min(Rank(block_ranks.start.0 + SWEEP_WORDS));
            self.sweep_ranks(segment, &(block_ranks.start..end), now, rules, slot);
            block_ranks.start = end;
        }
        state.settle_block(block, slot);
        true
    }

    /// Sweeps the words of a few ranks. Journaled like any other change: the next state depends on the pool's
    /// current settings.
    pub(crate) fn sweep_ranks(
        &self,
        segment: &Segment,
        ranks: &Range<Rank>,
        now: Timestamp,
        rules: EndRules,
        slot: Slot,
    ) {
        let list = rules.attempts.and_then(|_| self.list_after_attempts());
        if list.is_some() {
            // Two records of a number: nobody waits for the journal between them.
            self.shared.journal.make_room(slot, 2 * u64::from(coordinates::count(ranks)));
        }
        let transition = self.begin_transition(slot);
        if let Some(list) = &list {
            self.list_due(segment, ranks, (now, rules), list, (slot, &transition));
        }
        let now_milliseconds = self.shared.clock.milliseconds();
        let changed = |rank, swept: Changed| {
            if let Some(due) = swept.before.due() {
                self.lateness.record(now_milliseconds.saturating_sub(u64::from(due.seconds()) * 1_000));
            }
            let mut kind = ChangeKind::Other;
            if swept.before.state() == State::Leased {
                self.counters.count(slot, Total::Expirations, 1);
                kind = ChangeKind::Expired;
            }
            transition.changed(segment, rank, swept, kind);
        };
        if segment.merging.is_complete() {
            return segment.state.sweep_ranks(ranks, now, rules, slot, changed);
        }
        // What counts for nothing yet is swept where it still is, or once it has moved.
        let is_due = |rank: &Rank| segment.state.words.get(*rank).due().is_some_and(|due| due <= now);
        for rank in coordinates::each(ranks).filter(is_due).filter(|rank| !segment.is_inert(*rank)) {
            segment.state.sweep_ranks(&coordinates::one(rank), now, rules, slot, changed);
        }
    }

    /// Ends a lease whose time has passed, if the pool's rule makes of it anything but an available number.
    /// Of an available number the lease can still be renewed or returned; with any other rule it is over at its
    /// time, whether or not the sweep has come.
    ///
    /// Returns where the word is now.
    #[inline]
    pub(crate) fn end_if_due<'a>(
        &self,
        segment: &'a Segment,
        rank: Rank,
        rules: EndRules,
        slot: Slot,
    ) -> (&'a Segment, Rank) {
        if rules.is_always_available() {
            return (segment, rank);
        }
        loop {
            let (segment, rank) = segment.place(rank);
            self.sweep_ranks(segment, &coordinates::one(rank), self.shared.clock.now(), rules, slot);
            if !segment.state.words.get(rank).is_moved() {
                return (segment, rank);
            }
        }
    }
}
