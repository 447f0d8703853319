//! Why a pool could not be changed or deleted.

use crate::domain::settings::SettingsError;
use crate::journal::error::JournalError;

use super::lists::NoSuchList;

/// Why a pool could not be changed. Nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The settings are invalid.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// They name a list that does not exist.
    #[error(transparent)]
    List(#[from] NoSuchList),
    /// The pool's rounds are used up.
    #[error("this pool has used all its rounds: create a new pool")]
    NoMoreRounds,
    /// Too many generations are used up to count attempts anew.
    #[error(
        "numbers of this pool have been leased so often that attempts of another round cannot be counted: remove attempts, or create a new pool"
    )]
    TooManyGenerations,
    /// The pool was deleted meanwhile.
    #[error("the pool was deleted")]
    Deleted,
    /// A segment is being added: try again.
    #[error("numbers are being added: try again")]
    SegmentComing,
    /// The change could not be written to the disk.
    #[error("the change could not be written to the data directory: {0}")]
    Io(#[from] std::io::Error),
    /// The journal accepts no change.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// Why a pool was not deleted.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    /// No such pool.
    #[error("there is no pool \"{0}\"")]
    NotFound(String),
    /// Some of its numbers are leased.
    #[error("{0} numbers of this pool are leased: wait for their return, or delete it with force=true")]
    InUse(u64),
    /// Its files could not be removed.
    #[error("the pool's files could not be removed: {0}")]
    Io(#[from] std::io::Error),
    /// The journal accepts no change.
    #[error(transparent)]
    Journal(#[from] JournalError),
}
