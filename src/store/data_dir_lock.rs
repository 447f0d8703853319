//! The lock of the data directory, which also names its format: one daemon has it at a time.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::{fs, io};

use crate::disk::device::{self, Disk};
use crate::disk::directory_lock::DirectoryLock;
use crate::disk::files;

use super::open_error::OpenError;

/// The content of `LOCK` in a directory of this version.
const FORMAT_LINE: &[u8] = b"allotd data directory, format 2\n";
/// The permission of everybody to change a directory.
const OTHERS_WRITE: u32 = 0o002;
/// Maximum length of `LOCK`.
const MAX_LOCK_BYTES: u64 = 4_096;

/// Locks a data directory. Initializes an empty one.
pub(crate) fn lock_directory(disk: &dyn Disk, data_dir: &Path) -> Result<DirectoryLock, OpenError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |error| OpenError::Io(path, error)
    };
    create_data_dir(disk, data_dir).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
            OpenError::NotADirectory(data_dir.to_owned())
        }
        _ => OpenError::Io(data_dir.to_owned(), error),
    })?;
    let mode = fs::metadata(data_dir).map_err(io(data_dir))?.permissions().mode();
    if mode & OTHERS_WRITE != 0 {
        return Err(OpenError::OpenToOthers(data_dir.to_owned()));
    }
    let path = data_dir.join("LOCK");
    if !path.exists() && fs::read_dir(data_dir).map_err(io(data_dir))?.next().is_some() {
        return Err(OpenError::NotADataDirectory(data_dir.to_owned()));
    }
    let lock = DirectoryLock::take(path.clone()).map_err(io(&path))?;
    let lock = lock.ok_or_else(|| OpenError::Locked(data_dir.to_owned()))?;
    match files::read_small_file(&path, MAX_LOCK_BYTES).map_err(io(&path))?.as_slice() {
        FORMAT_LINE => {}
        // New, or a power loss undid the write.
        content if content.iter().all(|byte| *byte == 0) => write_format(disk, &path).map_err(io(&path))?,
        _ => return Err(OpenError::OtherVersion(data_dir.to_owned())),
    }
    Ok(lock)
}

/// Creates the directory and its parents, durably.
fn create_data_dir(disk: &dyn Disk, data_dir: &Path) -> io::Result<()> {
    if data_dir.is_dir() {
        return Ok(());
    }
    let data_dir = std::path::absolute(data_dir)?;
    let new: Vec<&Path> = data_dir.ancestors().take_while(|dir| !dir.exists()).collect();
    disk.create_directories(&data_dir)?;
    new.into_iter().filter_map(Path::parent).try_for_each(|parent| disk.sync_directory(parent))
}

fn write_format(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    let file = disk.open(path, device::Access::Buffered)?;
    disk.write_at(&file, FORMAT_LINE, 0)?;
    disk.sync(&file)?;
    files::sync_parent(disk, path)
}
