//! The lock of a directory: one daemon per data directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::PathBuf;

/// A lock on a directory, held as long as this lives, also against other processes.
#[derive(Debug)]
pub struct DirectoryLock {
    file: File,
}

impl DirectoryLock {
    /// Takes the lock through the file `path`. `None` if another process holds it.
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
        // Closing the file does not suffice while a process that is being started has a copy of the
        // descriptor.
        let _ = self.file.unlock();
    }
}

#[cfg(test)]
#[cfg(not(allotd_loom))]
mod tests {
    use super::*;

    #[test]
    fn one_lock_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("LOCK");
        let held = DirectoryLock::take(path.clone()).unwrap().unwrap();
        assert!(DirectoryLock::take(path.clone()).unwrap().is_none());
        // A process that is being started has such a copy.
        let _copy = held.file.try_clone().unwrap();
        drop(held);
        assert!(DirectoryLock::take(path).unwrap().is_some());
    }
}
