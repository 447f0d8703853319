//! A server as the comparison sees it.

use allotd::bench::transport::Transport;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use allotd::bench::Protocol;
use serde_json::{Value, json};

/// The protocol of one connection of a load.
pub(crate) type BoxedTalk = Box<dyn Protocol + Send>;

/// What the answers to a lease and a return are called; other refusals have their own code.
pub(crate) const LEASE: &str = "lease";
pub(crate) const RETURN: &str = "return";
/// Stands for the HTTP status of success, and of "none available".
pub(crate) const SUCCESS: u16 = 200;
pub(crate) const REFUSED: u16 = 409;
/// How long leases last, in seconds: none ends during a run.
pub(crate) const TTL_SECONDS: u32 = 86_400;

/// A different seed at each call, the same ones in each run.
pub(crate) fn next_seed() -> u64 {
    static SEED: AtomicU64 = AtomicU64::new(0);
    // The golden ratio: neighbours share no bits.
    SEED.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// What callers do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Operation {
    /// Leases that are kept.
    Lease,
    /// A lease, then its return: two operations.
    LeaseReturn,
}

/// One kind of load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Case {
    pub(crate) operation: Operation,
    pub(crate) connections: usize,
    pub(crate) depth: usize,
}

impl Case {
    pub(crate) const fn new(operation: Operation, connections: usize, depth: usize) -> Self {
        Self { operation, connections, depth }
    }

    pub(crate) fn title(self) -> String {
        let what = match self.operation {
            Operation::Lease => "lease",
            Operation::LeaseReturn => "lease+return",
        };
        format!("{what}, {} connections, P{}", self.connections, self.depth)
    }
}

/// How far a confirmed change is safe: only equal classes are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// A loss of power may take any change.
    None,
    /// A loss of power may take the changes of the last moments.
    Interval,
    /// A loss of power takes no change.
    Sync,
}

impl Class {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Interval => "interval",
            Self::Sync => "sync",
        }
    }
}

/// What is measured once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    pub(crate) numbers: u64,
    pub(crate) load_seconds: Option<f64>,
    pub(crate) restart_seconds: Option<f64>,
    pub(crate) bytes_a_number: Option<f64>,
    /// What a reader must know of them.
    pub(crate) note: &'static str,
}

impl Facts {
    pub(crate) fn json(&self) -> Value {
        json!({
            "numbers": self.numbers,
            "load_seconds": self.load_seconds,
            "restart_seconds": self.restart_seconds,
            "bytes_a_number": self.bytes_a_number,
            "note": self.note,
        })
    }
}

/// A server with its data.
pub(crate) trait Peer {
    fn name(&self) -> String;
    fn class(&self) -> Class;
    fn facts(&self) -> Facts;
    fn cases(&self) -> Vec<Case>;
    /// A new connection.
    fn open(&self, operation: Operation) -> io::Result<(Transport, BoxedTalk)>;
    /// Processor time so far.
    fn cpu(&self) -> io::Result<Duration>;
    /// Called before each round.
    fn before_round(&self) {}
    /// The lease whose throughput over time is measured, if it is.
    fn over_time(&self) -> Option<Case> {
        None
    }
    /// The load at different fills, if it can be filled.
    fn fill_case(&self) -> Option<Case> {
        None
    }
    /// Brings it to this fill, from a lower one.
    fn fill(&mut self, _percent: f64) {}
    /// What it reports of its memory when it is full.
    fn bytes_a_number_when_full(&self) -> Option<f64> {
        None
    }
}
