//! Why a setting is refused.

use std::path::PathBuf;

use thiserror::Error;

use crate::disk::denied::explain;
use crate::http::address::ListenAddress;
use crate::http::limits::MAX_JSON_BODY_BYTES;
use crate::http::listen::ListenError;
use crate::http::request::origin::AllowedHostError;
use crate::log::ChoiceError;
use crate::store::event_log::NotAKeep;

use super::limits::{
    MAX_CLUSTER_TTL_SECONDS, MAX_JOURNAL_FILE_MIB, MAX_SYNC_INTERVAL_MS, MAX_WORKERS, MIN_JOURNAL_FILE_MIB,
};

/// A setting that is refused; the message says what to give instead.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the config file {} cannot be read: {}. Check the path of --config", path.display(), explain(path, error))]
    Unreadable {
        /// The path of the file.
        path: PathBuf,
        /// The system's error.
        error: std::io::Error,
    },
    /// The file is invalid.
    #[error("the config file {} is not understood: {message}", path.display())]
    Malformed {
        /// The path of the file.
        path: PathBuf,
        /// Where and why it is invalid.
        message: String,
    },
    /// A flag of a cluster without one.
    #[error("{0} is for members of a cluster: give --cluster NAME too, or leave it out")]
    WithoutCluster(&'static str),
    /// This build knows no cluster.
    #[error(
        "this allotd was built without clusters: use the Debian package, or build it with --features cluster, which needs protoc"
    )]
    NoClusterFeature,
    /// A name that is none.
    #[error(
        "{flag} is \"{text}\": give 1 to {most} letters, digits, dots, hyphens or underscores, the first a letter or digit"
    )]
    ClusterName {
        /// The flag.
        flag: &'static str,
        /// The text.
        text: String,
        /// Its most bytes.
        most: usize,
    },
    /// Nothing to share.
    #[error("a member of a cluster needs the etcd that the members share: give --etcd URL")]
    NoEtcd,
    /// Nobody would find this member.
    #[error("a member of a cluster needs the URL at which the others reach it: give --advertise URL")]
    NoAdvertise,
    /// A URL that is none.
    #[error(
        "--advertise is \"{0}\": give http://HOST:PORT or https://HOST:PORT, as the other members reach this one"
    )]
    Advertise(String),
    /// A certificate without its key.
    #[error("--etcd-cert and --etcd-key belong together: give both or neither")]
    EtcdIdentity,
    /// A time that is too short or too long.
    #[error("--cluster-ttl is {0}: give 1 to {MAX_CLUSTER_TTL_SECONDS} seconds")]
    ClusterTtl(u32),
    /// Without a journal nothing can be sent to the others.
    #[error("a member of a cluster needs a journal: give --durability interval or sync")]
    ClusterWithoutJournal,
    /// Something else of the file or the environment.
    #[error("{0}")]
    Elsewhere(String),
    /// No data directory was given.
    #[error("no data directory: give --data DIR")]
    NoData,
    /// An invalid listener.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// An invalid name.
    #[error(transparent)]
    AllowedHost(#[from] AllowedHostError),
    /// An address that other machines can reach, without TLS.
    #[error(
        "{0} can be reached by other machines, and tokens and numbers would travel readable: add tls to this \
         --listen with --tls-certificate and --tls-key, listen on 127.0.0.1 or a unix:PATH, or add \
         --allow-plain-text if the network itself is closed"
    )]
    PlainText(ListenAddress),
    /// An address that other machines can reach, where everybody may do everything.
    #[error(
        "{0} can be reached by other machines, and everybody who connects could make all calls: give \
         --tokens FILE, require clients' certificates (--tls-client-ca, --tls-client-required), listen on 127.0.0.1 or a unix:PATH, \
         or add --allow-anyone if the network itself is closed"
    )]
    Anyone(ListenAddress),
    /// A flag that is gone.
    #[error(
        "--insecure is gone: give --allow-plain-text (tokens and numbers travel readable), --allow-anyone \
         (everybody who connects may make all calls), or both"
    )]
    Insecure,
    /// A flag that means nothing without another.
    #[error("{flag} needs {needs}: give both or neither")]
    NeedsFlag {
        /// The flag.
        flag: &'static str,
        /// What it needs.
        needs: &'static str,
    },
    /// A listener that is to speak TLS, without a certificate.
    #[error("--listen {0},tls needs a certificate: give --tls-certificate and --tls-key")]
    NoCertificate(ListenAddress),
    /// A certificate that nobody gets to see.
    #[error(
        "--tls-certificate is given and no listener speaks TLS: add the option to one, as in --listen 127.0.0.1:7979,tls"
    )]
    TlsUnused,
    /// A count of workers out of bounds.
    #[error("--workers is {0}: give 1 to {MAX_WORKERS}")]
    Workers(usize),
    /// No connection could be served.
    #[error("--max-connections is 0: give 1 or more")]
    MaxConnections,
    /// A limit that leaves nothing.
    #[error("{flag} is {value}: give {least} or more")]
    TooSmall {
        /// The flag.
        flag: &'static str,
        /// Its value.
        value: u64,
        /// The least that it can be.
        least: u64,
    },
    /// JSON bodies that would take too much memory.
    #[error("--max-json is {0}: give at most {MAX_JSON_BODY_BYTES}")]
    MaxJson(u64),
    /// What is to be kept of changes is not understood.
    #[error("--events-keep is \"{0}\": {1}")]
    EventsKeep(String, NotAKeep),
    /// Changes are to be kept, and are in no journal.
    #[error(
        "--events-keep needs the journal, which --durability none does not write: leave it out, or give --durability \
         sync or interval"
    )]
    EventsWithoutJournal,
    /// An unknown durability mode.
    #[error("--durability is \"{0}\": give sync, interval or none")]
    Durability(String),
    /// A sync interval in another durability mode.
    #[error("--sync-interval-ms is for --durability interval: leave it out, or add --durability interval")]
    SyncIntervalAlone,
    /// A sync interval out of bounds.
    #[error("--sync-interval-ms is {0}: give 1 to {MAX_SYNC_INTERVAL_MS}")]
    SyncInterval(u32),
    /// Backups would be among the daemon's own files.
    #[error("--backup-dir is {}, where the daemon keeps its data: give another directory", .0.display())]
    BackupDir(PathBuf),
    /// A size of journal files out of bounds.
    #[error("--journal-file-mib is {0}: give {MIN_JOURNAL_FILE_MIB} to {MAX_JOURNAL_FILE_MIB}")]
    JournalFile(u32),
    /// An unknown level or format of the log.
    #[error(transparent)]
    Log(#[from] ChoiceError),
}
