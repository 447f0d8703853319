//! The directory of an unfinished backup or restore.

use std::path::PathBuf;

use crate::disk::device::Disk;

/// A directory of an unfinished backup or restore. Dropping it removes the directory unless it was renamed.
pub(crate) struct Unfinished<'a> {
    pub(crate) disk: &'a dyn Disk,
    pub(crate) dir: PathBuf,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        // The next backup removes what cannot be removed now; a later restore reports it.
        let _ = self.disk.remove_directory(&self.dir);
    }
}
