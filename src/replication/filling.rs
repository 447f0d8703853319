//! A copy of the primary's data directory becomes that of a standby.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::disk::device::Disk;
use crate::journal::on_damage::OnDamage;
use crate::store::data_dir::{self, CONTENTS_FILE};
use crate::store::growing_file;
use crate::store::list_files::LIST_FILE;
use crate::store::manifest::{Manifest, SegmentEntry};
use crate::store::pool_dir::SegmentPaths;

use super::member_file::{Directory, MEMBER_FILE, MemberFile};

/// Where a copy is until it is complete.
const FILLING_DIR: &str = "filling";

/// An empty directory for a copy, in a data directory.
pub fn begin(disk: &dyn Disk, data_dir: &Path) -> io::Result<PathBuf> {
    let filling = data_dir.join(FILLING_DIR);
    match disk.remove_directory(&filling) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    disk.create_directories(&filling)?;
    Ok(filling)
}

/// Whether a data directory has pools or lists.
pub(super) fn has_data(data_dir: &Path) -> io::Result<bool> {
    Ok(!names(&data_dir.join("pools"))?.is_empty() || !names(&data_dir.join("lists"))?.is_empty())
}

/// Whether a copy has the pools and lists that the data directory has, with their single additions and the sets of lists.
/// What appears, disappears, is added or exchanged is on the disk before the engine, which makes the copy, knows of it.
/// The rest of a pool's files is not compared: its manifest is locked while both change.
pub fn has_all(data_dir: &Path, copy: &Path) -> io::Result<bool> {
    let (pools, lists) = (names(&data_dir.join("pools"))?, names(&data_dir.join("lists"))?);
    if pools != names(&copy.join("pools"))? || lists != names(&copy.join("lists"))? {
        return Ok(false);
    }
    let manifest = |dir: &Path, list: &OsString| fs::read(dir.join("lists").join(list).join(LIST_FILE)).ok();
    let is_same =
        |list: &OsString| manifest(data_dir, list).is_some_and(|there| Some(there) == manifest(copy, list));
    let dir = |dir: &Path, pool: &OsString| dir.join("pools").join(pool);
    Ok(lists.iter().all(is_same)
        && pools.iter().all(|pool| has_additions(&dir(data_dir, pool), &dir(copy, pool))))
}

/// Whether the copy of a pool has all numbers of the parts that grow by single additions.
fn has_additions(pool_dir: &Path, copy: &Path) -> bool {
    let Ok(manifest) = Manifest::read(copy) else { return false };
    let count = |dir: &Path, entry: &SegmentEntry| {
        let path = SegmentPaths::of(dir, entry).set;
        let read = growing_file::read(&path, entry.id, entry.capacity, OnDamage::GiveUp);
        read.ok().map(|read| read.numbers.len())
    };
    let mut growing = manifest.segments.iter().filter(|entry| entry.capacity > 0);
    growing.all(|entry| count(copy, entry).is_some_and(|count_of| Some(count_of) == count(pool_dir, entry)))
}

/// The names in a directory but for those of removed ones; none if there is no such directory.
fn names(dir: &Path) -> io::Result<BTreeSet<OsString>> {
    let found = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        found => found?,
    };
    let names: io::Result<BTreeSet<OsString>> = found.map(|found| Ok(found?.file_name())).collect();
    Ok(names?.into_iter().filter(|name| !name.as_encoded_bytes().starts_with(b".")).collect())
}

/// Takes a complete copy, which [`begin`] made room for, for the directory. What the directory had is gone from here on,
/// and not before: should the primary go too, it may be all that is left. `file` says what the copy stands for.
pub fn install(disk: &dyn Disk, data_dir: &Path, file: MemberFile) -> io::Result<MemberFile> {
    let filling = data_dir.join(FILLING_DIR);
    MemberFile { directory: Directory::Incomplete, position: 0, epoch: 0, ..file.clone() }
        .write(disk, data_dir)?;
    discard(data_dir, &[FILLING_DIR, MEMBER_FILE])?;
    for found in fs::read_dir(&filling)? {
        let found = found?;
        let name = found.file_name();
        if name != CONTENTS_FILE && name != "LOCK" {
            disk.rename(&found.path(), &data_dir.join(name))?;
        }
    }
    disk.remove_directory(&filling)?;
    disk.sync_directory(data_dir)?;
    let file = MemberFile { directory: Directory::Follows, files: file.position, ..file };
    file.write(disk, data_dir)?;
    Ok(file)
}

/// Removes all of a data directory but its locks, its backups and what is in `kept`, so that it can be filled anew.
fn discard(data_dir: &Path, kept: &[&str]) -> io::Result<()> {
    for found in fs::read_dir(data_dir)? {
        let found = found?;
        let name = found.file_name();
        let is_kept = kept.iter().any(|kept| name == *kept);
        if is_kept || name.to_string_lossy().starts_with("LOCK") || name == data_dir::BACKUPS_DIR {
            continue;
        }
        if found.file_type()?.is_dir() {
            fs::remove_dir_all(found.path())?;
        } else {
            fs::remove_file(found.path())?;
        }
    }
    File::open(data_dir)?.sync_all()
}
