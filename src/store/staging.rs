//! Directories where files are built before they are moved into place.

use std::fs::File;
use std::io::{self, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::device::Disk;
use crate::disk::paced::PartSyncs;
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

/// A file for what arrives from a client. Its name is removed at once, so nothing is left of it when it is
/// closed, or when the process ends.
#[derive(Debug)]
pub(crate) struct StagedFile {
    disk: Arc<dyn Disk>,
    file: File,
    bytes: u64,
    syncs: PartSyncs,
}

impl StagedFile {
    pub(crate) fn new(disk: &Arc<dyn Disk>, staging_dir: &Path) -> io::Result<Self> {
        let path = staging_dir.join(format!("{:016x}", random_id()?));
        let file = disk.create(&path)?;
        disk.remove_file(&path)?;
        Ok(Self { disk: Arc::clone(disk), file, bytes: 0, syncs: PartSyncs::default() })
    }

    pub(crate) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.disk.write_at(&self.file, bytes, self.bytes)?;
        self.bytes += bytes.len() as u64;
        self.syncs.wrote(&*self.disk, &self.file, bytes.len())
    }

    /// The file, to be read from its beginning.
    pub(crate) fn into_file(mut self) -> io::Result<File> {
        self.file.rewind()?;
        Ok(self.file)
    }
}

/// An unpredictable number.
pub(crate) fn random_id() -> io::Result<u64> {
    let mut bytes = [0; 8];
    random::fill(&mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}
