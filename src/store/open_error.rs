//! Why a data directory cannot be opened.

use std::io;
use std::path::{Path, PathBuf};

use crate::disk::denied::explain;
use crate::journal::recovery::RecoveryError;
use crate::journal::running::StartError;

use super::damage::SegmentError;
use super::holders_file::HoldersFileError;
use super::idempotency_file::KeyFileError;
use super::list_files::ListFileError;
use super::manifest::ManifestError;
use super::zones_file::ZonesFileError;

/// Why the system's clock is not believed. Time never runs back, so a wrong one would end every lease for ever.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClockError {
    /// It is before 2020 or after the last time that a word can hold.
    #[error("the system's clock says {0}, and times from 2020 to 2087 can be stored: set the clock")]
    OutOfRange(String),
    /// It is far ahead of the journal.
    #[error(
        "the system's clock says {now}, more than {years} years after {last}, the last time in the journal: all \
         leases would end, and time could not be turned back. Set the clock, or start once with --accept-clock if \
         it is right"
    )]
    Ahead {
        /// The clock's time.
        now: String,
        /// The time of the newest frame.
        last: String,
        /// The limit.
        years: u64,
    },
}

impl OpenError {
    /// The file that the system does not permit to use, if that is why.
    fn denied(&self) -> Option<(&Path, &io::Error)> {
        let (Self::Io(path, error)
        | Self::Manifest(ManifestError::Io(path, error))
        | Self::Segment(SegmentError::Io(path, error))
        | Self::Zones(ZonesFileError::Io(path, error))
        | Self::Keys(KeyFileError::Io(path, error))
        | Self::Holders(HoldersFileError::Io(path, error))
        | Self::Lists(ListFileError::Io(path, error))
        | Self::Recovery(RecoveryError::Io(path, error))) = self
        else {
            return None;
        };
        (error.kind() == io::ErrorKind::PermissionDenied).then_some((path, error))
    }

    /// The error as it is reported: what is not permitted says whose the file is and who asks, and nothing of damage.
    pub fn told(&self) -> String {
        match self.denied() {
            Some((path, error)) => format!("{} cannot be used: {}", path.display(), explain(path, error)),
            None => self.to_string(),
        }
    }
}

/// Why a data directory cannot be used. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It is the directory of a member of a cluster.
    #[error(
        "{0} is the directory of a member of a cluster: start it with --cluster, or take it out of the cluster by removing \
         its cluster.toml, once no other member goes on with the same data"
    )]
    Member(PathBuf),
    /// Another process uses it.
    #[error("{0} is in use by another allotd: stop that one, or give another --data directory")]
    Locked(PathBuf),
    /// It has another version.
    #[error(
        "{0} is not a data directory of this version of allotd: use the version that wrote it, or give an empty directory"
    )]
    OtherVersion(PathBuf),
    /// It is not empty and not a data directory.
    #[error(
        "{0} is not empty and not a data directory of allotd: give an empty directory or one that does not exist"
    )]
    NotADataDirectory(PathBuf),
    /// It is a backup; serving it would destroy the backup.
    #[error("{0} is a backup: restore it into a data directory with \"allotd restore\", and serve that")]
    Backup(PathBuf),
    /// There is no data directory to check.
    #[error("{0} is not a data directory of allotd: give the --data directory of a daemon")]
    NoDataDirectory(PathBuf),
    /// A file is where the directory should be.
    #[error(
        "{0} cannot be a directory because a file is in the way: give a directory, or a path where one can be made"
    )]
    NotADirectory(PathBuf),
    /// Everybody may change the directory.
    #[error(
        "every user of this machine may write to {0}, and so replace its files: chmod o-w it, or give a \
         --data directory within it"
    )]
    OpenToOthers(PathBuf),
    /// A file or directory cannot be used.
    #[error("{} cannot be used: {}. Check its disk, or give another --data directory", .0.display(), explain(.0, .1))]
    Io(PathBuf, #[source] io::Error),
    /// The secret is damaged.
    #[error(
        "{0} is damaged: copy it from a backup of this directory, or give up all issued tokens and Idempotency-Keys with \
         \"allotd new-secret DIR\""
    )]
    Secret(PathBuf),
    /// The secret of a directory that has been used is missing.
    #[error(
        "{0} is missing, the key of all tokens: copy it from a backup of this directory. Without it nobody can renew \
         or return a lease that is live, and a call that is repeated under an Idempotency-Key leases again. To accept \
         that: allotd new-secret {1}"
    )]
    SecretMissing(PathBuf, PathBuf),
    /// A pool's manifest is invalid.
    #[error("{0}; `allotd check` reports all damage")]
    Manifest(#[from] ManifestError),
    /// A pool's files are damaged.
    #[error("{0}; `allotd check` reports all damage")]
    Segment(#[from] SegmentError),
    /// The time zones of a pool cannot be read.
    #[error(transparent)]
    Zones(#[from] ZonesFileError),
    /// The keys cannot be read.
    #[error(transparent)]
    Keys(#[from] KeyFileError),
    /// The names of holders cannot be used.
    #[error(transparent)]
    Holders(#[from] HoldersFileError),
    /// The files of a list cannot be used.
    #[error("{0}; `allotd check` reports all damage")]
    Lists(#[from] ListFileError),
    /// The journal cannot be read.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// The journal cannot be written.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The system's clock is not believed.
    #[error(transparent)]
    Clock(#[from] ClockError),
    /// The system returned no random numbers.
    #[error("the system returned no random numbers: {0}")]
    Random(io::Error),
}
