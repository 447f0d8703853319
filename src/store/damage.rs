//! Errors of damaged segments, and whether to open one.

use std::io;
use std::path::{Path, PathBuf};

use crate::numbers::set::error::SetError;

impl SegmentError {
    /// Of a file that the system does not open.
    pub(crate) fn from_io(path: &Path, error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing(path.to_owned()),
            _ => Self::Io(path.to_owned(), error),
        }
    }
}

/// Why the files of a segment cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// A file is not there.
    #[error(
        "{0} is missing: the state of these numbers is gone. Restore a backup of the whole directory; without one, move \
         the directory of the pool away, start, wait until the longest of its leases has ended, and create the pool anew \
         from its list, or from its *.numbers file with --format roaring"
    )]
    Missing(PathBuf),
    /// A file cannot be read.
    #[error("{0}: {1}")]
    Io(PathBuf, #[source] io::Error),
    /// The number set is damaged.
    #[error("{0} is damaged: {1}")]
    Set(PathBuf, #[source] SetError),
    /// The number set is not the one named in the pool's manifest.
    #[error("{0} holds {1} numbers, the pool's manifest says {2}")]
    OtherSet(PathBuf, u64, u64),
    /// A file differs from what was written.
    #[error(
        "{path} is damaged at byte {offset}: {what}; restore a backup, or start with --recover-damaged, which \
         reports what it gives up"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The offset of the damage, in bytes.
        offset: u64,
        /// What is wrong.
        what: String,
    },
}
