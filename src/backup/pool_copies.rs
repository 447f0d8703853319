//! Copies the pools into a backup.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::coordinates::{self, SegmentId};
use crate::disk::device::Disk;
use crate::engine::pool::Pool;
use crate::engine::segment::Segment;
use crate::store::growing_file;
use crate::store::manifest::{MANIFEST_FILE, Manifest, SegmentEntry};
use crate::store::zones_file::ZonesEntry;

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
    segments: BTreeMap<SegmentId, SegmentCopy>,
    numbers: u64,
}

/// What is copied of one segment.
struct SegmentCopy {
    segment: Arc<Segment>,
    /// Whether a merge was moving words into it when the copy began. Then the copy is complete only together
    /// with those of the segments that the words came from.
    was_receiving: bool,
    /// Whether it had a column of holders.
    has_holders: bool,
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
                PoolCopy { id: pool.id(), segments: BTreeMap::new(), numbers: 0 }
            };
            // A segment that a merge moves words into comes after those that they come from. So a word that
            // has moved before its old place is copied is in the copy of its new place.
            for segment in &pool.segments.load_full().list {
                if let Entry::Vacant(place) = copy.segments.entry(segment.id) {
                    check()?;
                    place.insert(self.copy_segment(&name, segment, check)?);
                }
            }
            self.copies.insert(name, copy);
        }
        Ok(())
    }

    /// Copies the words of a segment, and its numbers unless it grows: then they are written with the manifest.
    fn copy_segment(
        &self,
        pool: &str,
        segment: &Arc<Segment>,
        check: &dyn Fn() -> Result<(), BackupError>,
    ) -> Result<SegmentCopy, BackupError> {
        let was_receiving = !segment.merging.is_complete();
        let stem = format!("pools/{pool}/{:04}", segment.id);
        let mut files = Vec::new();
        // From the mapping: the file may be gone if the pool is deleted or the segment merged meanwhile.
        if let Some(set) = segment.set.as_sorted() {
            files.push(file_copy::whole(self.disk, self.root, format!("{stem}.numbers"), set.as_bytes())?);
        }
        let paths = [format!("{stem}.words"), format!("{stem}.sums")];
        let holders = segment.state.holders.get();
        files.extend(file_copy::words(self.disk, self.root, paths, &segment.state.words, check)?);
        if let Some(column) = holders {
            let paths = [format!("{stem}.holders"), format!("{stem}.holder-sums")];
            files.extend(file_copy::words(self.disk, self.root, paths, &column.entries, check)?);
        }
        Ok(SegmentCopy { segment: Arc::clone(segment), was_receiving, has_holders: holders.is_some(), files })
    }

    /// Removes the copies of segments that the manifest does not name any more, of those that received their
    /// words, and of those that got a column of holders since.
    fn leave_out_merged(&mut self, pool: &str, manifest: &Manifest) -> Result<(), BackupError> {
        let Some(copy) = self.copies.get_mut(pool) else { return Ok(()) };
        let merging: BTreeSet<SegmentId> = manifest.merges().map(|(target, _)| target).collect();
        let is_named = |id: SegmentId| manifest.segments.iter().any(|entry| entry.id == id);
        let mut removed = Vec::new();
        let stays = |id: &SegmentId, copied: &SegmentCopy| {
            let has_column = copied.has_holders || !manifest.settings.holders;
            is_named(*id) && has_column && (!copied.was_receiving || merging.contains(id))
        };
        let all_stay = copy.segments.iter().all(|(id, copied)| stays(id, copied));
        copy.segments.retain(|id, copied| {
            // What receives is copied after what it receives from.
            let stays = stays(id, copied) && (all_stay || !copied.was_receiving);
            if !stays {
                removed.append(&mut copied.files);
            }
            stays
        });
        for file in removed {
            let path = file.path_in(self.root);
            self.disk.remove_file(&path).map_err(at(&path))?;
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
            self.leave_out_merged(pool.name().as_str(), &manifest)?;
            let is_whole =
                |copy: &PoolCopy| manifest.segments.iter().all(|entry| copy.segments.contains_key(&entry.id));
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
            let mut files: Vec<FileEntry> =
                copy.segments.values_mut().flat_map(|copied| std::mem::take(&mut copied.files)).collect();
            check_sets(pool, &manifest, &files)?;
            for entry in manifest.segments.iter().filter(|entry| entry.capacity > 0) {
                let Some(copied) = copy.segments.get(&entry.id) else { continue };
                files.push(growing_numbers(self.disk, self.root, name, entry, &copied.segment)?);
            }
            if let Some(zones) = manifest.zones {
                let Some(table) = pool.zones().map(|table| table.to_csv()) else { return Ok(None) };
                if ZonesEntry::of(zones.id, table.as_bytes()) != zones {
                    // It was just replaced.
                    return Ok(None);
                }
                let relative = format!("pools/{name}/{}", zones.file_name());
                files.push(file_copy::whole(self.disk, self.root, relative, table.as_bytes())?);
            }
            let content = manifest.content().map_err(at(&dir))?;
            let relative = format!("pools/{name}/{MANIFEST_FILE}");
            all.append(&mut files);
            all.push(file_copy::whole(self.disk, self.root, relative, content.as_bytes())?);
            let merged: BTreeSet<SegmentId> =
                manifest.merges().flat_map(|(_, sources)| sources).copied().collect();
            let counted = copy.segments.iter().filter(|(id, _)| !merged.contains(id));
            copy.numbers = counted.map(|(_, copied)| u64::from(copied.segment.set.len())).sum();
            self.disk.sync_directory(&dir).map_err(at(&dir))?;
        }
        Ok(Some(all))
    }
}

/// Writes the numbers of a segment that grows as they are now. The journal's copy has an end by now, so it has
/// no record of a number that is added later.
fn growing_numbers(
    disk: &dyn Disk,
    root: &Path,
    pool: &str,
    entry: &SegmentEntry,
    segment: &Segment,
) -> Result<FileEntry, BackupError> {
    let numbers: Vec<_> = coordinates::each(&segment.ranks()).map(|rank| segment.set.select(rank)).collect();
    let content = growing_file::content(entry.id, entry.capacity, &numbers);
    file_copy::whole(disk, root, format!("pools/{pool}/{:04}.growing", entry.id), &content)
}

/// Fails if copied numbers do not match the manifest: the backup could not be opened.
fn check_sets(pool: &Pool, manifest: &Manifest, files: &[FileEntry]) -> Result<(), BackupError> {
    for entry in manifest.segments.iter().filter(|entry| entry.capacity == 0) {
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
