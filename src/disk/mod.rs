//! Files and mappings: all that the daemon writes goes through one trait, so that tests can put a
//! disk under it that fails, fills up or loses power. With `state/table.rs` the home of `unsafe`.

pub(crate) mod bus_error;
pub(crate) mod mapping;
pub(crate) mod paced;
pub(crate) mod sequential;
#[cfg(debug_assertions)]
pub mod unsynced;

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FallocateFlags, OFlags};

pub use bus_error::end_on_bus_error;
pub use mapping::{MappedBytes, MappedWords, PageBuffer, Sharing, huge_page_vec};
pub use paced::{PART_BYTES, PartSyncs, Rest, fill_with_zeros, write_in_parts};
pub use sequential::SequentialWriter;

/// Size of one word in a words file.
pub const WORD_BYTES: u64 = 8;
/// What direct writes are aligned to: offset, length and memory. No disk in use needs more.
pub const PAGE_BYTES: usize = 4096;

/// How writes to an open file reach the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Through the page cache; [`Disk::sync`] makes them durable.
    Buffered,
    /// Past the page cache; [`Disk::sync`] makes them durable. Only whole pages at whole pages.
    Direct,
    /// Past the page cache, each write durable when it returns. Only whole pages at whole pages.
    DirectSynced,
}

/// Every change that the daemon makes to its data directory. The methods do the real thing; a test's
/// disk replaces those it is about.
pub trait Disk: fmt::Debug + Send + Sync + 'static {
    /// Creates a file that is not there yet, for reading and writing.
    fn create(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
    }

    /// Opens a file for reading and writing.
    fn open(&self, path: &Path, access: Access) -> io::Result<File> {
        let mut options = OpenOptions::new();
        let flags = match access {
            Access::Buffered => OFlags::empty(),
            Access::Direct => OFlags::DIRECT,
            Access::DirectSynced => OFlags::DIRECT | OFlags::DSYNC,
        };
        options.read(true).write(true).custom_flags(flags.bits().cast_signed()).open(path)
    }

    /// Takes the space of a file now, so that a full disk shows here.
    fn allocate(&self, file: &File, bytes: u64) -> io::Result<()> {
        if bytes == 0 {
            return Ok(());
        }
        match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes) {
            Ok(()) => Ok(()),
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
                fill_with_zeros(self, file, bytes, &|_| ()).and_then(|()| self.sync(file))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Writes all of `bytes` at an offset.
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }

    /// Makes all that was written to a file durable.
    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    /// Makes what was written through a shared mapping durable.
    fn flush(&self, words: &MappedWords) -> io::Result<()> {
        words.flush()
    }

    /// Makes the entries of a directory durable.
    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        File::open(directory)?.sync_all()
    }

    /// Creates a directory and those above it.
    fn create_directories(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    /// Gives a file or directory another name, replacing a file of that name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    /// Removes a directory and all in it.
    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }
}

/// The disk of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

impl Disk for RealDisk {}

/// The disk of the machine, as most of the crate holds it.
pub fn real() -> Arc<dyn Disk> {
    #[cfg(debug_assertions)]
    if std::env::var_os(unsynced::SKIP_SYNC_VARIABLE).is_some_and(|value| value == "1") {
        return Arc::new(unsynced::UnsyncedDisk);
    }
    Arc::new(RealDisk)
}

/// Opens a file as it is asked, or buffered where the file system has no direct access, as an older tmpfs;
/// and says how.
pub fn open_direct(disk: &dyn Disk, path: &Path, access: Access) -> io::Result<(File, Access)> {
    match disk.open(path, access) {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            Ok((disk.open(path, Access::Buffered)?, Access::Buffered))
        }
        opened => Ok((opened?, access)),
    }
}

/// Creates a file of `len` zeroed words whose space is taken now, so that a full disk shows here and
/// not when a number is leased.
pub fn create_words(disk: &dyn Disk, path: &Path, len: u32) -> io::Result<()> {
    let file = disk.create(path)?;
    disk.allocate(&file, u64::from(len) * WORD_BYTES)?;
    disk.sync(&file)
}

/// Replaces a file so that at any moment, also after a power loss, either the old or the new content
/// is there.
pub fn replace_file(disk: &dyn Disk, path: &Path, content: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    // Left over from a process that ended in the middle of this.
    match disk.remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = disk.create(&new).and_then(|file| {
        disk.write_at(&file, content, 0)?;
        disk.sync(&file)
    });
    if let Err(error) = written.and_then(|()| disk.rename(&new, path)) {
        let _ = disk.remove_file(&new);
        return Err(error);
    }
    // From here on both contents may be found after a power loss: not a failure that changes nothing.
    sync_parent(disk, path).map_err(io::Error::other)
}

/// Makes a file's entry in its directory durable.
pub fn sync_parent(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    disk.sync_directory(path.parent().unwrap_or(Path::new(".")))
}

/// Reads a whole small file, refusing more than `limit_bytes`.
pub fn read_small_file(path: &Path, limit_bytes: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    let read = File::open(path)?.take(limit_bytes + 1).read_to_end(&mut content)?;
    if read as u64 > limit_bytes {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("longer than {limit_bytes} bytes")));
    }
    Ok(content)
}

/// The room of a file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSpace {
    /// That this process may still take.
    pub free_bytes: u64,
    /// Of all of it.
    pub total_bytes: u64,
}

/// The room of the file system that a path is on.
pub fn space_of(path: &Path) -> io::Result<DiskSpace> {
    let found = rustix::fs::statvfs(path)?;
    Ok(DiskSpace {
        free_bytes: found.f_bavail * found.f_frsize,
        total_bytes: found.f_blocks * found.f_frsize,
    })
}

/// The CRC32C of a whole file, and its length in bytes.
pub fn crc32c_of(bytes: &[u8]) -> (u32, u64) {
    (crc32c::crc32c(bytes), bytes.len() as u64)
}

/// A lock on a directory, held as long as this lives, also against other processes.
#[derive(Debug)]
pub struct DirectoryLock {
    file: File,
}

impl DirectoryLock {
    /// Takes the lock by the file `path`; `None` when another process holds it.
    pub fn take(path: PathBuf) -> io::Result<Option<Self>> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

impl Drop for DirectoryLock {
    fn drop(&mut self) {
        // Closing would not do while a process that is being started still has a copy of the descriptor.
        let _ = self.file.unlock();
    }
}

/// Whether an error says that the disk (or the quota) is full.
pub fn is_storage_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

#[cfg(test)]
#[cfg(not(allotd_loom))]
mod tests {
    use super::*;

    #[test]
    fn replace_keeps_the_old_content_when_it_fails() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pool.toml");
        replace_file(&RealDisk, &path, b"one").unwrap();
        fs::write(dir.path().join("pool.new"), "left over").unwrap();
        replace_file(&RealDisk, &path, b"two").unwrap();
        assert_eq!(read_small_file(&path, 3).unwrap(), b"two");
        assert!(read_small_file(&path, 2).is_err());
        fs::create_dir(dir.path().join("pool.new")).unwrap();
        assert!(replace_file(&RealDisk, &path, b"three").is_err());
        assert_eq!(fs::read(&path).unwrap(), b"two");
    }

    #[test]
    fn one_lock_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("LOCK");
        let held = DirectoryLock::take(path.clone()).unwrap().unwrap();
        assert!(DirectoryLock::take(path.clone()).unwrap().is_none());
        // As a process that is just being started has one.
        let _copy = held.file.try_clone().unwrap();
        drop(held);
        assert!(DirectoryLock::take(path).unwrap().is_some());
    }

    #[test]
    fn zeros_fill_a_file_to_the_byte() {
        let dir = tempfile::tempdir().unwrap();
        let file = RealDisk.create(&dir.path().join("zeros")).unwrap();
        let bytes = PART_BYTES as u64 + 17;
        fill_with_zeros(&RealDisk, &file, bytes, &|_| ()).unwrap();
        assert_eq!(file.metadata().unwrap().len(), bytes);
    }
}
