//! The thread that sweeps all pools, in short bursts.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::coordinates::Rank;
use crate::engine::idempotency::entry::KeyEntry;
use crate::engine::pool::{Pool, Pools};
use crate::engine::shared::{SWEEPER_SLOT, Shared};
use crate::sys::background::BackgroundThread;
use crate::sys::slot::Slot;
use crate::sys::sync::Instant;
use crate::sys::sync::mpsc::{Receiver, RecvTimeoutError};

pub(crate) fn start_sweeper(
    shared: &Arc<Shared>,
    pools: &Arc<ArcSwap<Pools>>,
) -> io::Result<BackgroundThread> {
    let (swept, purged) = (Arc::clone(pools), Arc::clone(shared));
    BackgroundThread::start("allotd-sweeper", move |stop| {
        let pools = || {
            let pools: Vec<Arc<Pool>> = swept.load().values().cloned().collect();
            let live_until = |entry: &KeyEntry| {
                pools.iter().find(|pool| Some(pool.id()) == entry.pool())?.live_until(entry)
            };
            purged.keys.purge_some(purged.clock.now(), live_until);
            pools
        };
        run(SWEEPER_SLOT, pools, stop);
    })
}

/// Pause between two checks of the due hints. Times are whole seconds, so this is also how late a number
/// is swept at most, unless a lease call sweeps it earlier.
pub(crate) const SWEEP_INTERVAL_MS: u64 = 50;
/// How long the sweeper works before it pauses, so that the workers get the processor.
const SWEEP_TURN: Duration = Duration::from_micros(100);
/// How long it pauses then.
const SWEEP_REST: Duration = Duration::from_micros(100);
/// How long it pauses while the journal is running low: a sweep can wait for the checkpoint, leases cannot.
const SWEEP_REST_WHILE_SCARCE: Duration = Duration::from_millis(20);

/// Repeatedly sweeps the pools that `pools` returns, until the other end of `stop` is dropped.
pub(crate) fn run(slot: Slot, pools: impl Fn() -> Vec<std::sync::Arc<Pool>>, stop: &Receiver<()>) {
    let interval = Duration::from_millis(SWEEP_INTERVAL_MS);
    while stop.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
        let mut turn = Instant::now();
        for pool in pools() {
            pool.turn_hours();
            for segment in &pool.segments.load().list {
                let (shared, mut cursor) = (&pool.shared, 0);
                let all = Rank(0)..Rank(segment.state.free.len());
                // With a full journal nothing is swept: its records would take the space that what is
                // committed last needs.
                while shared.journal.check().is_ok()
                    && pool.sweep_one(segment, &all, shared.clock.now(), &mut cursor, slot)
                {
                    if turn.elapsed() > SWEEP_TURN {
                        let scarce = shared.journal.is_running_low();
                        let rest = if scarce { SWEEP_REST_WHILE_SCARCE } else { SWEEP_REST };
                        if stop.recv_timeout(rest) != Err(RecvTimeoutError::Timeout) {
                            return;
                        }
                        turn = Instant::now();
                    }
                }
                let now = shared.clock.now();
                if segment.state.due.is_due(now) {
                    segment.state.settle_groups(now, slot);
                }
            }
        }
    }
}
