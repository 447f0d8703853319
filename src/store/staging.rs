//! Directories where files are put together before they are moved to their place.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rand::TryRng;
use rand::rngs::SysRng;

use crate::disk::device::Disk;

/// A directory for files in the making; removed with all that is in it unless they were moved away.
pub(crate) struct Staging {
    dir: PathBuf,
    pub(crate) disk: Arc<dyn Disk>,
}

impl Staging {
    /// A new directory in `staging_dir`.
    pub(crate) fn new(disk: &Arc<dyn Disk>, staging_dir: &Path) -> io::Result<Self> {
        let dir = staging_dir.join(format!("{:016x}", random_id()?));
        disk.create_directories(&dir)?;
        Ok(Self { dir, disk: Arc::clone(disk) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What cannot be removed now is removed at the next start.
        let _ = self.disk.remove_directory(&self.dir);
    }
}

/// An unpredictable number.
pub(crate) fn random_id() -> io::Result<u64> {
    SysRng.try_next_u64().map_err(io::Error::other)
}
