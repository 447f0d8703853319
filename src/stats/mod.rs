//! What the daemon counts about itself: requests by call and status, their latency, open connections,
//! memory. Each worker thread writes its own counters; only a reader of the stats adds them up.

pub mod memory;
pub mod requests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use requests::{CallSnapshot, RequestCounters};

/// The counters of one worker thread.
#[derive(Debug, Default)]
pub struct WorkerStats {
    /// Requests by call.
    pub requests: RequestCounters,
    /// Connections that are open now.
    pub open_connections: AtomicU64,
    /// Connections that were ever given to this worker.
    pub accepted_connections: AtomicU64,
}

/// The counters of all workers.
#[derive(Debug)]
pub struct Stats {
    started: Instant,
    workers: Vec<Arc<WorkerStats>>,
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
    /// Counters for so many workers, all zero.
    pub fn new(workers: usize) -> Self {
        Self { started: Instant::now(), workers: (0..workers).map(|_| Arc::default()).collect() }
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

    /// Open and accepted connections.
    pub fn connections(&self) -> Connections {
        let sum = |field: fn(&WorkerStats) -> &AtomicU64| {
            self.workers.iter().map(|worker| field(worker).load(Ordering::Relaxed)).sum()
        };
        Connections { open: sum(|w| &w.open_connections), accepted: sum(|w| &w.accepted_connections) }
    }

    /// The calls that were made at least once.
    pub fn requests(&self) -> Vec<CallSnapshot> {
        requests::snapshot(&self.workers.iter().map(|worker| &worker.requests))
    }
}
