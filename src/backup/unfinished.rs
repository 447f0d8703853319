//! A directory that a backup or a restore is making.

use std::path::PathBuf;

use crate::disk::device::Disk;

/// A directory in the making; removed unless it was given its name.
pub(crate) struct Unfinished<'a> {
    pub(crate) disk: &'a dyn Disk,
    pub(crate) dir: PathBuf,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next backup; a later restore says that it is in the way.
        let _ = self.disk.remove_directory(&self.dir);
    }
}
