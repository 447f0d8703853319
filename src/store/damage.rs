//! Errors of damaged segments, and whether to open one.

use std::path::PathBuf;

use crate::numbers::set::error::SetError;

/// Why the files of a segment cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// A file cannot be read.
    #[error("{0}: {1}")]
    Io(PathBuf, #[source] std::io::Error),
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
