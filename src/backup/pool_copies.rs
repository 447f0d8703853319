//! Copies the pools into a backup.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::coordinates::SegmentId;
use crate::disk::device::Disk;
use crate::engine::pool::Pool;
use crate::store::manifest::{MANIFEST_FILE, Manifest};

use super::contents::FileEntry;
use super::error::BackupError;
use super::file_copy::{self, at};

/// What is copied so far, by pool name.
pub(crate) struct PoolCopies<'a> {
    disk: &'a dyn Disk,
    root: &'a Path,
    copies: BTreeMap<String, PoolCopy>,
}

/// What is copied of one pool.
struct PoolCopy {
    id: u64,
    segments: BTreeSet<SegmentId>,
    numbers: u64,
    files: Vec<FileEntry>,
}

impl<'a> PoolCopies<'a> {
    /// No copies yet, for the backup in `root`.
    pub(crate) fn new(disk: &'a dyn Disk, root: &'a Path) -> Self {
        Self { disk, root, copies: BTreeMap::new() }
    }

    /// How many pools, and how many numbers.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.copies.len() as u64, self.copies.values().map(|copy| copy.numbers).sum())
    }

    fn dir(&self, name: &str) -> PathBuf {
        self.root.join("pools").join(name)
    }

    /// Copies the numbers and words of all segments that are not copied yet.
    pub(crate) fn copy_new(
        &mut self,
        pools: &[Arc<Pool>],
        check: &dyn Fn() -> Result<(), BackupError>,
    ) -> Result<(), BackupError> {
        self.leave_out_deleted(pools)?;
        for pool in pools {
            let name = pool.name().to_string();
            let mut copy = if let Some(copy) = self.copies.remove(&name) {
                copy
            } else {
                let dir = self.dir(&name);
                self.disk.create_directories(&dir).map_err(at(&dir))?;
                PoolCopy { id: pool.id(), segments: BTreeSet::new(), numbers: 0, files: Vec::new() }
            };
            for segment in &pool.segments.load_full().list {
                if copy.segments.insert(segment.id) {
                    check()?;
                    let stem = format!("pools/{name}/{:04}", segment.id);
                    // From the mapping: the file may be gone if the pool is deleted meanwhile.
                    let set = segment.set.as_bytes();
                    copy.files.push(file_copy::whole(self.disk, self.root, format!("{stem}.numbers"), set)?);
                    let words = &segment.state.words;
                    copy.files.extend(file_copy::words(self.disk, self.root, &stem, words, check)?);
                }
            }
            self.copies.insert(name, copy);
        }
        Ok(())
    }

    /// Removes the copies of deleted pools.
    fn leave_out_deleted(&mut self, pools: &[Arc<Pool>]) -> Result<(), BackupError> {
        let ids: BTreeSet<u64> = pools.iter().map(|pool| pool.id()).collect();
        let mut deleted = Vec::new();
        self.copies.retain(|name, copy| {
            let kept = ids.contains(&copy.id);
            deleted.extend((!kept).then(|| name.clone()));
            kept
        });
        for name in deleted {
            let dir = self.dir(&name);
            self.disk.remove_directory(&dir).map_err(at(&dir))?;
        }
        Ok(())
    }

    /// Writes the current manifests. Returns all files of the pools, or `None` if there is a segment that is
    /// not copied yet.
    pub(crate) fn write_manifests(
        &mut self,
        pools: &[Arc<Pool>],
    ) -> Result<Option<Vec<FileEntry>>, BackupError> {
        self.leave_out_deleted(pools)?;
        let mut manifests = Vec::new();
        for pool in pools {
            let manifest = pool.manifest();
            let is_whole =
                |copy: &PoolCopy| manifest.segments.iter().all(|entry| copy.segments.contains(&entry.id));
            if !self.copies.get(pool.name().as_str()).is_some_and(is_whole) {
                return Ok(None);
            }
            manifests.push((pool, manifest));
        }
        let mut all = Vec::new();
        for (pool, manifest) in manifests {
            let name = pool.name().as_str();
            let dir = self.dir(name);
            let Some(copy) = self.copies.get_mut(name) else { continue };
            check_sets(pool, &manifest, &copy.files)?;
            let content = manifest.content().map_err(at(&dir))?;
            let relative = format!("pools/{name}/{MANIFEST_FILE}");
            all.append(&mut copy.files);
            all.push(file_copy::whole(self.disk, self.root, relative, content.as_bytes())?);
            copy.numbers = manifest.segments.iter().map(|entry| entry.numbers).sum();
            self.disk.sync_directory(&dir).map_err(at(&dir))?;
        }
        Ok(Some(all))
    }
}

/// Fails if copied numbers do not match the manifest: the backup could not be opened.
fn check_sets(pool: &Pool, manifest: &Manifest, files: &[FileEntry]) -> Result<(), BackupError> {
    for entry in &manifest.segments {
        let relative = format!("pools/{}/{:04}.numbers", pool.name(), entry.id);
        let is_same =
            |file: &FileEntry| (file.crc32c, file.bytes) == (entry.numbers_crc32c, entry.numbers_bytes);
        if !files.iter().find(|file| file.path == relative).is_some_and(is_same) {
            let path = pool.dir.join(format!("{:04}.numbers", entry.id));
            return Err(BackupError::Damaged(path, "its checksum is not the one in pool.toml".to_owned()));
        }
    }
    Ok(())
}
