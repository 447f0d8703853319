//! The sweep: what becomes of leases and rests whose time has come.

use crate::engine::counters::Total;
use crate::engine::pool::Pool;
use crate::engine::segment::Segment;
use crate::state::time::Timestamp;
use crate::state::word::State;
use crate::sys::slot::Slot;

impl Pool {
    /// Sweeps one due block of a segment, if there is one. `cursor` is where to look first.
    pub(crate) fn sweep_one(
        &self,
        segment: &Segment,
        now: Timestamp,
        cursor: &mut usize,
        slot: Slot,
    ) -> bool {
        if !segment.ranks.due.is_due(now) {
            return false;
        }
        // Recorded like any other change: what becomes of a number depends on the pool's settings now.
        let transition = self.begin_transition(slot);
        let now_milliseconds = self.shared.clock.milliseconds();
        segment.ranks.sweep_one(now, self.on_expiry(), cursor, slot, |rank, before, after| {
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
