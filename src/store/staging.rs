//! Directories where files are built before they are moved into place.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::device::Disk;
use crate::sys::random;

/// A directory for unfinished files. Dropping it removes the directory and the files that are still in it.
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
        // The next start removes what cannot be removed now.
        let _ = self.disk.remove_directory(&self.dir);
    }
}

/// An unpredictable number.
pub(crate) fn random_id() -> io::Result<u64> {
    let mut bytes = [0; 8];
    random::fill(&mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}
