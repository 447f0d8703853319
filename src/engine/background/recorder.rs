//! The recorder: samples the pools' counters and saves their totals once per second, and has holders without
//! leases forgotten.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tracing::{info, warn};

use crate::engine::counters::history::SAMPLE_INTERVAL_MS;
use crate::engine::pool::{Pool, Pools};
use crate::log::limit;
use crate::store::totals_file::{AllTotals, TotalsFile};
use crate::sys::background::BackgroundThread;
use crate::sys::sync::mpsc::{Receiver, RecvTimeoutError};

/// Samples between two looks at which holders have no lease: who has none at two of them is forgotten.
const SAMPLES_TO_FORGET: u32 = 60;

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
    let mut samples = 0_u32;
    while stop.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
        let pools = pools();
        samples = samples.wrapping_add(1);
        for pool in &pools {
            pool.sample();
            resume_if_due(pool);
            if samples.is_multiple_of(SAMPLES_TO_FORGET) || pool.holders.are_crowded() {
                pool.holders.forget_idle();
            }
        }
        save(file, &pools, false);
    }
    save(file, &pools(), true);
}

/// Resumes a restored pool once the leases that it does not know have ended.
fn resume_if_due(pool: &Pool) {
    // With a full disk it is tried again a second later.
    if let Ok(true) = pool.resume_if_due() {
        info!(
            event = "pool_opened",
            pool = pool.name().as_str(),
            "the longest lease that can have been given after the backup has ended: the pool gives leases again"
        );
    }
}

/// Saves the totals. No response depends on them: if it fails, it is tried again a second later.
fn save(file: &TotalsFile, pools: &[Arc<Pool>], durably: bool) {
    if let Err(error) = file.write(totals_of(pools), durably)
        && let Some(suppressed) = limit::TOTALS_FAILED.admit()
    {
        warn!(
            event = "totals_failed",
            %error,
            suppressed,
            "the pools' totals could not be saved: if the daemon ends now, the stats lose what they counted since"
        );
    }
}
