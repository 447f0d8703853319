//! A fail-stop disk, for the files that confirmations depend on and that are in use: the words, their
//! checksums, and the manifests and directories of the pools. After a failure that leaves their content
//! unknown it stops the journal, so that nothing more is confirmed. The journal does the same for its own
//! files.
//!
//! Everything else (staging, totals, backups, new files) is on the plain disk, and a failure there fails the
//! call alone.
//!
//! Lack of space, of descriptors or of memory is not a failure of the disk: nothing was done and it can be done
//! later. A sync that fails for lack of space is the exception. It may have dropped earlier writes, so it is
//! never retried.

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

/// A disk that stops the journal when a write, a sync or a rename fails.
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

/// Whether the system refused a rename, so that it changed nothing.
fn is_refusal(error: &io::Error) -> bool {
    files::is_shortage(error)
        || matches!(
            error.kind(),
            ErrorKind::NotFound
                | ErrorKind::AlreadyExists
                | ErrorKind::DirectoryNotEmpty
                | ErrorKind::NotADirectory
                | ErrorKind::IsADirectory
                | ErrorKind::InvalidInput
                | ErrorKind::PermissionDenied
                | ErrorKind::ReadOnlyFilesystem
                | ErrorKind::CrossesDevices
                | ErrorKind::ResourceBusy
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

    fn synced(&self, path: impl FnOnce() -> PathBuf, result: io::Result<()>) -> io::Result<()> {
        result.map_err(|error| {
            if files::is_out_of_resources(&error) {
                return error;
            }
            self.failed("synced", &path(), &error);
            // Hide the kind, so that no caller takes the error for one that can be retried.
            io::Error::other(error)
        })
    }
}

impl Disk for FailStopDisk {
    fn create(&self, path: &Path) -> io::Result<File> {
        self.disk.create(path)
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<File> {
        self.disk.open(path, access)
    }

    fn allocate(&self, file: &File, bytes: u64) -> io::Result<()> {
        self.disk.allocate(file, bytes)
    }

    #[inline]
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.write_at(file, bytes, offset).inspect_err(|error| {
            if !files::is_shortage(error) {
                self.failed("written", &path_of(file), error);
            }
        })
    }

    fn add_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.add_at(file, bytes, offset).inspect_err(|error| {
            if !files::is_shortage(error) {
                self.failed("written", &path_of(file), error);
            }
        })
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        self.synced(|| path_of(file), self.disk.sync(file))
    }

    fn flush(&self, words: &MappedWords) -> io::Result<()> {
        self.synced(|| PathBuf::from("a table of words"), self.disk.flush(words))
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        let opened = self.disk.open_directory(directory)?;
        self.sync_opened(&opened, directory)
    }

    fn open_directory(&self, directory: &Path) -> io::Result<File> {
        self.disk.open_directory(directory)
    }

    fn sync_opened(&self, opened: &File, directory: &Path) -> io::Result<()> {
        self.synced(|| directory.to_owned(), self.disk.sync_opened(opened, directory))
    }

    fn create_directories(&self, path: &Path) -> io::Result<()> {
        self.disk.create_directories(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to).inspect_err(|error| {
            if !is_refusal(error) {
                self.failed("renamed", from, error);
            }
        })
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_file(path)
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_directory(path)
    }
}
