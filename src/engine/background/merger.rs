//! The thread that merges the segments of all pools.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tracing::warn;

use crate::engine::operations::import_error::ImportError;
use crate::engine::operations::merge::Pace;
use crate::engine::pool::{Pool, Pools};
use crate::engine::shared::MERGER_SLOT;
use crate::log::limit;
use crate::sys::background::BackgroundThread;
use crate::sys::sync::Instant;
use crate::sys::sync::mpsc::{Receiver, RecvTimeoutError};

/// Pause between two looks for segments to merge.
const MERGE_INTERVAL: Duration = Duration::from_millis(100);
/// Pause after a merge that failed, for instance on a full disk.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);
/// Longest rest after a write.
const MAX_REST: Duration = Duration::from_millis(50);
/// Words moved between two looks at the clock.
const MOVED_AT_ONCE: u32 = 64;
/// How long words are moved before a rest of the same length, so that the workers get the processor.
const MOVE_TURN: Duration = Duration::from_micros(100);

pub(crate) fn start_merger(pools: &Arc<ArcSwap<Pools>>) -> io::Result<BackgroundThread> {
    let merged = Arc::clone(pools);
    BackgroundThread::start("allotd-merger", move |stop| {
        run(|| merged.load().values().cloned().collect(), stop);
    })
}

/// Merges the segments of the pools that `pools` returns, until the other end of `stop` is dropped.
fn run(pools: impl Fn() -> Vec<Arc<Pool>>, stop: &Receiver<()>) {
    let goes_on = |pause| stop.recv_timeout(pause) == Err(RecvTimeoutError::Timeout);
    // Works as long as it rests: the processor and the disk are for the leases first.
    let after_part = |took: Duration| {
        let _ = stop.recv_timeout(took.min(MAX_REST));
    };
    let (words, turn) = (Cell::new(0_u32), Cell::new(Instant::now()));
    let after_word = || {
        words.set(words.get().wrapping_add(1));
        if !words.get().is_multiple_of(MOVED_AT_ONCE) || turn.get().elapsed() < MOVE_TURN {
            return true;
        }
        let goes_on = goes_on(MOVE_TURN);
        turn.set(Instant::now());
        goes_on
    };
    let pace = Pace { after_word: &after_word, after_part: &after_part };
    let mut interval = MERGE_INTERVAL;
    while goes_on(interval) {
        interval = MERGE_INTERVAL;
        for pool in pools() {
            match pool.merge(MERGER_SLOT, &pace) {
                Ok(()) | Err(ImportError::Deleted) => {}
                Err(error) => {
                    interval = RETRY_INTERVAL;
                    log_failed(&pool, &error);
                }
            }
        }
    }
}

fn log_failed(pool: &Pool, error: &ImportError) {
    if let Some(suppressed) = limit::MERGE_FAILED.admit() {
        warn!(
            event = "merge_failed",
            pool = %pool.name(),
            %error,
            suppressed,
            "the parts of a pool could not be merged: this is retried; additions wait if there are too many"
        );
    }
}
