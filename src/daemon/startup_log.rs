//! What the daemon logs when it starts.

use std::path::Path;
use std::time::Duration;

use tracing::{info, warn};

use crate::auth::authority::Authority;
use crate::backup;
use crate::engine::clock::Clock;
use crate::engine::open_report::OpenReport;
use crate::engine::registry::Engine;
use crate::http::address::ListenAddress;
use crate::http::listen::ListenerConfig;
use crate::http::server::tls::files::{LoadedTls, shown};
use crate::journal::durability::Durability;
use crate::log::LogConfig;

use super::config::Config;

const NANOS_PER_DAY: u64 = 24 * 3600 * 1_000_000_000;

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

/// Warns if the system's clock may have been set to another time since the last change, by the report of opening.
pub(crate) fn clock_moved(report: &OpenReport, clock: &Clock) {
    let Some((frame, boot_id)) = &report.journal.last else { return };
    // Within one boot the time is counted, whatever the system's clock says.
    if *boot_id == clock.boot_id() {
        return;
    }
    let days = clock.now_nanos().saturating_sub(frame.time_nanos) / NANOS_PER_DAY;
    if days >= 1 {
        warn!(
            event = "clock_moved",
            days,
            "by the system's clock the last change was written {days} days ago: if the daemon did not stand still for so \
             long, the clock is wrong and leases have ended too early; see the clock before callers use what is free"
        );
    }
}

/// Puts the numbers whose state is lost on a list of their own, and logs which that is.
pub(crate) fn given_up(engine: &Engine) {
    match engine.list_given_up() {
        Ok(lists) => {
            for list in lists {
                warn!(
                    event = "given_up",
                    list = %list,
                    "the numbers whose state is lost are retired, and on the list {list}: when the longest lease that \
                     can be live has ended, reinstate them"
                );
            }
        }
        Err(error) => {
            warn!(event = "given_up", "the numbers whose state is lost could not be put on a list: {error}");
        }
    }
}

/// Warns if no backup can be made.
pub(crate) fn backups(directory: &Path) {
    if let Err(error) = backup::check_directory(directory) {
        warn!(event = "backups_impossible", "no backup can be made: {error}");
    }
}

/// Logged when a certificate comes into force.
pub(crate) fn certificate(loaded: &LoadedTls) {
    let expires = shown(loaded.expires);
    info!(event = "certificate", expires = %expires, "the certificate is valid until {expires}");
}

/// Logged when a tokens file comes into force.
pub(crate) fn tokens(authority: &Authority) {
    let principals = authority.principals();
    info!(event = "tokens", principals, "the tokens file is in force: it names {principals} principals");
}

/// Warns of what the settings give up.
pub(crate) fn exposed(config: &Config) {
    let requires = config.tls.as_ref().is_some_and(|tls| tls.client_required);
    let has_tokens = config.tokens.is_some();
    let is_open =
        |listener: &&ListenerConfig| !has_tokens && listener.peers.is_empty() && !(listener.tls && requires);
    let open: Vec<_> = config.listen.iter().filter(is_open).collect();
    if !open.is_empty() {
        warn!(
            event = "no_tokens",
            listen = %joined(&open),
            "there are no tokens: everybody who can connect may make all calls"
        );
    }
    let is_readable = |listener: &&ListenerConfig| !listener.tls && !listener.address.is_local();
    let readable: Vec<_> = config.listen.iter().filter(is_readable).collect();
    if !readable.is_empty() {
        warn!(
            event = "plain_text",
            listen = %joined(&readable),
            "other machines connect without TLS: tokens and numbers travel readable"
        );
    }
}

fn joined<T: ToString>(all: &[T]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
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
        tls,
        tokens,
        allow_plain_text,
        allow_anyone,
        allow_hosts,
        workers,
        max_connections: _,
        max_connections_per_address,
        max_json_bytes,
        max_upload_bytes,
        max_numbers,
        max_backups,
        events_keep,
        durability,
        journal_file_bytes,
        backup_dir,
        audit_log,
        recover_damaged,
        accept_clock,
        serve_at_once,
        cluster,
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
        tokens = tokens.as_ref().map(|path| path.display().to_string()),
        tls_certificate = tls.as_ref().map(|tls| tls.certificate.display().to_string()),
        tls_client_ca = tls.as_ref().and_then(|tls| tls.client_ca.as_ref()).map(|path| path.display().to_string()),
        tls_client_required = tls.as_ref().map(|tls| tls.client_required),
        tls_1_2 = tls.as_ref().map(|tls| tls.allows_1_2),
        allow_host = %allow_hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
        data = %data_dir.display(),
        workers,
        max_connections,
        max_connections_per_address,
        max_json = max_json_bytes,
        max_upload = max_upload_bytes,
        max_numbers,
        max_backups,
        events_keep_bytes = events_keep.map(|keep| keep.bytes),
        events_keep_seconds = events_keep.map(|keep| keep.seconds),
        durability = durability.as_str(),
        sync_interval_ms,
        journal_file_mib = journal_file_bytes >> 20,
        backup_dir = backup_dir.as_ref().map(|path| path.display().to_string()),
        audit_log = audit_log.as_ref().map(|path| path.display().to_string()),
        recover_damaged,
        accept_clock,
        serve_at_once,
        allow_plain_text,
        allow_anyone,
        cluster = cluster.as_ref().map(|cluster| cluster.name.as_str()),
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
