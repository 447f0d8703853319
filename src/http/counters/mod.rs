//! The daemon's own counters: requests by call and status, their latency, and connections. Each worker thread
//! writes its own counters; a reader of the stats adds them up.

pub(crate) mod pool_latency;
pub mod principals;
pub mod recent;
pub mod refusals;
pub mod requests;
pub(crate) mod upkeep;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::histogram::{Distribution, DistributionSnapshot};
use crate::sys::monotonic::monotonic_nanos;

use pool_latency::PoolLatencies;
use principals::{PrincipalCounters, PrincipalCounts};
use recent::{Counts, Recent};
use refusals::{RefusalCounters, Refusals};
use requests::{CallSnapshot, RequestCounters};

/// Waits for the journal are kept to a relative error of 2^-5, up to 2^38 ns (4.6 minutes).
const COMMIT_WAIT_POWERS: (u8, u8) = (5, 38);

/// The counters of one worker thread.
#[derive(Debug)]
pub struct WorkerStats {
    /// Requests by call.
    pub requests: RequestCounters,
    /// Refused requests by code.
    pub refusals: RefusalCounters,
    /// Latencies by pool.
    pub pool_latencies: PoolLatencies,
    /// Requests by principal.
    pub principals: PrincipalCounters,
    /// How long responses waited until the changes they report were committed, in nanoseconds. Those that did
    /// not wait are left out.
    pub commit_wait_nanoseconds: Distribution,
    /// Connections that are open now.
    pub open_connections: AtomicU64,
    /// Connections that this worker has ever been given.
    pub accepted_connections: AtomicU64,
}

impl Default for WorkerStats {
    fn default() -> Self {
        let (grouping_power, max_value_power) = COMMIT_WAIT_POWERS;
        Self {
            requests: RequestCounters::default(),
            refusals: RefusalCounters::default(),
            pool_latencies: PoolLatencies::default(),
            principals: PrincipalCounters::default(),
            commit_wait_nanoseconds: Distribution::new(grouping_power, max_value_power),
            open_connections: AtomicU64::new(0),
            accepted_connections: AtomicU64::new(0),
        }
    }
}

/// The counters of all workers.
#[derive(Debug)]
pub struct Stats {
    started: Instant,
    started_at_seconds: u64,
    workers: Vec<Arc<WorkerStats>>,
    recent: Recent,
    connection_limit: AtomicU64,
}

/// Connections, added up over all workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    /// Open now.
    pub open: u64,
    /// Accepted since the start.
    pub accepted: u64,
}

impl Stats {
    /// Counters for `workers` workers, all zero.
    pub fn new(workers: usize) -> Self {
        Self {
            started: Instant::now(),
            started_at_seconds: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs()),
            workers: (0..workers).map(|_| Arc::default()).collect(),
            recent: Recent::default(),
            connection_limit: AtomicU64::new(0),
        }
    }

    /// The counters of one worker.
    ///
    /// # Panics
    /// If there are not that many workers.
    pub fn worker(&self, index: usize) -> Arc<WorkerStats> {
        Arc::clone(&self.workers[index])
    }

    /// Whole seconds since the start.
    pub fn uptime_seconds(&self) -> u64 {
        self.started.elapsed().as_secs()
    }

    /// When that was, since the Unix epoch, by the clock of that moment.
    pub fn started_at_seconds(&self) -> u64 {
        self.started_at_seconds
    }

    /// Open and accepted connections.
    pub fn connections(&self) -> Connections {
        let sum = |field: fn(&WorkerStats) -> &AtomicU64| {
            self.workers.iter().map(|worker| field(worker).load(Ordering::Relaxed)).sum()
        };
        Connections { open: sum(|w| &w.open_connections), accepted: sum(|w| &w.accepted_connections) }
    }

    /// How many connections are served at the same time.
    pub fn connection_limit(&self) -> u64 {
        self.connection_limit.load(Ordering::Relaxed)
    }

    /// Sets how many connections are served at the same time, for those who ask.
    pub fn set_connection_limit(&self, connections: u64) {
        self.connection_limit.store(connections, Ordering::Relaxed);
    }

    /// The calls that were made at least once.
    pub fn requests(&self) -> Vec<CallSnapshot> {
        requests::snapshot(&self.workers.iter().map(|worker| &worker.requests))
    }

    /// Refused requests by code.
    pub fn refusals(&self) -> Refusals {
        refusals::snapshot(self.workers.iter().map(|worker| &worker.refusals))
    }

    /// Refused requests of a pool by code.
    pub fn refusals_of_pool(&self, pool: u64) -> Refusals {
        refusals::snapshot_of_pool(self.workers.iter().map(|worker| &worker.refusals), pool)
    }

    /// How long the calls about a pool's leases took in the last minute or two, in nanoseconds; `None` if there were
    /// none.
    pub fn latency_of_pool(&self, pool: u64) -> Option<DistributionSnapshot> {
        let workers = self.workers.iter().map(|worker| &worker.pool_latencies);
        pool_latency::snapshot(workers, pool, monotonic_nanos())
    }

    /// Forgets the refusals of a pool that is deleted.
    pub fn forget_pool(&self, pool: u64) {
        self.workers.iter().for_each(|worker| worker.refusals.forget_pool(pool));
    }

    /// What is counted of principals, by the places of their names.
    pub fn principals(&self) -> Vec<PrincipalCounts> {
        principals::snapshot(self.workers.iter().map(|worker| &worker.principals))
    }

    /// See [`WorkerStats::commit_wait_nanoseconds`].
    pub fn commit_wait_nanoseconds(&self) -> DistributionSnapshot {
        let (grouping_power, max_value_power) = COMMIT_WAIT_POWERS;
        let mut sum = Distribution::new(grouping_power, max_value_power).snapshot();
        self.workers.iter().for_each(|worker| sum.merge(&worker.commit_wait_nanoseconds.snapshot()));
        sum
    }

    /// The samples of the last minute.
    pub fn recent(&self) -> &Recent {
        &self.recent
    }

    /// Keeps a sample of the counters for the stats of the last minute. To be called every
    /// [`recent::SAMPLE_INTERVAL_SECONDS`]. `syncs` is how long the journal's syncs took, in nanoseconds.
    pub fn keep_sample(&self, syncs: DistributionSnapshot) {
        self.recent.keep(Counts {
            requests: self.requests(),
            refusals: self.refusals(),
            refusals_by_pool: refusals::snapshot_by_pool(self.workers.iter().map(|worker| &worker.refusals)),
            syncs,
            commit_waits: self.commit_wait_nanoseconds(),
        });
        let now_nanos = monotonic_nanos();
        self.workers.iter().for_each(|worker| worker.pool_latencies.forget_old(now_nanos));
    }
}
