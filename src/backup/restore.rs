//! Restoring a backup into a data directory.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use std::{fs, io};

use crate::disk::device::Disk;
use crate::disk::files;
use crate::state::time::{EPOCH_UNIX_SECONDS, Timestamp};
use crate::store::manifest::Manifest;
use crate::store::{data_dir, pool_dir};

use super::contents::{Contents, ContentsError};
use super::unfinished::Unfinished;

/// Why a backup was not restored. Nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The list of files cannot be used.
    #[error(transparent)]
    Contents(#[from] ContentsError),
    /// A file of the backup differs from what was written.
    #[error("{0} {1}: use another backup")]
    Fault(PathBuf, String),
    /// The target is a data directory.
    #[error(
        "{0} is a data directory, and may be newer than the backup: restore into another directory, or move this \
         one away first"
    )]
    DataDirectory(PathBuf),
    /// The target is not an empty directory.
    #[error("{0} is not an empty directory: restore into an empty one, or one that does not exist")]
    NotEmpty(PathBuf),
    /// A directory of another restore, in progress or left over.
    #[error("{0} is in the way: remove it if no other restore into the same directory is running")]
    Unfinished(PathBuf),
    /// The target is a mount point, which a rename cannot replace.
    #[error("{0} is where a file system is mounted: restore into a directory in it")]
    MountPoint(PathBuf),
    /// The disk has no space left.
    #[error("the disk of {0} is full: {1} bytes are needed")]
    StorageFull(PathBuf, u64),
    /// A file or directory cannot be used.
    #[error("{0}: {1}")]
    Io(PathBuf, #[source] io::Error),
}

/// When the pools of a restored directory give leases again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serving {
    /// Once the longest lease has ended that the lost daemon can have given: each pool is paused for its `ttl_max`.
    OnceLeasesEnded,
    /// At once. Numbers that were leased after the backup can get a second holder.
    AtOnce,
}

/// What was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// It contains everything acknowledged before this time (RFC 3339).
    pub as_of: String,
    /// How many pools.
    pub pools: u64,
    /// How many numbers.
    pub numbers: u64,
    /// Total bytes of all files.
    pub bytes: u64,
    /// When the last pool gives leases again by itself; `None` if none is paused for the leases after the backup.
    pub paused_until: Option<Timestamp>,
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> RestoreError {
    let path = path.to_owned();
    move |error| RestoreError::Io(path, error)
}

/// Restores a backup into the data directory `target`, completely or not at all. Verifies every file first.
pub fn restore(
    disk: &dyn Disk,
    backup: &Path,
    target: &Path,
    serving: Serving,
) -> Result<Restored, RestoreError> {
    let contents = Contents::read(backup)?;
    refuse_occupied(target)?;
    for file in &contents.files {
        if let Some(what) = file.fault(backup) {
            return Err(RestoreError::Fault(file.path_in(backup), what));
        }
    }
    let target = std::path::absolute(target).map_err(at(target))?;
    let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else {
        return Err(RestoreError::NotEmpty(target));
    };
    disk.create_directories(parent).map_err(at(parent))?;
    let mut unfinished = name.to_owned();
    unfinished.push(".restoring");
    let unfinished = parent.join(unfinished);
    match fs::create_dir(&unfinished) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(RestoreError::Unfinished(unfinished));
        }
        made => made.map_err(at(&unfinished))?,
    }
    let unfinished = Unfinished { disk, dir: unfinished };
    let bytes = contents.bytes();
    let paused_until =
        copy_all(disk, backup, &unfinished.dir, &contents, serving).map_err(|error| match error {
            RestoreError::Io(_, error) if files::is_storage_full(&error) => {
                RestoreError::StorageFull(parent.to_owned(), bytes)
            }
            other => other,
        })?;
    // The rename succeeds only if the target is an empty directory or does not exist.
    disk.rename(&unfinished.dir, &target).and_then(|()| disk.sync_directory(parent)).map_err(at(&target))?;
    let Contents { as_of, pools, numbers, .. } = contents;
    Ok(Restored { as_of, pools, numbers, bytes, paused_until })
}

fn refuse_occupied(target: &Path) -> Result<(), RestoreError> {
    let mut entries = match fs::read_dir(target) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(RestoreError::NotEmpty(target.to_owned()));
        }
        Err(error) => return Err(RestoreError::Io(target.to_owned(), error)),
    };
    if target.join("LOCK").exists() {
        return Err(RestoreError::DataDirectory(target.to_owned()));
    }
    if entries.next().is_some() {
        return Err(RestoreError::NotEmpty(target.to_owned()));
    }
    let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev()).map_err(at(path));
    if device(target)? != device(&target.join(".."))? {
        return Err(RestoreError::MountPoint(target.to_owned()));
    }
    Ok(())
}

/// Notes in each pool's manifest that leases made after the backup are unknown. Returns when the last of them has
/// ended, if the pools are to wait for that.
fn begin_epochs(disk: &dyn Disk, root: &Path, serving: Serving) -> Result<Option<Timestamp>, RestoreError> {
    let pools = data_dir::pools_dir(root);
    let mut last = None;
    if !pools.exists() {
        return Ok(last);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let now = Timestamp::checked(now.saturating_sub(EPOCH_UNIX_SECONDS)).unwrap_or(Timestamp::MAX);
    for (_, dir) in pool_dir::pool_dirs(&pools).map_err(at(&pools))? {
        let mut manifest =
            Manifest::read(&dir).map_err(|error| RestoreError::Io(dir.clone(), io::Error::other(error)))?;
        manifest.begins_epoch = true;
        // A pause by an operator goes on until an operator ends it.
        if serving == Serving::OnceLeasesEnded && !(manifest.paused && manifest.paused_until.is_none()) {
            let until = now.after(manifest.settings.ttl_max);
            manifest.set_paused(true, Some(until));
            last = last.max(Some(until));
        }
        manifest.write(disk, &dir).map_err(at(&dir))?;
    }
    Ok(last)
}

/// Copies all files durably and verifies them again. Returns when the last pool gives leases again by itself.
fn copy_all(
    disk: &dyn Disk,
    backup: &Path,
    root: &Path,
    contents: &Contents,
    serving: Serving,
) -> Result<Option<Timestamp>, RestoreError> {
    let mut dirs = std::collections::BTreeSet::from([root.to_owned()]);
    for entry in &contents.files {
        let path = root.join(&entry.path);
        for dir in path.ancestors().skip(1).take_while(|dir| *dir != root) {
            if dirs.insert(dir.to_owned()) {
                disk.create_directories(dir).map_err(at(dir))?;
            }
        }
        let file = disk.create(&path).map_err(at(&path))?;
        let mut position = 0;
        let fault = entry.read_through(backup, |bytes| {
            disk.write_at(&file, bytes, position)?;
            position += bytes.len() as u64;
            Ok(())
        });
        if let Some(what) = fault.map_err(at(&path))? {
            return Err(RestoreError::Fault(entry.path_in(backup), what));
        }
        disk.sync(&file).map_err(at(&path))?;
    }
    let paused_until = begin_epochs(disk, root, serving)?;
    // Children before parents.
    dirs.iter().rev().try_for_each(|dir| disk.sync_directory(dir).map_err(at(dir)))?;
    Ok(paused_until)
}
