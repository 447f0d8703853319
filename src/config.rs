//! What the daemon is told: flags, environment and file, merged into one validated [`Config`].
//! A flag wins over the environment (`ALLOTD_…`), which wins over the file.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Deserialize;
use thiserror::Error;

use crate::engine::startup::config::DEFAULT_JOURNAL_FILE_BYTES;
use crate::http::address::{AddressError, ListenAddress};
use crate::http::request::origin::{AllowedHost, AllowedHostError};
use crate::http::server::DEFAULT_MAX_CONNECTIONS;
use crate::journal::durability::Durability;
use crate::journal::running::MIN_FILE_BYTES;
use crate::log::{ChoiceError, DEFAULT_SLOW_CALL_MS, Format, Level, LogConfig};
use crate::sys::parallel;

/// Where the daemon listens unless told otherwise.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:7979";
/// Milliseconds between syncs with durability `interval`, unless told otherwise.
pub const DEFAULT_SYNC_INTERVAL_MS: u32 = 100;
/// Longest time between syncs, in milliseconds.
pub const MAX_SYNC_INTERVAL_MS: u32 = 60_000;
/// Size of a journal file unless told otherwise, in MiB.
const DEFAULT_JOURNAL_FILE_MIB: u32 = (DEFAULT_JOURNAL_FILE_BYTES >> 20) as u32;
/// Smallest journal file, in MiB.
pub const MIN_JOURNAL_FILE_MIB: u32 = (MIN_FILE_BYTES >> 20) as u32;
/// Largest journal file, in MiB: recovery reads up to three.
pub const MAX_JOURNAL_FILE_MIB: u32 = 1_024;
/// Most worker threads.
pub const MAX_WORKERS: usize = 256;

/// The flags of `allotd serve`.
#[derive(Debug, Clone, Default, Args)]
pub struct ServeArgs {
    /// Directory of the pools; made if it is missing
    #[arg(long, env = "ALLOTD_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Address to listen on, IP:PORT or unix:PATH; may be repeated [default: 127.0.0.1:7979]
    #[arg(long, env = "ALLOTD_LISTEN", value_name = "ADDR", value_delimiter = ',')]
    pub listen: Vec<String>,
    /// Name by which the daemon is called beside its addresses, NAME or NAME:PORT; may be repeated
    #[arg(long, env = "ALLOTD_ALLOW_HOST", value_name = "NAME", value_delimiter = ',')]
    pub allow_host: Vec<String>,
    /// File with the same keys as these flags, in TOML
    #[arg(long, env = "ALLOTD_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Threads that serve requests [default: one a processor]
    #[arg(long, env = "ALLOTD_WORKERS", value_name = "N")]
    pub workers: Option<usize>,
    /// Connections that are served at the same time [default: 16384]
    #[arg(long, env = "ALLOTD_MAX_CONNECTIONS", value_name = "N")]
    pub max_connections: Option<u64>,
    /// What a reply promises: sync (it is on the disk), interval (it survives kill -9, and a power loss
    /// after the sync interval) or none (it survives kill -9) [default: sync]
    #[arg(long, env = "ALLOTD_DURABILITY", value_name = "MODE")]
    pub durability: Option<String>,
    /// Milliseconds between syncs with --durability interval [default: 100]
    #[arg(long, env = "ALLOTD_SYNC_INTERVAL_MS", value_name = "N")]
    pub sync_interval_ms: Option<u32>,
    /// Size of a journal file in MiB; there are at most four [default: 128]
    #[arg(long, env = "ALLOTD_JOURNAL_FILE_MIB", value_name = "N")]
    pub journal_file_mib: Option<u32>,
    /// Directory in which backups are made [default: backups in the data directory]
    #[arg(long, env = "ALLOTD_BACKUP_DIR", value_name = "DIR")]
    pub backup_dir: Option<PathBuf>,
    /// Start with a damaged data directory: the numbers whose state is lost are retired
    #[arg(long, env = "ALLOTD_RECOVER_DAMAGED", num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    pub recover_damaged: Option<bool>,
    /// Listen on addresses that other machines can reach, without any protection
    #[arg(long, env = "ALLOTD_INSECURE", num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    pub insecure: Option<bool>,
    /// Least important events that are logged: error, warn, info or debug (each request) [default: info]
    #[arg(long, env = "ALLOTD_LOG_LEVEL", value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// How they are written: human, json, or auto (human on a terminal, else json) [default: auto]
    #[arg(long, env = "ALLOTD_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// Log numbers whole instead of masked like 7912***4567
    #[arg(long, env = "ALLOTD_LOG_NUMBERS", num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    pub log_numbers: Option<bool>,
    /// Log calls that take longer, in milliseconds; 0 for none [default: 1000]
    #[arg(long, env = "ALLOTD_SLOW_CALL_MS", value_name = "N")]
    pub slow_call_ms: Option<u32>,
}

/// The config file: the same keys as the flags.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    data: Option<PathBuf>,
    listen: Option<Vec<String>>,
    allow_host: Option<Vec<String>>,
    workers: Option<usize>,
    max_connections: Option<u64>,
    durability: Option<String>,
    sync_interval_ms: Option<u32>,
    journal_file_mib: Option<u32>,
    backup_dir: Option<PathBuf>,
    recover_damaged: Option<bool>,
    insecure: Option<bool>,
    log_level: Option<String>,
    log_format: Option<String>,
    log_numbers: Option<bool>,
    slow_call_ms: Option<u32>,
}

/// What the daemon does, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Directory of the pools.
    pub data_dir: PathBuf,
    /// Addresses to listen on, at least one.
    pub listen: Vec<ListenAddress>,
    /// Names by which the daemon is called, beside its addresses.
    pub allow_hosts: Vec<AllowedHost>,
    /// Threads that serve requests, 1 to [`MAX_WORKERS`].
    pub workers: usize,
    /// Connections that are served at the same time, at least one.
    pub max_connections: u64,
    /// What a reply promises.
    pub durability: Durability,
    /// Size of a journal file, in bytes.
    pub journal_file_bytes: u64,
    /// Directory in which backups are made; `None` for one in the data directory.
    pub backup_dir: Option<PathBuf>,
    /// Whether to start with a damaged data directory.
    pub recover_damaged: bool,
    /// What is logged, and how.
    pub log: LogConfig,
}

/// A setting that cannot be accepted; the message says what to give instead.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the config file {} cannot be read: {error}. Check the path of --config", path.display())]
    Unreadable {
        /// Its path.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// The file is not understood.
    #[error("the config file {} is not understood: {message}", path.display())]
    Malformed {
        /// Its path.
        path: PathBuf,
        /// Where and why.
        message: String,
    },
    /// No directory was named.
    #[error("no data directory: give --data DIR")]
    NoData,
    /// An address that cannot be read.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A name that cannot be read.
    #[error(transparent)]
    AllowedHost(#[from] AllowedHostError),
    /// An address that other machines can reach.
    #[error(
        "{0} can be reached by other machines and nothing would protect the daemon: listen on 127.0.0.1 or a \
         unix:PATH, or add --insecure if the network itself is closed"
    )]
    NotLocal(ListenAddress),
    /// A count of workers that makes no sense.
    #[error("--workers is {0}: give 1 to {MAX_WORKERS}")]
    Workers(usize),
    /// No connection could be served.
    #[error("--max-connections is 0: give 1 or more")]
    MaxConnections,
    /// An unknown durability mode.
    #[error("--durability is \"{0}\": give sync, interval or none")]
    Durability(String),
    /// A sync interval in another mode.
    #[error("--sync-interval-ms is for --durability interval: leave it out, or add that")]
    SyncIntervalAlone,
    /// A sync interval out of its bounds.
    #[error("--sync-interval-ms is {0}: give 1 to {MAX_SYNC_INTERVAL_MS}")]
    SyncInterval(u32),
    /// Backups would be taken for what the daemon keeps.
    #[error("--backup-dir is {}, where the daemon keeps its data: give another directory", .0.display())]
    BackupDir(PathBuf),
    /// A size of journal files out of its bounds.
    #[error("--journal-file-mib is {0}: give {MIN_JOURNAL_FILE_MIB} to {MAX_JOURNAL_FILE_MIB}")]
    JournalFile(u32),
    /// An unknown level or format of the log.
    #[error(transparent)]
    Log(#[from] ChoiceError),
}

impl ServeArgs {
    /// Merges flags, environment (clap has read it) and file, and checks the result.
    pub fn into_config(self) -> Result<Config, ConfigError> {
        let file = match &self.config {
            None => File::default(),
            Some(path) => read_file(path.clone())?,
        };
        let log = self.log(&file)?;
        let listen = if self.listen.is_empty() { file.listen.unwrap_or_default() } else { self.listen };
        let mut addresses =
            listen.iter().map(|text| text.parse()).collect::<Result<Vec<ListenAddress>, _>>()?;
        if addresses.is_empty() {
            addresses.push(DEFAULT_LISTEN.parse()?);
        }
        let names =
            if self.allow_host.is_empty() { file.allow_host.unwrap_or_default() } else { self.allow_host };
        let allow_hosts = names.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
        let insecure = self.insecure.or(file.insecure).unwrap_or(false);
        if let Some(address) = addresses.iter().find(|address| !insecure && !address.is_local()) {
            return Err(ConfigError::NotLocal(address.clone()));
        }
        let workers = self.workers.or(file.workers).unwrap_or_else(default_workers);
        if !(1..=MAX_WORKERS).contains(&workers) {
            return Err(ConfigError::Workers(workers));
        }
        let max_connections =
            self.max_connections.or(file.max_connections).unwrap_or(DEFAULT_MAX_CONNECTIONS);
        if max_connections == 0 {
            return Err(ConfigError::MaxConnections);
        }
        let interval = self.sync_interval_ms.or(file.sync_interval_ms);
        let durability = durability(self.durability.or(file.durability).as_deref(), interval)?;
        let mib = self.journal_file_mib.or(file.journal_file_mib).unwrap_or(DEFAULT_JOURNAL_FILE_MIB);
        if !(MIN_JOURNAL_FILE_MIB..=MAX_JOURNAL_FILE_MIB).contains(&mib) {
            return Err(ConfigError::JournalFile(mib));
        }
        let journal_file_bytes = u64::from(mib) << 20;
        let recover_damaged = self.recover_damaged.or(file.recover_damaged).unwrap_or(false);
        let data_dir = self.data.or(file.data).ok_or(ConfigError::NoData)?;
        let backup_dir = self.backup_dir.or(file.backup_dir);
        check_backup_dir(backup_dir.as_deref(), &data_dir)?;
        Ok(Config {
            backup_dir,
            data_dir,
            listen: addresses,
            allow_hosts,
            workers,
            max_connections,
            durability,
            journal_file_bytes,
            recover_damaged,
            log,
        })
    }

    fn log(&self, file: &File) -> Result<LogConfig, ChoiceError> {
        let level = self.log_level.as_deref().or(file.log_level.as_deref());
        let format = self.log_format.as_deref().or(file.log_format.as_deref());
        Ok(LogConfig {
            level: level.map_or(Ok(Level::default()), str::parse)?,
            format: format.map_or(Ok(Format::default()), str::parse)?,
            shows_numbers: self.log_numbers.or(file.log_numbers).unwrap_or(false),
            slow_call_ms: self.slow_call_ms.or(file.slow_call_ms).unwrap_or(DEFAULT_SLOW_CALL_MS),
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

fn read_file(path: PathBuf) -> Result<File, ConfigError> {
    match std::fs::read_to_string(&path) {
        Ok(text) => toml::from_str(&text).map_err(|error| {
            let before = &text[..error.span().map_or(0, |span| span.start)];
            let line = before.matches('\n').count() + 1;
            ConfigError::Malformed { path, message: format!("line {line}: {}", error.message()) }
        }),
        Err(error) => Err(ConfigError::Unreadable { path, error }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(file: &str) -> (tempfile::TempDir, ServeArgs) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("allotd.toml");
        std::fs::write(&path, file).unwrap();
        (directory, ServeArgs { config: Some(path), ..ServeArgs::default() })
    }

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
        let (_directory, from_file) = args(
            "data = \"/a\"\nworkers = 3\nallow_host = [\"a\"]\nlisten = [\"127.0.0.1:1\", \"unix:/s\"]\n",
        );
        let config = from_file.clone().into_config().unwrap();
        assert_eq!((config.data_dir, config.workers, config.listen.len()), ("/a".into(), 3, 2));
        assert_eq!(config.allow_hosts, ["a".parse().unwrap()]);
        let flags = ServeArgs {
            data: Some("/b".into()),
            workers: Some(4),
            listen: vec!["[::1]:2".into()],
            allow_host: vec!["b:1".into(), "c".into()],
            ..from_file
        };
        let config = flags.into_config().unwrap();
        assert_eq!((config.data_dir, config.workers), ("/b".into(), 4));
        assert_eq!(config.listen, ["[::1]:2".parse().unwrap()]);
        assert_eq!(config.allow_hosts, ["b:1".parse().unwrap(), "c".parse().unwrap()]);
        let bare = ServeArgs { data: Some("/c".into()), ..ServeArgs::default() }.into_config().unwrap();
        assert_eq!(bare.listen, [DEFAULT_LISTEN.parse().unwrap()]);
        assert_eq!((bare.durability, bare.max_connections), (Durability::Sync, DEFAULT_MAX_CONNECTIONS));
        let (_directory, timed) = args("data = \"/a\"\ndurability = \"interval\"\nsync_interval_ms = 7");
        assert_eq!(timed.into_config().unwrap().durability, Durability::Interval { sync_interval_ms: 7 });
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (file, expected) in [
            ("", "no data directory"),
            ("colour = 1", "unknown field `colour`"),
            ("data = 1", "not understood: line 1"),
            ("data = \"/a\"\nworkers = x", "line 2"),
            ("data = \"/a\"\nworkers = 0", "--workers is 0"),
            ("data = \"/a\"\nworkers = 257", "--workers is 257"),
            ("data = \"/a\"\ndurability = \"soon\"", "give sync, interval or none"),
            ("data = \"/a\"\ndurability = \"interval\"\nsync_interval_ms = 0", "give 1 to 60000"),
            ("data = \"/a\"\njournal_file_mib = 1", "give 2 to 1024"),
            ("data = \"/a\"\nbackup_dir = \"/a/pools/b\"", "--backup-dir is /a/pools/b"),
            ("data = \"/a\"\nbackup_dir = \"/a\"", "--backup-dir is /a,"),
            ("data = \"/a\"\nmax_connections = 0", "--max-connections is 0"),
            ("data = \"/a\"\nlog_level = \"loud\"", "give error, warn, info or debug"),
            ("data = \"/a\"\nlog_format = \"xml\"", "give auto, human or json"),
            ("data = \"/a\"\nsync_interval_ms = 5", "--sync-interval-ms"),
            ("data = \"/a\"\nlisten = [\"0.0.0.0:1\"]", "--insecure"),
            ("data = \"/a\"\nlisten = [\"here\"]", "is not an address"),
            ("data = \"/a\"\nallow_host = [\"http://a\"]", "--allow-host is \"http://a\""),
        ] {
            let (_directory, args) = args(file);
            let message = args.into_config().unwrap_err().to_string();
            assert!(message.contains(expected), "{file}: {message}");
        }
        let missing = ServeArgs { config: Some("/no/such/file".into()), ..ServeArgs::default() };
        assert!(missing.into_config().unwrap_err().to_string().contains("/no/such/file"));
    }

    #[test]
    fn other_machines_are_let_in_only_when_told() {
        let (_directory, args) = args("data = \"/a\"\nlisten = [\"0.0.0.0:1\"]\ninsecure = true");
        assert_eq!(args.clone().into_config().unwrap().listen.len(), 1);
        let flag = ServeArgs { insecure: Some(false), ..args };
        assert!(matches!(flag.into_config(), Err(ConfigError::NotLocal(_))));
    }

    /// The example with the comment signs before its keys taken away, all but those of some keys.
    fn example_without(left_out: &[&str]) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/packaging/allotd.toml");
        let text = std::fs::read_to_string(path).unwrap();
        let is_left_out = |line: &str| left_out.iter().any(|key| line.starts_with(&format!("#{key} = ")));
        let lines = text.lines().filter(|line| !is_left_out(line)).map(|line| match line.strip_prefix('#') {
            Some(setting) if !setting.starts_with(' ') => setting,
            _ => line,
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_example_has_every_key() {
        // Whole, so that a new key cannot be left out.
        let File {
            data,
            listen,
            allow_host,
            workers,
            max_connections,
            durability,
            sync_interval_ms,
            journal_file_mib,
            backup_dir,
            recover_damaged,
            insecure,
            log_level,
            log_format,
            log_numbers,
            slow_call_ms,
        } = toml::from_str(&example_without(&[])).unwrap();
        assert!(
            allow_host.is_some()
                && data.is_some()
                && listen.is_some()
                && workers.is_some()
                && max_connections.is_some()
        );
        assert!(durability.is_some() && journal_file_mib.is_some() && recover_damaged.is_some());
        assert!(
            log_level.is_some() && log_format.is_some() && log_numbers.is_some() && slow_call_ms.is_some()
        );
        assert_eq!((insecure, sync_interval_ms), (Some(false), Some(DEFAULT_SYNC_INTERVAL_MS)));
        let engine = crate::engine::startup::config::EngineConfig::new(data.unwrap(), 1);
        assert_eq!(backup_dir.unwrap(), engine.backup_dir);
    }

    #[test]
    fn the_example_shows_the_defaults() {
        // These have no default, or one that the other test compares.
        let (_directory, shown) = args(&example_without(&["workers", "sync_interval_ms", "backup_dir"]));
        let bare = ServeArgs { data: Some("/var/lib/allotd".into()), ..ServeArgs::default() };
        assert_eq!(shown.into_config().unwrap(), bare.into_config().unwrap());
    }

    #[test]
    fn every_flag_is_in_the_documents() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
        let read = |path: &str| std::fs::read_to_string(directory.join(path)).unwrap();
        let (table, example) = (read("operations/configuration.md"), read("packaging/allotd.toml"));
        for flag in ServeArgs::augment_args(clap::Command::new("serve")).get_arguments() {
            let (key, long) = (flag.get_id().as_str(), flag.get_long().unwrap());
            let variable = flag.get_env().unwrap().to_str().unwrap();
            let is_its_row =
                |row: &str| row.contains(&format!("`--{long}`")) && row.contains(&format!("`{variable}`"));
            let row = table.lines().find(|row| is_its_row(row));
            let row = row.unwrap_or_else(|| panic!("configuration.md has no row of --{long} and {variable}"));
            if key != "config" {
                assert!(row.contains(&format!("| `{key}`")), "{row}");
                assert!(example.contains(&format!("{key} = ")), "allotd.toml has no {key}");
            }
        }
    }
}
