//! The state of one worker thread: its engine handle, its counters, and vectors that are reused for each
//! request, so that a lease allocates nothing but its response.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arc_swap::ArcSwap;
use arc_swap::cache::Cache;

use crate::engine::clock::Clock;
use crate::engine::operations::lease::Lease;
use crate::engine::operations::renew_return::{LeaseRef, RenewResult, ReturnItem, ReturnResult};
use crate::engine::pool::Pools;
use crate::engine::registry::Engine;
use crate::engine::worker::Worker;
use crate::http::response::json::TimeText;

use super::commit_gate::Gates;
use super::counters::WorkerStats;

/// The pools by name as this thread last saw them: it looks for a change without writing what other threads
/// write too.
type SeenPools = Cache<Arc<ArcSwap<Pools>>, Arc<Pools>>;

/// The state of this thread's worker.
pub(crate) struct WorkerState {
    pub(crate) pools: SeenPools,
    pub(crate) calls: CallState,
    pub(crate) stats: Arc<WorkerStats>,
    pub(crate) gates: Gates,
}

/// What the calls need of their thread.
pub(crate) struct CallState {
    pub(crate) engine: Worker,
    pub(crate) clock: Arc<Clock>,
    pub(crate) times: TimeText,
    pub(crate) leases: Vec<Lease>,
    pub(crate) held: Vec<LeaseRef>,
    pub(crate) renewed: Vec<RenewResult>,
    pub(crate) to_return: Vec<ReturnItem>,
    pub(crate) returned: Vec<ReturnResult>,
}

thread_local! {
    static STATE: RefCell<Option<WorkerState>> = const { RefCell::new(None) };
}

/// Makes this thread a worker of an engine.
pub(crate) fn install(engine: Worker, of: &Engine, counters: Arc<WorkerStats>) {
    let state = WorkerState {
        pools: Cache::new(Arc::clone(&of.pools)),
        gates: Gates::new(Arc::clone(of.journal()), engine.slot(), Arc::clone(&counters)),
        stats: counters,
        calls: CallState {
            engine,
            clock: Arc::clone(of.clock()),
            times: TimeText::new(),
            leases: Vec::new(),
            held: Vec::new(),
            renewed: Vec::new(),
            to_return: Vec::new(),
            returned: Vec::new(),
        },
    };
    STATE.with_borrow_mut(|place| *place = Some(state));
}

/// Removes this thread's worker state.
pub(crate) fn uninstall() {
    STATE.with_borrow_mut(|place| *place = None);
}

/// Runs `work` with this thread's state. `work` must not call this function again.
///
/// # Panics
/// On a thread that is not a worker: only workers serve requests.
pub(crate) fn with<T>(work: impl FnOnce(&mut WorkerState) -> T) -> T {
    STATE.with_borrow_mut(|state| {
        work(state.as_mut().expect("requests are served by worker threads, which install their state first"))
    })
}

/// Lets go of pools that are deleted.
pub(crate) fn tick() {
    with(|state| {
        state.pools.load();
    });
}

/// Counts a connection of this worker as open for as long as it lives.
#[derive(Debug)]
pub(crate) struct OpenConnection {
    stats: Arc<WorkerStats>,
}

impl OpenConnection {
    /// A connection that was assigned to the worker with these counters.
    pub(crate) fn new(stats: Arc<WorkerStats>) -> Self {
        stats.open_connections.fetch_add(1, Ordering::Relaxed);
        stats.accepted_connections.fetch_add(1, Ordering::Relaxed);
        Self { stats }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.stats.open_connections.fetch_sub(1, Ordering::Relaxed);
    }
}
