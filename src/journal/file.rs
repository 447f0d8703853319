//! Journal files: filled with zeros once, then overwritten, then reused.
//!
//! A synced write over written blocks is cheaper than one that appends or that fills allocated space, and
//! cheaper still with `O_DIRECT|O_DSYNC`.
//!
//! ```text
//! journal/00000007.journal   the files in use, by their sequence
//! journal/spare-00000003     to be reused; its content means nothing
//! journal/spare-….new        being made
//! ```

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::device::{Access, Disk};
use crate::disk::files;
use crate::disk::mapping::PageBuffer;
use crate::disk::paced::{self, Pacer};

use super::frame::{HEAD_BYTES, Head};

const SUFFIX: &str = ".journal";
const SPARE_PREFIX: &str = "spare-";

/// The path of a file in use.
pub fn path_of(dir: &Path, file_sequence: u64) -> PathBuf {
    dir.join(format!("{file_sequence:08}{SUFFIX}"))
}

/// The files in use of a journal directory, in the order of their sequence.
pub fn list(dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some(sequence) = name.strip_suffix(SUFFIX).and_then(|digits| digits.parse().ok()) {
            files.push((sequence, path));
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// Makes the files that recovery read durable. Their records are visible from now on, and a file that begins
/// after them implies that they are whole. But a killed process can leave data in them, or in their
/// directory, that the disk does not have yet.
pub(super) fn sync_all(disk: &dyn Disk, dir: &Path, file_sequences: &[u64]) -> io::Result<()> {
    for sequence in file_sequences {
        disk.sync(&disk.open(&path_of(dir, *sequence), Access::Buffered)?)?;
    }
    disk.sync_directory(dir)
}

/// The spare files of a journal directory that are `file_bytes` long. Others are removed.
pub fn spares(disk: &dyn Disk, dir: &Path, file_bytes: u64) -> io::Result<Vec<PathBuf>> {
    let mut spares = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if !name.to_string_lossy().starts_with(SPARE_PREFIX) {
            continue;
        }
        let whole = !name.to_string_lossy().ends_with(".new");
        if whole && entry.metadata()?.len() == file_bytes {
            spares.push(entry.path());
        } else {
            disk.remove_file(&entry.path())?;
        }
    }
    Ok(spares)
}

/// Makes a spare file: all its blocks are written.
pub fn make_spare(disk: &dyn Disk, dir: &Path, file_bytes: u64, rest: &Pacer<'_>) -> io::Result<PathBuf> {
    let mut names = (1..).map(|number: u32| dir.join(format!("{SPARE_PREFIX}made-{number}")));
    let Some(path) = names.find(|path| !path.exists()) else {
        return Err(io::ErrorKind::AlreadyExists.into());
    };
    let new = path.with_extension("new");
    let made = disk.create(&new).and_then(|file| {
        // Allocate all of it first, so that a full disk shows before anything is written.
        files::allocate(disk, &file, file_bytes)?;
        // Past the page cache, so that no other sync waits for data that gathers there.
        let (file, _) = files::open_direct(disk, &new, Access::Direct)?;
        paced::fill_with_zeros(disk, &file, file_bytes, rest)?;
        disk.sync(&file)
    });
    match made.and_then(|()| files::rename_durably(disk, &new, &path)) {
        Ok(()) => Ok(path),
        Err(error) => {
            // A leftover is removed at the next start.
            let _ = disk.remove_file(&new);
            Err(error)
        }
    }
}

/// Turns a file that is not needed any more into a spare one.
pub fn to_spare(disk: &dyn Disk, dir: &Path, file_sequence: u64) -> io::Result<PathBuf> {
    let spare = dir.join(format!("{SPARE_PREFIX}{file_sequence:08}"));
    files::rename_durably(disk, &path_of(dir, file_sequence), &spare)?;
    Ok(spare)
}

/// The file that is being written.
#[derive(Debug)]
pub(super) struct JournalFile {
    disk: Arc<dyn Disk>,
    file: File,
    pub(super) sequence: u64,
    file_bytes: u64,
    /// Where the next frame goes.
    position: u64,
    /// Whether a write is durable when it returns.
    synced_writes: bool,
}

impl JournalFile {
    /// Begins a file on a spare one. It gets the name of a file in use once its head is durable. After an
    /// error for lack of something ([`files::is_shortage`]) it can be begun again.
    pub(super) fn start(
        disk: Arc<dyn Disk>,
        dir: &Path,
        spare: &Path,
        head: &Head,
        access: Access,
    ) -> io::Result<Self> {
        let (file, access) = files::open_direct(&*disk, spare, access)?;
        let synced_writes = access == Access::DirectSynced;
        let mut page = PageBuffer::new(HEAD_BYTES)?;
        head.encode(&mut page);
        disk.write_at(&file, &page, 0)?;
        if !synced_writes {
            // Another kind of error: a sync that failed is not retried, for whatever reason it failed.
            disk.sync(&file).map_err(io::Error::other)?;
        }
        files::rename_durably(&*disk, spare, &path_of(dir, head.file_sequence))?;
        let file_bytes = file.metadata()?.len();
        let (sequence, position) = (head.file_sequence, HEAD_BYTES as u64);
        Ok(Self { disk, file, sequence, file_bytes, position, synced_writes })
    }

    /// Bytes that are still free.
    pub(super) fn free_bytes(&self) -> u64 {
        self.file_bytes - self.position
    }

    /// Writes a frame after the last one. After an error the same frame may be written again. Returns whether
    /// the frame is durable already.
    pub(super) fn append(&mut self, frame: &[u8]) -> io::Result<bool> {
        self.disk.write_at(&self.file, frame, self.position)?;
        self.position += frame.len() as u64;
        Ok(self.synced_writes)
    }

    /// Writes a frame of one page over the last one, which had the same length. Returns like
    /// [`Self::append`].
    pub(super) fn rewrite_last(&mut self, frame: &[u8]) -> io::Result<bool> {
        self.disk.write_at(&self.file, frame, self.position - frame.len() as u64)?;
        Ok(self.synced_writes)
    }

    /// Makes all frames durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.disk.sync(&self.file)
    }
}

#[cfg(test)]
#[cfg(not(allotd_loom))]
mod tests {
    use super::*;
    use crate::disk::device::RealDisk;

    #[test]
    fn a_spare_becomes_a_file_and_a_spare_again() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = 64 << 10;
        let spare = make_spare(&RealDisk, dir.path(), bytes, &|_| ()).unwrap();
        fs::write(dir.path().join("spare-00000002"), "short").unwrap();
        fs::write(dir.path().join("spare-00000003.new"), "unfinished").unwrap();
        assert_eq!(spares(&RealDisk, dir.path(), bytes).unwrap(), std::slice::from_ref(&spare));
        let head = Head { file_sequence: 5, first_frame: 1, boot_id: [0; 16], file_bytes: bytes };
        for access in [Access::DirectSynced, Access::Buffered] {
            let spare = spares(&RealDisk, dir.path(), bytes).unwrap().remove(0);
            let mut file = JournalFile::start(files::real(), dir.path(), &spare, &head, access).unwrap();
            let free_bytes = file.free_bytes();
            let page = PageBuffer::new(HEAD_BYTES).unwrap();
            file.append(&page).unwrap();
            file.sync().unwrap();
            assert_eq!(file.free_bytes(), free_bytes - HEAD_BYTES as u64);
            assert_eq!(list(dir.path()).unwrap(), [(5, path_of(dir.path(), 5))]);
            to_spare(&RealDisk, dir.path(), 5).unwrap();
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
