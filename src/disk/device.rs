//! The disk as a trait. Every write of the daemon goes through it, so that tests can use a disk that fails,
//! fills up or loses power.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::{fmt, io};

use rustix::fs::{FallocateFlags, OFlags};

use super::mapping::MappedWords;

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

/// Every change that the daemon makes to its data directory. The default methods act on the real disk; a
/// test's disk overrides those that it tests.
pub trait Disk: fmt::Debug + Send + Sync + 'static {
    /// Creates a file for reading and writing. Fails if it exists.
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

    /// Allocates the space of a file, at least one byte. Fails with [`io::ErrorKind::Unsupported`] where the
    /// file system cannot; [`super::files::allocate`] handles that.
    fn allocate(&self, file: &File, bytes: u64) -> io::Result<()> {
        Ok(rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes)?)
    }

    /// Writes all of `bytes` at an offset.
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }

    /// Adds what no record of the journal has to a file of the data directory: as [`Self::write_at`], where nothing
    /// follows the directory.
    fn add_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_at(file, bytes, offset)
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

    /// Opens a directory for [`Self::sync_opened`].
    fn open_directory(&self, directory: &Path) -> io::Result<File> {
        File::open(directory)
    }

    /// Like [`Self::sync_directory`], but needs no descriptor: `opened` is the directory.
    fn sync_opened(&self, opened: &File, directory: &Path) -> io::Result<()> {
        let _ = opened;
        self.sync_directory(directory)
    }

    /// Creates a directory and its missing parents.
    fn create_directories(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    /// Renames a file or directory, replacing a file of the new name.
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

impl Disk for RealDisk {
    fn sync_opened(&self, opened: &File, _directory: &Path) -> io::Result<()> {
        opened.sync_all()
    }
}
