//! The recorder: samples the pools' counters and saves their totals once per second.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::engine::counters::history::SAMPLE_INTERVAL_MS;
use crate::engine::pool::{Pool, Pools};
use crate::store::totals_file::{AllTotals, TotalsFile};
use crate::sys::background::BackgroundThread;
use crate::sys::sync::mpsc::{Receiver, RecvTimeoutError};

pub(crate) fn start_recorder(file: TotalsFile, pools: &Arc<ArcSwap<Pools>>) -> io::Result<BackgroundThread> {
    let recorded = Arc::clone(pools);
    BackgroundThread::start("allotd-recorder", move |stop| {
        run(|| recorded.load().values().cloned().collect(), &file, stop);
    })
}

/// The totals of pools, in the form in which they are saved.
pub(crate) fn totals_of(pools: &[Arc<Pool>]) -> AllTotals {
    pools.iter().map(|pool| (pool.id(), pool.kept_totals())).collect::<BTreeMap<_, _>>()
}

/// Records the pools that `pools` returns. Once the other end of `stop` is dropped, saves the totals durably.
pub(crate) fn run(pools: impl Fn() -> Vec<Arc<Pool>>, file: &TotalsFile, stop: &Receiver<()>) {
    let interval = Duration::from_millis(SAMPLE_INTERVAL_MS);
    while stop.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
        let pools = pools();
        for pool in &pools {
            pool.sample();
        }
        // On a full disk a later write succeeds once it has space again. A failed disk has stopped the
        // journal already (`FailStopDisk`).
        let _ = file.write(totals_of(&pools), false);
    }
    let _ = file.write(totals_of(&pools()), true);
}
