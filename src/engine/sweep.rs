//! The sweep: what becomes of leases and rests whose time has come.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::state::mutations::Slot;
use crate::state::time::Timestamp;
use crate::state::word::State;

use super::counters::Total;
use super::pool::Pool;
use super::segment::Segment;

/// Pause between two looks at the due hints. Times are whole seconds, so this is how late a number
/// is back at most when no lease call helps.
pub(crate) const SWEEP_INTERVAL_MS: u64 = 50;
/// The sweeper works so long, then lets the workers have the processor.
const SWEEP_TURN_MICROS: u128 = 500;
/// How long it lets them.
const SWEEP_REST_MICROS: u64 = 200;
/// Blocks between two looks at the clock.
const BLOCKS_A_LOOK: u32 = 8;

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
        segment.ranks.sweep_one(now, self.on_expiry(), cursor, slot, |rank, before, after| {
            changing.record(|| self.record(segment, rank, after));
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
                let mut cursor = 0;
                let mut blocks = 0;
                while pool.sweep_one(segment, pool.shared.clock.now(), &mut cursor, slot) {
                    blocks += 1;
                    if blocks % BLOCKS_A_LOOK == 0 && turn.elapsed().as_micros() > SWEEP_TURN_MICROS {
                        std::thread::sleep(Duration::from_micros(SWEEP_REST_MICROS));
                        turn = Instant::now();
                    }
                }
            }
        }
    }
}
