//! Why a backup was not made.

use std::io;
use std::path::PathBuf;

use crate::disk::files;
use crate::journal::handle::JournalError;

/// Longest name of a backup, in bytes.
pub(crate) const MAX_NAME_BYTES: usize = 64;

/// Why there is no backup. Nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The name breaks its rules.
    #[error(
        "a backup is named by 1 to {MAX_NAME_BYTES} of A-Z a-z 0-9 . _ - and begins with a letter or digit, \
         not \"{0}\""
    )]
    Name(String),
    /// There is a backup of this name.
    #[error("there is a backup \"{0}\" already: choose another name, or move that one away")]
    Exists(String),
    /// Another backup is being made.
    #[error("another backup is being made: try again when it is done")]
    Busy,
    /// No room on the disk.
    #[error("the disk of the backups or of the data directory is full: free some space and try again")]
    StorageFull,
    /// The daemon ends.
    #[error("the daemon ends: make the backup when it runs again")]
    Ended,
    /// The disk failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// What is to be copied is damaged.
    #[error("{0} is damaged: {1}. Stop the daemon and look at all of it with \"allotd check\"")]
    Damaged(PathBuf, String),
    /// A file or directory cannot be used.
    #[error("{0}: {1}")]
    Io(PathBuf, #[source] io::Error),
}

impl BackupError {
    pub(crate) fn from_io(path: PathBuf, error: io::Error) -> Self {
        if files::is_storage_full(&error) { Self::StorageFull } else { Self::Io(path, error) }
    }
}
