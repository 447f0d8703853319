//! The sweep: moves numbers whose lease or rest has ended to their next state.

use std::ops::Range;

use crate::coordinates::{self, Rank};
use crate::engine::counters::Total;
use crate::engine::pool::Pool;
use crate::engine::segment::Segment;
use crate::engine::worker::Worker;
use crate::state::number_state::State;
use crate::state::time::Timestamp;
use crate::state::word::ExpiryRule;
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
        let (mut block_ranks, on_expiry) = (block.ranks(state.free.len()), self.on_expiry());
        while !block_ranks.is_empty() {
            let end = block_ranks.end.min(Rank(block_ranks.start.0 + SWEEP_WORDS));
            self.sweep_ranks(segment, &(block_ranks.start..end), now, on_expiry, slot);
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
        on_expiry: ExpiryRule,
        slot: Slot,
    ) {
        let transition = self.begin_transition(slot);
        let now_milliseconds = self.shared.clock.milliseconds();
        segment.state.sweep_ranks(ranks, now, on_expiry, slot, |rank, before, after| {
            if let Some(due) = before.due() {
                self.lateness.record(now_milliseconds.saturating_sub(u64::from(due.seconds()) * 1_000));
            }
            if before.state() == State::Leased {
                self.counters.count(slot, Total::Expirations, 1);
            }
            transition.changed(segment, rank, before, after);
        });
    }

    /// Ends a lease whose time has passed, if the pool's rule makes of it anything but an available number.
    /// With [`ExpiryRule::Available`] the lease can still be renewed or returned; with any other rule it is
    /// over at its time, whether or not the sweep has come.
    #[inline]
    pub(crate) fn end_if_due(&self, segment: &Segment, rank: Rank, on_expiry: ExpiryRule, slot: Slot) {
        if on_expiry != ExpiryRule::Available {
            self.sweep_ranks(segment, &coordinates::one(rank), self.shared.clock.now(), on_expiry, slot);
        }
    }
}
