//! The sweep: what becomes of leases and rests whose time has come.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::state::time::Timestamp;
use crate::state::word::State;
use crate::sys::slot::Slot;

use super::counters::Total;
use super::pool::Pool;
use super::segment::Segment;

/// Pause between two looks at the due hints. Times are whole seconds, so this is how late a number
/// is back at most when no lease call helps.
pub(crate) const SWEEP_INTERVAL_MS: u64 = 50;
/// The sweeper works so long, then lets the workers have the processor.
const SWEEP_TURN: Duration = Duration::from_micros(100);
/// How long it lets them.
const SWEEP_REST: Duration = Duration::from_micros(100);
/// How long while the journal has no file to go on in: a sweep can wait for the checkpoint, leases cannot.
const SWEEP_REST_WHILE_SCARCE: Duration = Duration::from_millis(20);

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
        let changing = self.shared.journal.change(slot);
        let now_milliseconds = self.shared.clock.milliseconds();
        segment.ranks.sweep_one(now, self.on_expiry(), cursor, slot, |rank, before, after| {
            changing.record(|| self.record(segment, rank, after));
            if let Some(due) = before.due() {
                self.lateness.record(now_milliseconds.saturating_sub(u64::from(due.seconds()) * 1_000));
            }
            if before.state() == State::Leased {
                self.counters.count(slot, Total::Expirations, 1);
            }
            self.counted(segment, slot, rank, before, after);
        })
    }
}

/// Sweeps what `pools` answers with, again and again, until the other end of `stop` is dropped.
pub(crate) fn run(slot: Slot, pools: impl Fn() -> Vec<std::sync::Arc<Pool>>, stop: &Receiver<()>) {
    let interval = Duration::from_millis(SWEEP_INTERVAL_MS);
    while stop.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
        let mut turn = Instant::now();
        for pool in pools() {
            for segment in &pool.segments.load().list {
                let (shared, mut cursor) = (&pool.shared, 0);
                while pool.sweep_one(segment, shared.clock.now(), &mut cursor, slot) {
                    if turn.elapsed() > SWEEP_TURN {
                        let scarce = shared.journal.is_scarce();
                        let rest = if scarce { SWEEP_REST_WHILE_SCARCE } else { SWEEP_REST };
                        if stop.recv_timeout(rest) != Err(RecvTimeoutError::Timeout) {
                            return;
                        }
                        turn = Instant::now();
                    }
                }
            }
        }
    }
}
