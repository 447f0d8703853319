//! The state of one worker thread: its engine handle, its counters, and vectors that are reused for each
//! request, so that a lease allocates nothing but its response.

use std::cell::RefCell;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use arc_swap::cache::Cache;
use bytes::Bytes;

use crate::engine::clock::Clock;
use crate::engine::operations::lease::Lease;
use crate::engine::operations::lease_ref::LeaseRef;
use crate::engine::operations::renew::RenewResult;
use crate::engine::operations::return_leases::{ReturnItem, ReturnResult};
use crate::engine::pool::Pools;
use crate::engine::registry::Engine;
use crate::engine::worker::{Patience, Worker};
use crate::http::audit::Audit;
use crate::http::batch_turn::BatchTurn;
use crate::http::blocking;
use crate::http::lanes::Lane;
use crate::http::response::body::Body;
use crate::http::response::json::TimeText;
use crate::http::response::problem::Problem;
use crate::journal::handle::Journal;
use crate::journal::queue::Position;

use super::commit_gate::Gates;
use super::counters::WorkerStats;
use super::counters::pool_latency::Sampler;

/// The pools by name as this thread last saw them: it looks for a change without writing what other threads
/// write too.
type SeenPools = Cache<Arc<ArcSwap<Pools>>, Arc<Pools>>;

/// Most items of a batch that the worker itself leases, renews or returns: in between it serves nobody else.
const MAX_ITEMS_AT_ONCE: usize = 1_024;

/// The state of this thread's worker.
pub(crate) struct WorkerState {
    pub(crate) pools: SeenPools,
    pub(crate) calls: CallState,
    /// For batches, which other threads work on.
    batches: Arc<Mutex<CallState>>,
    journal: Arc<Journal>,
    pub(crate) stats: Arc<WorkerStats>,
    /// Which calls are counted by pool.
    pub(crate) sampler: Sampler,
    pub(crate) gates: Gates,
    audit: Arc<Audit>,
}

/// That of a lease which is not told another one: a refusal is counted where it is made, as a call that finds nothing
/// may yet be made in another way.
pub(crate) const PLAIN_PATIENCE: Patience = Patience::MayWait;

/// What the calls need of their thread.
pub(crate) struct CallState {
    pub(crate) engine: Worker,
    /// Whether it belongs to the thread that serves the connection.
    serves: bool,
    pub(crate) stats: Arc<WorkerStats>,
    pub(crate) clock: Arc<Clock>,
    pub(crate) times: TimeText,
    pub(crate) leases: Vec<Lease>,
    pub(crate) held: Vec<LeaseRef>,
    pub(crate) renewed: Vec<RenewResult>,
    pub(crate) to_return: Vec<ReturnItem>,
    pub(crate) returned: Vec<ReturnResult>,
}

impl CallState {
    fn new(mut engine: Worker, clock: Arc<Clock>, stats: Arc<WorkerStats>, serves: bool) -> Self {
        engine.set_patience(PLAIN_PATIENCE);
        Self {
            engine,
            serves,
            stats,
            clock,
            times: TimeText::new(),
            leases: Vec::new(),
            held: Vec::new(),
            renewed: Vec::new(),
            to_return: Vec::new(),
            returned: Vec::new(),
        }
    }

    /// A body that waits for what the engine says.
    #[inline]
    pub(crate) fn confirmed(&self, bytes: Bytes, position: Position) -> Body {
        // Without a group it waits for its thread's own records: those of later calls too, if there are any.
        if position.group == 0 && self.serves { Body::OwnChanges(bytes) } else { Body::Whole(bytes) }
    }
}

thread_local! {
    static STATE: RefCell<Option<WorkerState>> = const { RefCell::new(None) };
}

/// Makes this thread a worker of an engine. `batches` is the handle for batches.
pub(crate) fn install(
    engine: Worker,
    batches: Worker,
    of: &Engine,
    audit: Arc<Audit>,
    counters: Arc<WorkerStats>,
) {
    let state = WorkerState {
        pools: Cache::new(Arc::clone(&of.pools)),
        gates: Gates::new(Arc::clone(of.journal()), engine.slot(), Arc::clone(&counters)),
        calls: CallState::new(engine, Arc::clone(of.clock()), Arc::clone(&counters), true),
        batches: Arc::new(Mutex::new(CallState::new(
            batches,
            Arc::clone(of.clock()),
            Arc::clone(&counters),
            false,
        ))),
        journal: Arc::clone(of.journal()),
        stats: counters,
        sampler: Sampler::default(),
        audit,
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

/// The audit log. Panics as [`with`] does.
pub(crate) fn audit() -> Arc<Audit> {
    with(|state| Arc::clone(&state.audit))
}

/// Runs a call of `items` items: on this thread, or on one for batches if they are many or their records have to
/// wait for the journal's writer. An item has up to `records_per_item` records, and the call one more. Of the calls
/// with the same `turn`, one at a time is on a thread.
pub(crate) async fn with_items<T: Send + 'static>(
    items: usize,
    records_per_item: usize,
    turn: Option<&BatchTurn>,
    work: impl FnOnce(&mut CallState) -> T + Send + 'static,
) -> Result<T, Problem> {
    let records = (items * records_per_item + 1) as u64;
    let is_short = |state: &WorkerState| {
        items <= MAX_ITEMS_AT_ONCE && state.journal.has_room(state.calls.engine.slot(), records)
    };
    if with(|state| is_short(state)) {
        return Ok(with(|state| work(&mut state.calls)));
    }
    let _turn = BatchTurn::take(turn).await;
    let (batches, journal) = with(|state| (Arc::clone(&state.batches), Arc::clone(&state.journal)));
    blocking::answer(Lane::Batch, move || {
        let mut state = batches.lock().unwrap_or_else(PoisonError::into_inner);
        let done = work(&mut state);
        journal.wake_for(state.engine.slot());
        Ok(done)
    })
    .await
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
