//! Whether this process may use all files of a data directory.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use rustix::fs::Access;

use crate::disk::denied::explain;

use super::finding::Finding;

/// The permission of everybody to change a directory.
const OTHERS_WRITE: u32 = 0o002;
const SUBJECT: &str = "data";

pub(super) fn look(data_dir: &Path) -> Finding {
    let Ok(metadata) = fs::metadata(data_dir) else { return of_missing(data_dir) };
    if !metadata.is_dir() {
        return Finding::fault(SUBJECT, format!("{} is not a directory", data_dir.display()));
    }
    if metadata.permissions().mode() & OTHERS_WRITE != 0 {
        let text = format!("every user may write to {}: chmod o-w it", data_dir.display());
        return Finding::fault(SUBJECT, text);
    }
    match first_denied(data_dir) {
        Some((path, error)) => {
            Finding::fault(SUBJECT, format!("{} cannot be used: {}", path.display(), explain(&path, &error)))
        }
        None => {
            Finding::fine(SUBJECT, format!("all files in {} can be read and written", data_dir.display()))
        }
    }
}

/// A directory that the start would create.
fn of_missing(data_dir: &Path) -> Finding {
    let absolute = std::path::absolute(data_dir).unwrap_or_else(|_| data_dir.to_owned());
    let there = absolute.ancestors().find(|place| place.exists()).unwrap_or(&absolute);
    match rustix::fs::access(there, Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) => Finding::fine(SUBJECT, format!("{} will be created", data_dir.display())),
        Err(error) => Finding::fault(
            SUBJECT,
            format!("{} cannot be created: {}", data_dir.display(), explain(there, &error.into())),
        ),
    }
}

/// The first file or directory below `dir`, itself included, that this process may not use.
fn first_denied(dir: &Path) -> Option<(PathBuf, io::Error)> {
    let mut left = vec![dir.to_owned()];
    while let Some(path) = left.pop() {
        let metadata = match fs::symlink_metadata(&path) {
            Ok(metadata) => metadata,
            // It was removed meanwhile, by the daemon that runs.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Some((path, error)),
        };
        let needed = if metadata.is_dir() {
            Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK
        } else {
            Access::READ_OK
        };
        match rustix::fs::access(&path, needed) {
            Ok(()) => {}
            Err(rustix::io::Errno::NOENT) => continue,
            Err(error) => return Some((path, error.into())),
        }
        if metadata.is_dir() {
            match fs::read_dir(&path) {
                Ok(entries) => left.extend(entries.flatten().map(|entry| entry.path())),
                Err(error) => return Some((path, error)),
            }
        }
    }
    None
}
