//! The daemon's settings: flags, environment and file, merged into one validated [`Config`].
//! A flag takes precedence over the environment (`ALLOTD_…`), which takes precedence over the file.

pub mod args;
pub mod cluster;
pub mod error;
mod exposure;
pub mod limits;
pub mod listen;

use std::path::{Path, PathBuf};

use crate::http::limits::{JSON_BODY_BYTES, MAX_JSON_BODY_BYTES, MIN_JSON_BODY_BYTES, UPLOAD_BYTES};
use crate::http::listen::{ListenerConfig, parse_list};
use crate::http::request::origin::AllowedHost;
use crate::http::server::DEFAULT_MAX_CONNECTIONS;
use crate::http::server::tls::files::TlsFiles;
use crate::journal::durability::Durability;
use crate::log::{ChoiceError, DEFAULT_SLOW_CALL_MS, Format, Level, LogConfig};
use crate::store::event_log::Keep;
use crate::sys::parallel;

use args::ServeArgs;
use cluster::ClusterConfig;
use error::ConfigError;
use exposure::Protection;
use limits::{
    DEFAULT_JOURNAL_FILE_MIB, DEFAULT_SYNC_INTERVAL_MS, MAX_JOURNAL_FILE_MIB, MAX_SYNC_INTERVAL_MS,
    MAX_WORKERS, MIN_JOURNAL_FILE_MIB,
};

/// Where the daemon listens by default.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:7979";

/// The daemon's settings, validated.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Config {
    /// Directory of the pools.
    pub data_dir: PathBuf,
    /// Where and how to listen, at least one.
    pub listen: Vec<ListenerConfig>,
    /// Certificates; `None` if no listener speaks TLS.
    pub tls: Option<TlsFiles>,
    /// File of the tokens; `None` if callers need none.
    pub tokens: Option<PathBuf>,
    /// Whether other machines may connect without TLS.
    pub allow_plain_text: bool,
    /// Whether other machines may connect and do everything, whoever they are.
    pub allow_anyone: bool,
    /// Names under which the daemon is reached, besides its addresses.
    pub allow_hosts: Vec<AllowedHost>,
    /// Threads that serve requests, 1 to [`MAX_WORKERS`].
    pub workers: usize,
    /// Connections that are served at the same time, at least one.
    pub max_connections: u64,
    /// Connections of one address; `None` for a part of all.
    pub max_connections_per_address: Option<u64>,
    /// Longest JSON body, in bytes.
    pub max_json_bytes: u64,
    /// Longest list of numbers, in bytes.
    pub max_upload_bytes: u64,
    /// Numbers that all pools together may have.
    pub max_numbers: Option<u64>,
    /// Backups that the directory of backups may have.
    pub max_backups: Option<u64>,
    /// How many changes are kept for those who follow them.
    pub events_keep: Option<Keep>,
    /// What a response guarantees.
    pub durability: Durability,
    /// Size of a journal file, in bytes.
    pub journal_file_bytes: u64,
    /// Directory in which backups are made; `None` for one in the data directory.
    pub backup_dir: Option<PathBuf>,
    /// File of the audit log; `None` for none.
    pub audit_log: Option<PathBuf>,
    /// Whether to start with a damaged data directory.
    pub recover_damaged: bool,
    /// Whether to believe a clock that is far ahead of the journal.
    pub accept_clock: bool,
    /// Whether pools are open that a restore paused.
    pub serve_at_once: bool,
    /// How it is a member of a cluster; `None` if it stands alone.
    pub cluster: Option<ClusterConfig>,
    /// What is logged, and how.
    pub log: LogConfig,
}

impl ServeArgs {
    /// Merges flags, environment (clap has read it) and file, and validates the result. What is refused is named as
    /// it was given.
    pub fn into_config(self) -> Result<Config, ConfigError> {
        let (path, sources) = (self.config.clone(), self.given.clone());
        let (file, keys) = path.as_deref().map(args::read_file).transpose()?.unwrap_or_default();
        self.or(file).validated().map_err(|error| {
            let message = error.to_string();
            let named = sources.name_source(message.clone(), path.as_deref().map(|path| (path, &keys)));
            if named == message { error } else { ConfigError::Elsewhere(named) }
        })
    }

    fn validated(self) -> Result<Config, ConfigError> {
        let given = self;
        let log = given.log()?;
        let mut listen = listen::listeners(&given.listen)?;
        if listen.is_empty() {
            listen = parse_list(DEFAULT_LISTEN)?;
        }
        let cluster = ClusterConfig::of(&given)?;
        let mut allow_hosts: Vec<AllowedHost> =
            given.allow_host.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
        allow_hosts.extend(cluster.iter().map(|(_, host)| host.clone()));
        if given.insecure.is_some() {
            return Err(ConfigError::Insecure);
        }
        let tls = exposure::tls_files(&given)?;
        exposure::check_tls(&listen, tls.as_ref())?;
        let protection = Protection {
            has_tokens: given.tokens.is_some(),
            requires_certificates: tls.as_ref().is_some_and(|tls| tls.client_required),
            allows_plain_text: given.allow_plain_text.unwrap_or(false),
            allows_anyone: given.allow_anyone.unwrap_or(false),
        };
        listen.iter().try_for_each(|listener| protection.check(listener))?;
        let workers = given.workers.unwrap_or_else(default_workers);
        if !(1..=MAX_WORKERS).contains(&workers) {
            return Err(ConfigError::Workers(workers));
        }
        let max_connections = given.max_connections.unwrap_or(DEFAULT_MAX_CONNECTIONS);
        if max_connections == 0 {
            return Err(ConfigError::MaxConnections);
        }
        for (flag, value, least) in [
            ("--max-connections-per-address", given.max_connections_per_address, 1),
            ("--max-json", given.max_json, MIN_JSON_BODY_BYTES),
            ("--max-upload", given.max_upload, 1),
            ("--max-numbers", given.max_numbers, 1),
            ("--max-backups", given.max_backups, 1),
        ] {
            if let Some(value) = value.filter(|value| *value < least) {
                return Err(ConfigError::TooSmall { flag, value, least });
            }
        }
        let max_json_bytes = given.max_json.unwrap_or(JSON_BODY_BYTES);
        if max_json_bytes > MAX_JSON_BODY_BYTES {
            return Err(ConfigError::MaxJson(max_json_bytes));
        }
        // In a cluster a change stands in etcd before it is told.
        let default_mode = cluster.as_ref().map(|_| "interval");
        let durability = durability(given.durability.as_deref().or(default_mode), given.sync_interval_ms)?;
        if cluster.is_some() && durability == Durability::None {
            return Err(ConfigError::ClusterWithoutJournal);
        }
        let events_keep = given
            .events_keep
            .map(|text| text.parse::<Keep>().map_err(|error| ConfigError::EventsKeep(text, error)));
        let events_keep = events_keep.transpose()?;
        if events_keep.is_some() && durability == Durability::None {
            return Err(ConfigError::EventsWithoutJournal);
        }
        let mib = given.journal_file_mib.unwrap_or(DEFAULT_JOURNAL_FILE_MIB);
        if !(MIN_JOURNAL_FILE_MIB..=MAX_JOURNAL_FILE_MIB).contains(&mib) {
            return Err(ConfigError::JournalFile(mib));
        }
        let data_dir = given.data.ok_or(ConfigError::NoData)?;
        check_backup_dir(given.backup_dir.as_deref(), &data_dir)?;
        Ok(Config {
            backup_dir: given.backup_dir,
            audit_log: given.audit_log,
            data_dir,
            listen,
            tls,
            tokens: given.tokens,
            allow_plain_text: protection.allows_plain_text,
            allow_anyone: protection.allows_anyone,
            allow_hosts,
            workers,
            max_connections,
            max_connections_per_address: given.max_connections_per_address,
            max_json_bytes,
            max_upload_bytes: given.max_upload.unwrap_or(UPLOAD_BYTES),
            max_numbers: given.max_numbers,
            max_backups: given.max_backups,
            events_keep,
            durability,
            journal_file_bytes: u64::from(mib) << 20,
            recover_damaged: given.recover_damaged.unwrap_or(false),
            accept_clock: given.accept_clock.unwrap_or(false),
            serve_at_once: given.serve_at_once.unwrap_or(false),
            cluster: cluster.map(|(cluster, _)| cluster),
            log,
        })
    }

    fn log(&self) -> Result<LogConfig, ChoiceError> {
        Ok(LogConfig {
            level: self.log_level.as_deref().map_or(Ok(Level::default()), str::parse)?,
            format: self.log_format.as_deref().map_or(Ok(Format::default()), str::parse)?,
            shows_numbers: self.log_numbers.unwrap_or(false),
            slow_call_ms: self.slow_call_ms.unwrap_or(DEFAULT_SLOW_CALL_MS),
        })
    }
}

fn durability(mode: Option<&str>, sync_interval_ms: Option<u32>) -> Result<Durability, ConfigError> {
    let mode = match mode.unwrap_or(Durability::Sync.as_str()) {
        "interval" => {
            let sync_interval_ms = sync_interval_ms.unwrap_or(DEFAULT_SYNC_INTERVAL_MS);
            if !(1..=MAX_SYNC_INTERVAL_MS).contains(&sync_interval_ms) {
                return Err(ConfigError::SyncInterval(sync_interval_ms));
            }
            return Ok(Durability::Interval { sync_interval_ms });
        }
        "sync" => Durability::Sync,
        "none" => Durability::None,
        other => return Err(ConfigError::Durability(other.to_owned())),
    };
    if sync_interval_ms.is_some() { Err(ConfigError::SyncIntervalAlone) } else { Ok(mode) }
}

/// Backups may be in the data directory, but not among the daemon's own files.
fn check_backup_dir(backup_dir: Option<&Path>, data_dir: &Path) -> Result<(), ConfigError> {
    let Some(backup_dir) = backup_dir else { return Ok(()) };
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let (backups, data) = (absolute(backup_dir), absolute(data_dir));
    let taken = ["pools", "journal", "staging"].iter().any(|part| backups.starts_with(data.join(part)));
    if taken || backups == data { Err(ConfigError::BackupDir(backup_dir.to_owned())) } else { Ok(()) }
}

fn default_workers() -> usize {
    parallel::processors().min(MAX_WORKERS)
}

#[cfg(test)]
mod tests;
