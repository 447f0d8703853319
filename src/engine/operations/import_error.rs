//! Why numbers could not be imported.

use std::io;

use crate::disk::files;
use crate::domain::settings::PoolName;
use crate::engine::budgets::BudgetError;
use crate::engine::lists::NoSuchList;
use crate::engine::pool_error::ChangeError;
use crate::journal::error::JournalError;
use crate::numbers::list::error::ListError;
use crate::numbers::set::error::SetError;
use crate::numbers::set::writer::WriteError;
use crate::store::damage::SegmentError;

/// Why numbers could not be read or stored. Nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// There already is a pool of this name.
    #[error("there already is a pool \"{0}\": choose another name, add numbers to it, or delete it first")]
    PoolExists(PoolName),
    /// Too many pools.
    #[error("there are {0} pools, the most that one daemon can have: delete one first")]
    TooManyPools(usize),
    /// The pool has too many segments.
    #[error(
        "this pool has too many parts, which are merged in the background: try again later, and see the log if \
         this lasts"
    )]
    TooManySegments,
    /// The list is invalid.
    #[error(transparent)]
    Import(#[from] ListError),
    /// The Roaring bitmap is invalid.
    #[error("the body is not a portable Roaring bitmap: {0}")]
    Set(#[from] SetError),
    /// The disk has no space left.
    #[error("the disk of the data directory is full: free some space and try again")]
    StorageFull,
    /// The settings of the new pool name a list that does not exist.
    #[error(transparent)]
    List(#[from] NoSuchList),
    /// A budget of all pools together is used up.
    #[error(transparent)]
    Budget(#[from] BudgetError),
    /// The pool was deleted meanwhile.
    #[error("the pool was deleted")]
    Deleted,
    /// Reading the source or writing the data directory failed.
    #[error("{0}")]
    Io(io::Error),
    /// The new files could not be opened.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// The journal accepts no change.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl From<io::Error> for ImportError {
    fn from(error: io::Error) -> Self {
        if files::is_storage_full(&error) { Self::StorageFull } else { Self::Io(error) }
    }
}

impl From<WriteError> for ImportError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Io(error) => error.into(),
            other => Self::Io(io::Error::other(other)),
        }
    }
}

impl From<ChangeError> for ImportError {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Io(error) => error.into(),
            ChangeError::Deleted => Self::Deleted,
            ChangeError::Journal(error) => Self::Journal(error),
            other => Self::Io(io::Error::other(other)),
        }
    }
}
