//! What the daemon logs when it starts.

use std::time::Duration;

use tracing::{info, warn};

use crate::engine::open_report::OpenReport;
use crate::engine::registry::Engine;
use crate::http::address::ListenAddress;
use crate::journal::durability::Durability;
use crate::log::LogConfig;

use super::config::Config;

/// Logged before the data directory is opened, which may take a while.
pub(crate) fn starting(config: &Config) {
    info!(
        event = "starting",
        version = env!("CARGO_PKG_VERSION"),
        pid = std::process::id(),
        data = %config.data_dir.display(),
        "allotd is opening its data directory"
    );
}

/// Logs what opening found in the journal.
pub(crate) fn recovered(report: &OpenReport) {
    let journal = &report.journal;
    if journal.files.is_empty() {
        return;
    }
    let (files, frames, records) = (journal.files.len(), journal.frames, journal.records);
    let (clean, cut_bytes) = (journal.clean, journal.cut_bytes);
    macro_rules! recovered {
        ($level:ident) => {
            $level!(event = "recovered", files, frames, records, clean, cut_bytes, "{report}")
        };
    }
    if report.is_whole() { recovered!(info) } else { recovered!(warn) }
}

/// Logged once requests are served: the settings and what was opened.
/// `max_connections` is how many connections can be served.
pub(crate) fn ready(
    config: &Config,
    max_connections: u64,
    listen: &[ListenAddress],
    engine: &Engine,
    opening: Duration,
) {
    // Destructured in full, so that a new setting cannot be left out.
    let Config {
        data_dir,
        listen: _,
        allow_hosts,
        workers,
        max_connections: _,
        max_connections_per_address,
        max_json_bytes,
        max_upload_bytes,
        max_numbers,
        max_backups,
        durability,
        journal_file_bytes,
        backup_dir,
        recover_damaged,
        accept_clock,
        log,
    } = config;
    let LogConfig { level, format, shows_numbers, slow_call_ms } = log;
    let sync_interval_ms = match durability {
        Durability::Interval { sync_interval_ms } => Some(*sync_interval_ms),
        Durability::Sync | Durability::None => None,
    };
    let pools = engine.pools();
    info!(
        event = "ready",
        version = env!("CARGO_PKG_VERSION"),
        pid = std::process::id(),
        listen = %listen.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
        allow_host = %allow_hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
        data = %data_dir.display(),
        workers,
        max_connections,
        max_connections_per_address,
        max_json = max_json_bytes,
        max_upload = max_upload_bytes,
        max_numbers,
        max_backups,
        durability = durability.as_str(),
        sync_interval_ms,
        journal_file_mib = journal_file_bytes >> 20,
        backup_dir = backup_dir.as_ref().map(|path| path.display().to_string()),
        recover_damaged,
        accept_clock,
        log_level = level.as_str(),
        log_format = format.as_str(),
        log_numbers = shows_numbers,
        slow_call_ms,
        pools = pools.len(),
        numbers = pools.iter().map(|pool| pool.numbers()).sum::<u64>(),
        opening_ms = opening.as_millis() as u64,
        "allotd is ready"
    );
}
