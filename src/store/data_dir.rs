//! The data directory: its layout and its lock.
//!
//! ```text
//! data/
//!   LOCK                     held by the one daemon that uses the directory (mode 0600); names the format
//!   secret                   key of the tokens (mode 0600), then its CRC32C
//!   keys                     live `Idempotency-Key`s as of the last checkpoint
//!   totals-0, totals-1       what the pools have counted, see `super::totals_file`
//!   journal/                 see `crate::journal`
//!   events/                  the changes that are kept, see `super::event_log`
//!   given-up/                numbers whose state was lost, by `--recover-damaged`
//!   staging/                 unfinished files; emptied at each start
//!   backups/                 see `crate::backup`, unless they are kept elsewhere
//!   lists/optouts/…         a list that pools are blocked by, see `super::list_files`
//!   pools/ru/pool.toml       settings and the list of segments, replaced atomically
//!   pools/ru/0001.numbers    portable 64-bit Roaring, immutable, CRC in pool.toml
//!   pools/ru/0002.growing    numbers in the order of their addition, see `super::growing_file`
//!   pools/ru/0001.words      one little-endian u64 per number
//!   pools/ru/0001.sums       checksums of the words
//! ```

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::disk::device::{self, Disk};
use crate::disk::files;
use crate::disk::lock::DirectoryLock;

use super::open_error::OpenError;

/// The content of `LOCK` in a directory of this version.
const FORMAT_LINE: &[u8] = b"allotd data directory, format 2\n";
/// The permission of everybody to change a directory.
const OTHERS_WRITE: u32 = 0o002;
/// Maximum length of `LOCK`.
const MAX_LOCK_BYTES: u64 = 4_096;

/// The name of the file that lists a backup's files.
pub(crate) const CONTENTS_FILE: &str = "BACKUP";
/// The default directory of backups, in the data directory.
pub(crate) const BACKUPS_DIR: &str = "backups";
/// The name of the staging directory in the data directory.
pub(crate) const STAGING_DIR: &str = "staging";

/// Where the journal's files are.
pub(crate) fn journal_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("journal")
}

/// Where the changes are that are kept for those who follow them.
pub(crate) fn events_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("events")
}

/// Where the pools are.
pub(crate) fn pools_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("pools")
}

/// Where the numbers are listed whose state was lost and given up.
pub(crate) fn given_up_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("given-up")
}

/// Where the lists are.
pub(crate) fn lists_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("lists")
}

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
