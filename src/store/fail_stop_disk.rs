//! A fail-stop disk: after a failure that leaves the content of the disk unknown, it stops the journal, so
//! that nothing more is confirmed, whichever call failed.
//!
//! Lack of space is not such a failure: the data is not written and can be written later. A sync is the
//! exception: if it fails for any reason it may have dropped earlier writes, so it is never retried.

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::device::{Access, Disk};
use crate::disk::files;
use crate::disk::mapping::MappedWords;
use crate::journal::handle::Journal;

/// A disk that stops the journal when it fails.
pub(crate) struct FailStopDisk {
    disk: Arc<dyn Disk>,
    journal: Arc<Journal>,
}

impl fmt::Debug for FailStopDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.disk.fmt(f)
    }
}

/// The path of an open file, for a message.
fn path_of(file: &File) -> PathBuf {
    let link = format!("/proc/self/fd/{}", file.as_raw_fd());
    std::fs::read_link(link).unwrap_or_else(|_| PathBuf::from("a file"))
}

/// Whether a call that failed with this error changed nothing and does not indicate a failed disk.
fn is_harmless(error: &io::Error) -> bool {
    files::is_storage_full(error)
        || matches!(
            error.kind(),
            ErrorKind::NotFound
                | ErrorKind::AlreadyExists
                | ErrorKind::DirectoryNotEmpty
                | ErrorKind::InvalidInput
                | ErrorKind::PermissionDenied
                | ErrorKind::Unsupported
        )
}

impl FailStopDisk {
    pub(crate) fn new(disk: Arc<dyn Disk>, journal: Arc<Journal>) -> Self {
        Self { disk, journal }
    }

    fn failed(&self, what: &str, path: &Path, error: &io::Error) {
        self.journal.poison(&format!("{} could not be {what}", path.display()), error);
    }

    fn changed<T>(&self, what: &str, path: &Path, result: io::Result<T>) -> io::Result<T> {
        result.inspect_err(|error| {
            if !is_harmless(error) {
                self.failed(what, path, error);
            }
        })
    }

    fn synced(&self, path: impl FnOnce() -> PathBuf, result: io::Result<()>) -> io::Result<()> {
        result.map_err(|error| {
            self.failed("synced", &path(), &error);
            // Hide the kind, so that no caller takes the error for one that can be retried.
            io::Error::other(error)
        })
    }
}

impl Disk for FailStopDisk {
    fn create(&self, path: &Path) -> io::Result<File> {
        self.changed("created", path, self.disk.create(path))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<File> {
        self.changed("opened", path, self.disk.open(path, access))
    }

    fn allocate(&self, file: &File, bytes: u64) -> io::Result<()> {
        let result = self.disk.allocate(file, bytes);
        if result.is_ok() { Ok(()) } else { self.changed("allocated", &path_of(file), result) }
    }

    #[inline]
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        let result = self.disk.write_at(file, bytes, offset);
        if result.is_ok() { Ok(()) } else { self.changed("written", &path_of(file), result) }
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        self.synced(|| path_of(file), self.disk.sync(file))
    }

    fn flush(&self, words: &MappedWords) -> io::Result<()> {
        self.synced(|| PathBuf::from("a table of words"), self.disk.flush(words))
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        self.synced(|| directory.to_owned(), self.disk.sync_directory(directory))
    }

    fn create_directories(&self, path: &Path) -> io::Result<()> {
        self.changed("created", path, self.disk.create_directories(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.changed("renamed", from, self.disk.rename(from, to))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.changed("removed", path, self.disk.remove_file(path))
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        self.changed("removed", path, self.disk.remove_directory(path))
    }
}
