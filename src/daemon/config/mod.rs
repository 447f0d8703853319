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
    /// Merges flags, environment (clap has read it) and file, and validates the result.
    pub fn into_config(self) -> Result<Config, ConfigError> {
        let file = self.config.as_deref().map(args::read_file).transpose()?;
        let given = self.or(file.unwrap_or_default());
        let log = given.log()?;
        let mut listen = listen::listeners(&given.listen)?;
        if listen.is_empty() {
            listen = parse_list(DEFAULT_LISTEN)?;
        }
        let cluster = ClusterConfig::of(&given)?;
        let mut allow_hosts: Vec<AllowedHost> = given.allow_host.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
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
mod tests {
    use clap::Args as _;

    use super::listen::ListenArg;
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
            listen: vec![ListenArg::Text("[::1]:2".into())],
            allow_host: vec!["b:1".into(), "c".into()],
            ..from_file
        };
        let config = flags.into_config().unwrap();
        assert_eq!((config.data_dir, config.workers), ("/b".into(), 4));
        assert_eq!(config.listen, parse_list("[::1]:2").unwrap());
        assert_eq!(config.allow_hosts, ["b:1".parse().unwrap(), "c".parse().unwrap()]);
        let bare = ServeArgs { data: Some("/c".into()), ..ServeArgs::default() }.into_config().unwrap();
        assert_eq!(bare.listen, parse_list(DEFAULT_LISTEN).unwrap());
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
            (
                "data = \"/a\"\nmax_connections_per_address = 0",
                "--max-connections-per-address is 0: give 1 or more",
            ),
            ("data = \"/a\"\nmax_json = 1023", "--max-json is 1023: give 1024 or more"),
            ("data = \"/a\"\nmax_json = 8388609", "--max-json is 8388609: give at most 8388608"),
            ("data = \"/a\"\nmax_backups = 0", "--max-backups is 0"),
            ("data = \"/a\"\nlog_level = \"loud\"", "give error, warn, info or debug"),
            ("data = \"/a\"\nlog_format = \"xml\"", "give auto, human or json"),
            ("data = \"/a\"\nsync_interval_ms = 5", "--sync-interval-ms"),
            ("data = \"/a\"\nlisten = [\"0.0.0.0:1\"]", "--allow-plain-text"),
            ("data = \"/a\"\nlisten = [\"0.0.0.0:1\"]\nallow_plain_text = true", "--allow-anyone"),
            ("data = \"/a\"\nlisten = [\"0.0.0.0:1\"]\nallow_anyone = true", "--allow-plain-text"),
            (
                "data = \"/a\"\nlisten = [\"0.0.0.0:1,tls\"]\ntls_certificate = \"c\"\ntls_key = \"k\"",
                "--allow-anyone",
            ),
            ("data = \"/a\"\nlisten = [\"127.0.0.1:1,tls\"]", "give --tls-certificate and --tls-key"),
            (
                "data = \"/a\"\nlisten = [\"127.0.0.1:1\"]\ntls_certificate = \"c\"\ntls_key = \"k\"",
                "no listener speaks TLS",
            ),
            ("data = \"/a\"\ntls_certificate = \"c\"", "--tls-certificate needs --tls-key"),
            ("data = \"/a\"\ntls_key = \"c\"", "--tls-key needs --tls-certificate"),
            ("data = \"/a\"\ntls_client_ca = \"c\"", "--tls-client-ca needs --tls-certificate"),
            ("data = \"/a\"\ntls_client_required = true", "--tls-client-required needs --tls-client-ca"),
            ("data = \"/a\"\ntls_client_crl = \"c\"", "--tls-client-crl needs --tls-client-ca"),
            ("data = \"/a\"\ntls_1_2 = true", "--tls-1-2 needs --tls-certificate"),
            ("data = \"/a\"\ninsecure = true", "give --allow-plain-text (tokens"),
            ("data = \"/a\"\nlisten = [{ address = \"127.0.0.1:1\", colour = 1 }]", "unknown field `colour`"),
            (
                "data = \"/a\"\nlisten = [{ address = \"127.0.0.1:1\", calls = \"some\" }]",
                "give all or lease",
            ),
            ("data = \"/a\"\nlisten = [{ address = \"127.0.0.1:1\", mode = \"660\" }]", "for socket files"),
            (
                "data = \"/a\"\nlisten = [{ address = \"unix:/s\", peers = { \"user:a\" = \"king\" } }]",
                "no role \"king\"",
            ),
            ("data = \"/a\"\nlisten = [7]", "an address or a table"),
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
        let tls = "tls_certificate = \"c\"\ntls_key = \"k\"\nlisten = [\"0.0.0.0:1,tls\"]\n";
        for (file, listeners) in [
            ("listen = [\"0.0.0.0:1\"]\nallow_plain_text = true\nallow_anyone = true".to_owned(), 1),
            (format!("{tls}allow_anyone = true"), 1),
            (format!("{tls}tls_client_ca = \"a\"\ntls_client_required = true"), 1),
            (
                "listen = [\"127.0.0.1:1\", { address = \"unix:/s\", mode = \"660\", group = \"ops\" }]"
                    .to_owned(),
                2,
            ),
        ] {
            let (_directory, args) = args(&format!("data = \"/a\"\n{file}"));
            assert_eq!(args.into_config().unwrap().listen.len(), listeners, "{file}");
        }
        // Certificates protect those listeners only that ask for them.
        let file = format!("{tls}tls_client_ca = \"a\"\ntls_client_required = true\nallow_plain_text = true");
        let (_directory, args) =
            args(&format!("data = \"/a\"\n{}", file.replace(":1,tls\"]", ":1,tls\", \"0.0.0.0:2\"]")));
        assert!(matches!(args.into_config(), Err(ConfigError::Anyone(_))));
    }

    /// The example with its keys uncommented, except those in `left_out`.
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
        // Destructured in full, so that a new key cannot be left out.
        let ServeArgs {
            config: _,
            data,
            listen,
            allow_host,
            workers,
            max_connections,
            max_connections_per_address,
            max_json,
            max_upload,
            max_numbers,
            max_backups,
            events_keep,
            durability,
            sync_interval_ms,
            journal_file_mib,
            backup_dir,
            recover_damaged,
            accept_clock,
            serve_at_once,
            tokens,
            tls_certificate,
            tls_key,
            tls_client_ca,
            tls_client_crl,
            tls_client_required,
            tls_1_2,
            allow_plain_text,
            allow_anyone,
            insecure,
            log_level,
            log_format,
            log_numbers,
            slow_call_ms,
        } = toml::from_str(&example_without(&[])).unwrap();
        assert!(tokens.is_some());
        assert!(allow_host.is_empty(), "the example shows the default");
        assert!(!listen.is_empty());
        assert!(data.is_some() && workers.is_some() && max_connections.is_some());
        assert!(max_connections_per_address.is_some() && max_json.is_some() && max_upload.is_some());
        assert!(max_numbers.is_some() && max_backups.is_some() && events_keep.is_some());
        assert!(durability.is_some() && journal_file_mib.is_some());
        assert!(recover_damaged.is_some() && accept_clock.is_some() && serve_at_once.is_some());
        assert!(
            log_level.is_some() && log_format.is_some() && log_numbers.is_some() && slow_call_ms.is_some()
        );
        assert_eq!((insecure, sync_interval_ms), (None, Some(DEFAULT_SYNC_INTERVAL_MS)));
        assert!(tls_certificate.is_some() && tls_key.is_some());
        assert!(tls_client_ca.is_some() && tls_client_crl.is_some());
        assert_eq!((tls_client_required, tls_1_2), (Some(false), Some(false)));
        assert_eq!((allow_plain_text, allow_anyone), (Some(false), Some(false)));
        let engine = crate::engine::startup::config::EngineConfig::new(data.unwrap(), 1);
        assert_eq!(backup_dir.unwrap(), engine.backup_dir);
    }

    #[test]
    fn the_example_shows_the_defaults() {
        // These have no default, or one that another test compares.
        let (_directory, shown) = args(&example_without(&[
            "workers",
            "tokens",
            "sync_interval_ms",
            "backup_dir",
            "tls_certificate",
            "tls_key",
            "tls_client_ca",
            "tls_client_crl",
            "max_connections_per_address",
            "max_numbers",
            "max_backups",
            "events_keep",
        ]));
        let bare = ServeArgs { data: Some("/var/lib/allotd".into()), ..ServeArgs::default() };
        assert_eq!(shown.into_config().unwrap(), bare.into_config().unwrap());
    }

    #[test]
    fn every_flag_is_in_the_documents() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
        let read = |path: &str| std::fs::read_to_string(directory.join(path)).unwrap();
        let (table, example) = (read("operations/configuration.md"), read("packaging/allotd.toml"));
        for flag in ServeArgs::augment_args(clap::Command::new("serve")).get_arguments() {
            if flag.is_hide_set() {
                continue;
            }
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
