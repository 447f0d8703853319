//! The settings as they are given: by flags, by the environment, by the config file.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Deserialize;

use super::error::ConfigError;
use super::listen::ListenArg;

/// The flags of `allotd serve`, which are also the keys of its config file.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServeArgs {
    /// Directory of the pools; created if it is missing
    #[arg(long, env = "ALLOTD_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Address to listen on, IP:PORT or unix:PATH, and options behind commas: tls, calls=lease, and for a
    /// socket file mode=660, group=NAME, peer=user:NAME:ROLE, peer=group:NAME:ROLE; may be repeated [default: 127.0.0.1:7979]
    #[arg(long, env = "ALLOTD_LISTEN", value_name = "ADDR", value_delimiter = ',')]
    pub listen: Vec<ListenArg>,
    /// Certificate of the listeners with the option tls, and those that lead to its authority, in PEM
    #[arg(long, env = "ALLOTD_TLS_CERTIFICATE", value_name = "FILE")]
    pub tls_certificate: Option<PathBuf>,
    /// Key of the certificate, in PEM; not to be readable by others
    #[arg(long, env = "ALLOTD_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Authorities whose certificates clients may present, in PEM
    #[arg(long, env = "ALLOTD_TLS_CLIENT_CA", value_name = "FILE")]
    pub tls_client_ca: Option<PathBuf>,
    /// Clients' certificates that are revoked, in PEM: a list of each authority
    #[arg(long, env = "ALLOTD_TLS_CLIENT_CRL", value_name = "FILE")]
    pub tls_client_crl: Option<PathBuf>,
    /// Refuse clients that present no certificate
    #[arg(long, env = "ALLOTD_TLS_CLIENT_REQUIRED", num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    pub tls_client_required: Option<bool>,
    /// Speak TLS 1.2 too, for old clients
    #[arg(long, env = "ALLOTD_TLS_1_2", num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    pub tls_1_2: Option<bool>,
    /// File of the tokens by which callers are known; without it everybody who connects may make all calls
    #[arg(long, env = "ALLOTD_TOKENS", value_name = "FILE")]
    pub tokens: Option<PathBuf>,
    /// Name under which the daemon is reached besides its addresses, NAME or NAME:PORT; may be repeated
    #[arg(long, env = "ALLOTD_ALLOW_HOST", value_name = "NAME", value_delimiter = ',')]
    pub allow_host: Vec<String>,
    /// File with the same keys as these flags, in TOML
    #[arg(long, env = "ALLOTD_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// Threads that serve requests [default: one per processor]
    #[arg(long, env = "ALLOTD_WORKERS", value_name = "N")]
    pub workers: Option<usize>,
    /// Connections that are served at the same time [default: 16384]
    #[arg(long, env = "ALLOTD_MAX_CONNECTIONS", value_name = "N")]
    pub max_connections: Option<u64>,
    /// Connections of one IP address (of one network of 64 bits with IPv6) at the same time [default: a quarter of
    /// --max-connections, at least 64]
    #[arg(long, env = "ALLOTD_MAX_CONNECTIONS_PER_ADDRESS", value_name = "N")]
    pub max_connections_per_address: Option<u64>,
    /// Longest JSON body of a request, in bytes [default: 1048576]
    #[arg(long, env = "ALLOTD_MAX_JSON", value_name = "BYTES")]
    pub max_json: Option<u64>,
    /// Longest list of numbers in a request, in bytes [default: 4294967296]
    #[arg(long, env = "ALLOTD_MAX_UPLOAD", value_name = "BYTES")]
    pub max_upload: Option<u64>,
    /// Numbers that all pools together may have [default: no limit]
    #[arg(long, env = "ALLOTD_MAX_NUMBERS", value_name = "N")]
    pub max_numbers: Option<u64>,
    /// Backups that may be in the directory of backups [default: no limit]
    #[arg(long, env = "ALLOTD_MAX_BACKUPS", value_name = "N")]
    pub max_backups: Option<u64>,
    /// How many changes of numbers to keep for those who follow them, in bytes and hours, such as 64MiB,24h
    /// [default: none]
    #[arg(long, env = "ALLOTD_EVENTS_KEEP", value_name = "BYTES,HOURS")]
    pub events_keep: Option<String>,
    /// What a response guarantees about its changes: sync (they are on the disk), interval (they survive
    /// kill -9, and a power loss after the sync interval) or none (they survive kill -9) [default: sync]
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
    /// File to which each call of an operator that changes something is added, as a line of JSON [default: none]
    #[arg(long, env = "ALLOTD_AUDIT_LOG", value_name = "FILE")]
    pub audit_log: Option<PathBuf>,
    /// Start with a damaged data directory: numbers whose state is lost are retired
    #[arg(long, env = "ALLOTD_RECOVER_DAMAGED", num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    pub recover_damaged: Option<bool>,
    /// Start though the system's clock is more than ten years ahead of the journal: all leases end
    #[arg(long, env = "ALLOTD_ACCEPT_CLOCK", num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    pub accept_clock: Option<bool>,
    /// Start with pools open that a restore paused: a number that was leased after the backup can get a second holder
    #[arg(long, env = "ALLOTD_SERVE_AT_ONCE", num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    pub serve_at_once: Option<bool>,
    /// Listen without TLS on addresses that other machines can reach: tokens and numbers travel readable
    #[arg(long, env = "ALLOTD_ALLOW_PLAIN_TEXT", num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    pub allow_plain_text: Option<bool>,
    /// Listen without tokens or clients' certificates on addresses that other machines can reach: everybody who
    /// connects may make all calls
    #[arg(long, env = "ALLOTD_ALLOW_ANYONE", num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    pub allow_anyone: Option<bool>,
    /// Gone: the two above took its place
    #[arg(long, env = "ALLOTD_INSECURE", num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL", hide = true)]
    pub insecure: Option<bool>,
    /// Name of the cluster that this daemon is a member of: another takes over when the primary is gone
    #[arg(long, env = "ALLOTD_CLUSTER", value_name = "NAME")]
    pub cluster: Option<String>,
    /// URL of a node of the etcd that the members share; may be repeated
    #[arg(long, env = "ALLOTD_ETCD", value_name = "URL", value_delimiter = ',')]
    pub etcd: Vec<String>,
    /// Authority of etcd's certificate, in PEM
    #[arg(long, env = "ALLOTD_ETCD_CA", value_name = "FILE")]
    pub etcd_ca: Option<PathBuf>,
    /// Certificate to show to etcd, in PEM
    #[arg(long, env = "ALLOTD_ETCD_CERT", value_name = "FILE")]
    pub etcd_cert: Option<PathBuf>,
    /// Key of that certificate, in PEM
    #[arg(long, env = "ALLOTD_ETCD_KEY", value_name = "FILE")]
    pub etcd_key: Option<PathBuf>,
    /// File with the user for etcd, USER:PASSWORD; others must not be able to read it
    #[arg(long, env = "ALLOTD_ETCD_USER_FILE", value_name = "FILE")]
    pub etcd_user_file: Option<PathBuf>,
    /// URL at which clients and the other members reach this member
    #[arg(long, env = "ALLOTD_ADVERTISE", value_name = "URL")]
    pub advertise: Option<String>,
    /// Authority of the other members' certificates, in PEM [default: those of the system]
    #[arg(long, env = "ALLOTD_CLUSTER_CA", value_name = "FILE")]
    pub cluster_ca: Option<PathBuf>,
    /// Id of this member in its cluster [default: one that its data directory keeps]
    #[arg(long, env = "ALLOTD_MEMBER", value_name = "ID")]
    pub member: Option<String>,
    /// Seconds without word of the primary after which another member takes over [default: 3]
    #[arg(long, env = "ALLOTD_CLUSTER_TTL", value_name = "SECONDS")]
    pub cluster_ttl: Option<u32>,
    /// Standbys that must be there for a change to be accepted [default: 0]
    #[arg(long, env = "ALLOTD_REQUIRE_REPLICAS", value_name = "N")]
    pub require_replicas: Option<u32>,
    /// How much of the log in etcd is kept for a member that is away, in MiB [default: 256]
    #[arg(long, env = "ALLOTD_LOG_KEEP_MIB", value_name = "N")]
    pub log_keep_mib: Option<u32>,
    /// Lowest level of events to log: error, warn, info or debug (every request) [default: info]
    #[arg(long, env = "ALLOTD_LOG_LEVEL", value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// Format of the log: human, json, or auto (human on a terminal, else json) [default: auto]
    #[arg(long, env = "ALLOTD_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// Log full numbers instead of masking them like 7912***4567
    #[arg(long, env = "ALLOTD_LOG_NUMBERS", num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    pub log_numbers: Option<bool>,
    /// Log calls that take longer than this, in milliseconds; 0 for none [default: 1000]
    #[arg(long, env = "ALLOTD_SLOW_CALL_MS", value_name = "N")]
    pub slow_call_ms: Option<u32>,
    /// The keys of those above that flags gave, and of those that the environment gave
    #[arg(skip)]
    #[serde(skip)]
    pub given: GivenKeys,
}

/// Which settings were given where, besides the file: by their keys.
#[derive(Debug, Clone, Default)]
pub struct GivenKeys {
    /// By flags.
    pub flags: Vec<String>,
    /// By the environment.
    pub environment: Vec<String>,
}

impl GivenKeys {
    /// A message that begins with a flag, with what its setting was given by instead. `file` is the config file.
    pub(super) fn name_source(&self, message: String, file: Option<(&Path, &toml::Table)>) -> String {
        let Some(rest) = message.strip_prefix("--") else { return message };
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '-').unwrap_or(rest.len());
        let (key, rest) = (rest[..end].replace('-', "_"), &rest[end..]);
        if self.flags.contains(&key) {
            message
        } else if self.environment.contains(&key) {
            format!("ALLOTD_{}{rest}", key.to_uppercase())
        } else if let Some((path, _)) = file.filter(|(_, table)| table.contains_key(&key)) {
            format!("{key} in the config file {}{rest}", path.display())
        } else {
            message
        }
    }
}

impl ServeArgs {
    /// These settings, completed with those of the file.
    pub(super) fn or(self, file: Self) -> Self {
        Self {
            data: self.data.or(file.data),
            listen: if self.listen.is_empty() { file.listen } else { self.listen },
            allow_host: if self.allow_host.is_empty() { file.allow_host } else { self.allow_host },
            tokens: self.tokens.or(file.tokens),
            tls_certificate: self.tls_certificate.or(file.tls_certificate),
            tls_key: self.tls_key.or(file.tls_key),
            tls_client_ca: self.tls_client_ca.or(file.tls_client_ca),
            tls_client_crl: self.tls_client_crl.or(file.tls_client_crl),
            tls_client_required: self.tls_client_required.or(file.tls_client_required),
            tls_1_2: self.tls_1_2.or(file.tls_1_2),
            config: self.config,
            given: self.given,
            workers: self.workers.or(file.workers),
            max_connections: self.max_connections.or(file.max_connections),
            max_connections_per_address: self
                .max_connections_per_address
                .or(file.max_connections_per_address),
            max_json: self.max_json.or(file.max_json),
            max_upload: self.max_upload.or(file.max_upload),
            max_numbers: self.max_numbers.or(file.max_numbers),
            max_backups: self.max_backups.or(file.max_backups),
            events_keep: self.events_keep.or(file.events_keep),
            durability: self.durability.or(file.durability),
            sync_interval_ms: self.sync_interval_ms.or(file.sync_interval_ms),
            journal_file_mib: self.journal_file_mib.or(file.journal_file_mib),
            backup_dir: self.backup_dir.or(file.backup_dir),
            audit_log: self.audit_log.or(file.audit_log),
            recover_damaged: self.recover_damaged.or(file.recover_damaged),
            accept_clock: self.accept_clock.or(file.accept_clock),
            serve_at_once: self.serve_at_once.or(file.serve_at_once),
            allow_plain_text: self.allow_plain_text.or(file.allow_plain_text),
            allow_anyone: self.allow_anyone.or(file.allow_anyone),
            insecure: self.insecure.or(file.insecure),
            cluster: self.cluster.or(file.cluster),
            etcd: if self.etcd.is_empty() { file.etcd } else { self.etcd },
            etcd_ca: self.etcd_ca.or(file.etcd_ca),
            etcd_cert: self.etcd_cert.or(file.etcd_cert),
            etcd_key: self.etcd_key.or(file.etcd_key),
            etcd_user_file: self.etcd_user_file.or(file.etcd_user_file),
            advertise: self.advertise.or(file.advertise),
            cluster_ca: self.cluster_ca.or(file.cluster_ca),
            member: self.member.or(file.member),
            cluster_ttl: self.cluster_ttl.or(file.cluster_ttl),
            require_replicas: self.require_replicas.or(file.require_replicas),
            log_keep_mib: self.log_keep_mib.or(file.log_keep_mib),
            log_level: self.log_level.or(file.log_level),
            log_format: self.log_format.or(file.log_format),
            log_numbers: self.log_numbers.or(file.log_numbers),
            slow_call_ms: self.slow_call_ms.or(file.slow_call_ms),
        }
    }
}

/// What a key should have had, in words instead of types.
fn in_words(message: &str) -> String {
    let words = [
        ("expected usize", "expected a whole number, without quotes"),
        ("expected u64", "expected a whole number, without quotes"),
        ("expected u32", "expected a whole number, without quotes"),
        ("expected a boolean", "expected true or false, without quotes"),
        ("expected a string", "expected a text in quotes"),
        ("expected path string", "expected a path in quotes"),
    ];
    words.iter().fold(message.to_owned(), |message, (of_type, words)| message.replace(of_type, words))
}

/// Reads a config file in TOML: its settings, and the keys that it has.
pub(super) fn read_file(path: &Path) -> Result<(ServeArgs, toml::Table), ConfigError> {
    let path = path.to_owned();
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => return Err(ConfigError::Unreadable { path, error }),
    };
    let malformed = |error: toml::de::Error| {
        let before = &text[..error.span().map_or(0, |span| span.start)];
        let line = before.matches('\n').count() + 1;
        ConfigError::Malformed {
            path: path.clone(),
            message: format!("line {line}: {}", in_words(error.message())),
        }
    };
    Ok((toml::from_str(&text).map_err(malformed)?, toml::from_str(&text).map_err(malformed)?))
}
