//! The body of `GET /v1/stats`, as it is written and read. `docs/stats.md` gives the meaning of each field.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::http::cluster::ClusterStatus;

/// The whole body.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Stats {
    pub(crate) version: String,
    pub(crate) uptime_seconds: u64,
    pub(crate) durability: String,
    pub(crate) state: String,
    pub(crate) pools: BTreeMap<String, PoolStats>,
    #[serde(default)]
    pub(crate) lists: BTreeMap<String, ListStats>,
    pub(crate) requests: BTreeMap<String, CallStats>,
    pub(crate) refusals: BTreeMap<String, RefusalStats>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) principals: BTreeMap<String, PrincipalStats>,
    pub(crate) connections: Connections,
    #[serde(default)]
    pub(crate) reload: Reload,
    #[serde(default)]
    pub(crate) backup: LastBackup,
    #[serde(default)]
    pub(crate) clock: ClockState,
    pub(crate) journal: JournalStats,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) events: Option<EventLogStats>,
    pub(crate) disk: Disk,
    pub(crate) memory: Memory,
    /// Only of a member of a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cluster: Option<ClusterStatus>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PoolStats {
    pub(crate) numbers: u64,
    pub(crate) available: u64,
    pub(crate) leased: u64,
    pub(crate) resting: u64,
    pub(crate) done: u64,
    pub(crate) retired: u64,
    #[serde(default)]
    pub(crate) blocked: u64,
    #[serde(default)]
    pub(crate) closed: u64,
    pub(crate) round: u64,
    pub(crate) paused: bool,
    #[serde(default)]
    pub(crate) waiters: u64,
    #[serde(default)]
    pub(crate) oldest_wait_seconds: f64,
    pub(crate) totals: Totals,
    pub(crate) leases_per_second: Rates,
    pub(crate) exhaustion_seconds: Option<u64>,
    pub(crate) next_available_at: Option<String>,
    #[serde(default)]
    pub(crate) open: Option<u64>,
    #[serde(default)]
    pub(crate) next_open_at: Option<String>,
    pub(crate) expiry_lateness_ms: Lateness,
    /// Of calls about leases, in the last minute or two; `None` if there were none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) latency_us: Option<Latency>,
    /// By error code. Absent of an earlier version.
    #[serde(default)]
    pub(crate) refusals: BTreeMap<String, RefusalStats>,
    /// Only of a pool that tracks holders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) holders: Option<HolderStats>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) events: Option<PoolEvents>,
}

/// Who holds leases of a pool.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct HolderStats {
    pub(crate) count: u64,
    pub(crate) leased: u64,
    pub(crate) top: Vec<TopHolder>,
}

/// One of the holders with the most leases.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct TopHolder {
    pub(crate) holder: String,
    pub(crate) leased: u64,
}

/// The events that are kept of a pool: without any, the newest is the one before the oldest.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PoolEvents {
    pub(crate) oldest: u64,
    pub(crate) newest: u64,
}

/// The events that are kept of all pools.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct EventLogStats {
    pub(crate) bytes: u64,
    pub(crate) readers: u64,
    pub(crate) count: u64,
    pub(crate) per_second: f64,
}

impl PoolStats {
    /// Whether the hours leave no number open.
    pub(crate) fn is_closed(&self) -> bool {
        self.open == Some(0) && self.numbers > 0
    }

    /// Each state and how many numbers are in it.
    pub(crate) fn states(&self) -> [(&'static str, u64); 7] {
        [
            ("available", self.available),
            ("leased", self.leased),
            ("resting", self.resting),
            ("done", self.done),
            ("retired", self.retired),
            ("blocked", self.blocked),
            ("closed", self.closed),
        ]
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ListStats {
    pub(crate) numbers: u64,
    pub(crate) pools: u64,
    pub(crate) changed_at: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Totals {
    pub(crate) leases: u64,
    pub(crate) renewals: u64,
    pub(crate) returns: u64,
    pub(crate) returns_by_outcome: BTreeMap<String, u64>,
    pub(crate) expirations: u64,
    pub(crate) exhausted: u64,
    pub(crate) stale: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Rates {
    #[serde(rename = "1m")]
    pub(crate) last_1m: f64,
    #[serde(rename = "15m")]
    pub(crate) last_15m: f64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Lateness {
    pub(crate) p50: u64,
    pub(crate) p99: u64,
    pub(crate) max: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct CallStats {
    pub(crate) count: u64,
    pub(crate) by_status: BTreeMap<String, u64>,
    pub(crate) latency_us: Latency,
    pub(crate) latency_1m_us: Latency,
}

/// In microseconds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p99_9: f64,
    pub(crate) max: f64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RefusalStats {
    pub(crate) count: u64,
    #[serde(default)]
    pub(crate) count_1m: u64,
    pub(crate) last_at: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PrincipalStats {
    pub(crate) requests: u64,
    pub(crate) refusals: u64,
    pub(crate) leases: u64,
    /// Only of one whose tokens end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ends_at: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Connections {
    pub(crate) open: u64,
    pub(crate) accepted: u64,
    #[serde(default)]
    pub(crate) limit: u64,
}

/// The last reload since the start. `error` says why it failed, and is empty for who does not see all pools.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Reload {
    pub(crate) at: Option<String>,
    pub(crate) error: Option<String>,
}

/// The last backup that was asked for since the start, and the last that was made.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct LastBackup {
    pub(crate) at: Option<String>,
    pub(crate) error: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) as_of: Option<String>,
}

/// The system's clock against the time that leases are counted in.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct ClockState {
    pub(crate) ahead_seconds: f64,
    pub(crate) synchronized: Option<bool>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct JournalStats {
    pub(crate) state: String,
    pub(crate) bytes: u64,
    pub(crate) frames: u64,
    pub(crate) records: u64,
    pub(crate) syncs: u64,
    pub(crate) records_per_sync: f64,
    pub(crate) sync_us: Latency,
    #[serde(default)]
    pub(crate) sync_1m_us: Latency,
    pub(crate) commit_wait_us: Latency,
    #[serde(default)]
    pub(crate) commit_wait_1m_us: Latency,
    #[serde(default)]
    pub(crate) waiting_seconds: f64,
    pub(crate) unsynced_records: u64,
    pub(crate) files: u64,
    pub(crate) checkpoints: u64,
    pub(crate) checkpoint_age_seconds: Option<u64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Disk {
    pub(crate) free_bytes: Option<u64>,
    pub(crate) total_bytes: Option<u64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Memory {
    pub(crate) resident_bytes: Option<u64>,
}
