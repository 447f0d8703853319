//! The lock of a directory: one daemon per data directory.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;

/// A lock on a directory, held as long as this lives, also against other processes.
#[derive(Debug)]
pub struct DirectoryLock {
    file: File,
}

/// Whoever may open the file may lock it, and stop the next start: only its owner may.
const OWNERS_MODE: u32 = 0o600;

/// Takes permissions away that an earlier version or a copy has left.
fn keep_private(file: &File) -> io::Result<()> {
    let mode = file.metadata()?.permissions().mode() & 0o777;
    if mode & !OWNERS_MODE == 0 { Ok(()) } else { file.set_permissions(Permissions::from_mode(OWNERS_MODE)) }
}

impl DirectoryLock {
    /// Takes the lock through the file `path`. `None` if another process holds it.
    pub fn take(path: PathBuf) -> io::Result<Option<Self>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(OWNERS_MODE);
        let file = options.open(path)?;
        keep_private(&file)?;
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
        assert!(DirectoryLock::take(path.clone()).unwrap().is_some());
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert!(DirectoryLock::take(path.clone()).unwrap().is_some());
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, OWNERS_MODE);
    }
}
