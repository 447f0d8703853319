//! The answer of `GET /v1/stats`, as far as it is shown. `docs/stats.md` tells what each field means.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::client::ClientError;
use crate::http::response::problem;

/// The whole answer.
#[derive(Debug, Clone, Deserialize)]
pub(in crate::cli) struct Stats {
    pub(in crate::cli) version: String,
    pub(in crate::cli) uptime_seconds: u64,
    pub(in crate::cli) durability: String,
    pub(in crate::cli) state: String,
    pub(in crate::cli) pools: BTreeMap<String, PoolStats>,
    pub(in crate::cli) requests: BTreeMap<String, CallStats>,
    pub(in crate::cli) refusals: BTreeMap<String, Refusals>,
    pub(in crate::cli) connections: Connections,
    pub(in crate::cli) journal: Journal,
    pub(in crate::cli) disk: Disk,
    pub(in crate::cli) memory: Memory,
}

impl Stats {
    /// Reads the answer.
    pub(in crate::cli) fn parse(answer: &str) -> Result<Self, ClientError> {
        serde_json::from_str(answer).map_err(|error| ClientError::Answer(error.to_string()))
    }
}

#[derive(Debug, Clone, Deserialize)]
pub(in crate::cli) struct PoolStats {
    pub(in crate::cli) numbers: u64,
    pub(in crate::cli) available: u64,
    pub(in crate::cli) leased: u64,
    pub(in crate::cli) resting: u64,
    pub(in crate::cli) done: u64,
    pub(in crate::cli) retired: u64,
    pub(in crate::cli) round: u64,
    pub(in crate::cli) paused: bool,
    pub(in crate::cli) totals: Totals,
    pub(in crate::cli) leases_per_second: Rates,
    pub(in crate::cli) exhaustion_seconds: Option<u64>,
    pub(in crate::cli) next_available_at: Option<String>,
    pub(in crate::cli) expiry_lateness_ms: Lateness,
}

impl PoolStats {
    /// Each state and how many numbers are in it.
    pub(in crate::cli) fn states(&self) -> [(&'static str, u64); 5] {
        [
            ("available", self.available),
            ("leased", self.leased),
            ("resting", self.resting),
            ("done", self.done),
            ("retired", self.retired),
        ]
    }
}

#[derive(Debug, Clone, Deserialize)]
pub(in crate::cli) struct Totals {
    pub(in crate::cli) leases: u64,
    pub(in crate::cli) renewals: u64,
    pub(in crate::cli) returns: u64,
    pub(in crate::cli) returns_by_outcome: BTreeMap<String, u64>,
    pub(in crate::cli) expirations: u64,
    pub(in crate::cli) exhausted: u64,
    pub(in crate::cli) stale: u64,
}

#[derive(Debug, Clone, Deserialize)]
pub(in crate::cli) struct Rates {
    #[serde(rename = "1m")]
    pub(in crate::cli) last_1m: f64,
    #[serde(rename = "15m")]
    pub(in crate::cli) last_15m: f64,
}

#[derive(Debug, Clone, Deserialize)]
pub(in crate::cli) struct Lateness {
    pub(in crate::cli) p50: u64,
    pub(in crate::cli) p99: u64,
    pub(in crate::cli) max: u64,
}

#[derive(Debug, Clone, Deserialize)]
pub(in crate::cli) struct CallStats {
    pub(in crate::cli) count: u64,
    pub(in crate::cli) by_status: BTreeMap<String, u64>,
    pub(in crate::cli) latency_us: Latency,
    pub(in crate::cli) latency_1m_us: Latency,
}

/// In microseconds.
#[derive(Debug, Clone, Deserialize)]
pub(in crate::cli) struct Latency {
    pub(in crate::cli) p50: f64,
    pub(in crate::cli) p99: f64,
    pub(in crate::cli) p99_9: f64,
    pub(in crate::cli) max: f64,
}

#[derive(Debug, Clone, Deserialize)]
pub(in crate::cli) struct Refusals {
    pub(in crate::cli) count: u64,
    pub(in crate::cli) count_1m: u64,
    pub(in crate::cli) last_at: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(in crate::cli) struct Connections {
    pub(in crate::cli) open: u64,
    pub(in crate::cli) accepted: u64,
}

#[derive(Debug, Clone, Deserialize)]
pub(in crate::cli) struct Journal {
    pub(in crate::cli) state: String,
    pub(in crate::cli) bytes: u64,
    pub(in crate::cli) records: u64,
    pub(in crate::cli) syncs: u64,
    pub(in crate::cli) records_per_sync: f64,
    pub(in crate::cli) sync_us: Latency,
    pub(in crate::cli) commit_wait_us: Latency,
    pub(in crate::cli) unsynced_records: u64,
    pub(in crate::cli) checkpoints: u64,
    pub(in crate::cli) checkpoint_age_seconds: Option<u64>,
}

#[derive(Debug, Clone, Deserialize)]
pub(in crate::cli) struct Disk {
    pub(in crate::cli) free_bytes: Option<u64>,
    pub(in crate::cli) total_bytes: Option<u64>,
}

#[derive(Debug, Clone, Deserialize)]
pub(in crate::cli) struct Memory {
    pub(in crate::cli) resident_bytes: Option<u64>,
}

/// The state of the daemon in words that say what to do.
pub(in crate::cli) fn state_in_words(state: &str) -> &str {
    match state {
        "draining" => "draining: it shuts down",
        "storage_full" => "storage full: changes are refused, free some disk space",
        "poisoned" => "poisoned: the disk failed, look at the log",
        other => other,
    }
}

/// What requests with this error code were refused for.
pub(in crate::cli) fn refusal_in_words(code: &str) -> &'static str {
    problem::title(code).unwrap_or("An error that this version does not know")
}
