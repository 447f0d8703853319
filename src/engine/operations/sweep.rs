//! The sweep: moves numbers whose lease or rest has ended to their next state.

use crate::engine::counters::Total;
use crate::engine::pool::Pool;
use crate::engine::segment::Segment;
use crate::state::number_state::State;
use crate::state::time::Timestamp;
use crate::sys::slot::Slot;

impl Pool {
    /// Sweeps one due block of a segment, if there is one, and returns whether there was. `cursor` is where
    /// the search starts.
    pub(crate) fn sweep_one(
        &self,
        segment: &Segment,
        now: Timestamp,
        cursor: &mut usize,
        slot: Slot,
    ) -> bool {
        if !segment.state.due.is_due(now) {
            return false;
        }
        // Journaled like any other change: the next state depends on the pool's current settings.
        let transition = self.begin_transition(slot);
        let now_milliseconds = self.shared.clock.milliseconds();
        segment.state.sweep_one(now, self.on_expiry(), cursor, slot, |rank, before, after| {
            if let Some(due) = before.due() {
                self.lateness.record(now_milliseconds.saturating_sub(u64::from(due.seconds()) * 1_000));
            }
            if before.state() == State::Leased {
                self.counters.count(slot, Total::Expirations, 1);
            }
            transition.changed(segment, rank, before, after);
        })
    }
}
