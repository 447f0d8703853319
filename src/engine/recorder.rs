//! The recorder: once a second it samples what the pools count, and keeps their totals.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::history::SAMPLE_INTERVAL_MS;
use super::pool::Pool;
use super::totals_file::{AllTotals, TotalsFile};

/// The totals of pools as they are kept.
pub(crate) fn totals_of(pools: &[Arc<Pool>]) -> AllTotals {
    pools.iter().map(|pool| (pool.id(), pool.kept_totals())).collect::<BTreeMap<_, _>>()
}

/// Records what `pools` answers with until the other end of `stop` is dropped; then keeps the totals durably.
pub(crate) fn run(pools: impl Fn() -> Vec<Arc<Pool>>, file: &TotalsFile, stop: &Receiver<()>) {
    let interval = Duration::from_millis(SAMPLE_INTERVAL_MS);
    while stop.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
        let pools = pools();
        for pool in &pools {
            pool.sample();
        }
        // On a full disk they are written when there is room again; a disk that fails has told the journal.
        let _ = file.write(totals_of(&pools), false);
    }
    let _ = file.write(totals_of(&pools()), true);
}
