//! The backups that are there: the newest of them, and those that are old enough to go.
//!
//! Only backups that are named by their time are removed. One with a name of its own stays until somebody removes it.

use std::path::Path;
use std::time::UNIX_EPOCH;
use std::{fs, io};

use crate::disk::device::Disk;
use crate::engine::registry::Engine;
use crate::state::time::Timestamp;
use crate::store::data_dir::CONTENTS_FILE;

use super::contents::Contents;
use super::error::BackupError;
use super::file_copy::at;

/// Prefix of an unfinished backup's directory; the backup's name follows.
pub(super) const UNFINISHED_PREFIX: &str = ".unfinished-";
/// Where the date ends in a name that is a time: what follows has hyphens in place of colons.
const DATE_BYTES: usize = "2026-11-30".len();

/// A backup that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) name: String,
    /// It has everything that was acknowledged before, in seconds since the Unix epoch.
    pub(crate) as_of_unix_seconds: u64,
}

/// The name of a backup without one of its own.
pub(super) fn name_of(time: Timestamp) -> String {
    time.to_string().replace(':', "-")
}

fn is_a_time(name: &str) -> bool {
    let Some((date, time)) = name.split_at_checked(DATE_BYTES) else { return false };
    Timestamp::parse(&format!("{date}{}", time.replace('-', ":"))).is_some_and(|time| name_of(time) == name)
}

/// Seconds since the Unix epoch of a time in RFC 3339; 0 for another text.
pub(super) fn unix_seconds(time: &str) -> u64 {
    let since = humantime::parse_rfc3339(time).ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.map_or(0, |since| since.as_secs())
}

impl Engine {
    /// The newest backup in the directory of backups, if there is one that can be read.
    pub(crate) fn newest_backup(&self) -> Option<Found> {
        let written_at = |entry: fs::DirEntry| {
            let name = entry.file_name().into_string().ok().filter(|name| !name.starts_with('.'))?;
            let written_at = fs::metadata(entry.path().join(CONTENTS_FILE)).ok()?.modified().ok()?;
            Some((written_at, name))
        };
        let entries = fs::read_dir(&self.dirs.backups).ok()?;
        let (_, name) = entries.flatten().filter_map(written_at).max()?;
        let contents = Contents::read(&self.dirs.backups.join(&name)).ok()?;
        Some(Found { name, as_of_unix_seconds: unix_seconds(&contents.as_of) })
    }
}

/// Removes the oldest backups that are named by their time, but for `keep` of them. Returns their names.
pub(super) fn remove_old(disk: &dyn Disk, backups: &Path, keep: usize) -> Result<Vec<String>, BackupError> {
    let entries = fs::read_dir(backups).map_err(at(backups))?;
    let named = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut dated: Vec<String> =
        named.filter(|name| is_a_time(name) && backups.join(name).join(CONTENTS_FILE).exists()).collect();
    dated.sort_unstable();
    dated.truncate(dated.len().saturating_sub(keep));
    for name in &dated {
        remove(disk, backups, name).map_err(|error| BackupError::NotRemoved(name.clone(), error))?;
    }
    Ok(dated)
}

/// Hides it first: what is left of it if the daemon ends is not taken for a backup.
fn remove(disk: &dyn Disk, backups: &Path, name: &str) -> io::Result<()> {
    let hidden = backups.join(format!("{UNFINISHED_PREFIX}{name}"));
    disk.rename(&backups.join(name), &hidden)?;
    disk.sync_directory(backups)?;
    disk.remove_directory(&hidden)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_by_time_is_told_from_others() {
        for name in ["2026-11-30T00-12-33Z", "2020-01-01T00-00-00Z"] {
            assert!(is_a_time(name), "{name}");
        }
        for name in
            ["monday", "2026-11-30", "2026-11-30T00-12-33Z-1", "2026-11-30T00:12:33Z", "2026-13-30T00-12-33Z"]
        {
            assert!(!is_a_time(name), "{name}");
        }
        assert_eq!(unix_seconds("2026-11-27T14:18:12.623416Z"), 1_795_789_092);
    }
}
