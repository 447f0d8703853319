//! Why the files of an earlier process cannot be used.

use std::io;

/// Why what an earlier process kept cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// There is nothing.
    #[error("nothing is kept yet")]
    Empty,
    /// What was written last may be lost.
    #[error("the machine ended without the daemon, as at a loss of power")]
    PowerLost,
    /// Changes of many numbers were under way.
    #[error("the daemon was killed while it changed many numbers")]
    Unfinished,
    /// The files are not those that were written.
    #[error("files are missing or damaged in the folder events")]
    Incomplete,
    /// The journal does not go on where they end.
    #[error("the journal does not have what follows the last of them")]
    NotFollowed,
    /// The files cannot be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
}
