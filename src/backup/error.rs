//! Errors of making a backup.

use std::io;
use std::path::PathBuf;

use crate::disk::denied::explain;
use crate::disk::files;
use crate::engine::budgets::BudgetError;
use crate::journal::error::JournalError;

/// Longest name of a backup, in bytes.
pub(crate) const MAX_NAME_BYTES: usize = 64;

/// Why a backup was not made. Nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The name breaks its rules.
    #[error(
        "a backup is named by 1 to {MAX_NAME_BYTES} of A-Z a-z 0-9 . _ - and begins with a letter or digit, \
         not \"{0}\""
    )]
    Name(String),
    /// There already is a backup of this name.
    #[error("there already is a backup \"{0}\": choose another name, or move that one away")]
    Exists(String),
    /// Another backup is being made.
    #[error("another backup is being made: try again when it is done")]
    Busy,
    /// The disk has no space left.
    #[error("the disk of the backups or of the data directory is full: free some space and try again")]
    StorageFull,
    /// The disk has less space than is kept free.
    #[error(transparent)]
    Space(#[from] BudgetError),
    /// There are as many backups as there may be.
    #[error("there are {0} backups, as many as --max-backups allows: remove one, or move it away")]
    TooMany(u64),
    /// The journal filled up faster than it was copied.
    #[error(
        "changes were recorded faster than the backup could write them, and leases would have had to wait: try \
         again when there is less load, or use a faster disk for the backups"
    )]
    TooSlow,
    /// The daemon is stopping.
    #[error("the daemon is stopping: make the backup when it runs again")]
    Ended,
    /// The disk failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A file to copy is damaged.
    #[error("{0} is damaged: {1}. Stop the daemon and run \"allotd check\"")]
    Damaged(PathBuf, String),
    /// What was written is not what is read back.
    #[error("the backup was not kept: its file {0} {1}. Check the disk of the backups")]
    Unreadable(String, String),
    /// The backup was made, and an older one is in the way.
    #[error("the backup was made, but the older one {0} could not be removed: {1}. Remove it by hand")]
    NotRemoved(String, #[source] io::Error),
    /// A file or directory cannot be used.
    #[error("{}: {}", .0.display(), explain(.0, .1))]
    Io(PathBuf, #[source] io::Error),
}

impl BackupError {
    pub(crate) fn from_io(path: PathBuf, error: io::Error) -> Self {
        if files::is_storage_full(&error) { Self::StorageFull } else { Self::Io(path, error) }
    }
}
