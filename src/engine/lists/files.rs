//! Lists and their files: opening at a start, the checkpoint, and the exchange of a set.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use crate::disk::device::Disk;
use crate::disk::files;
use crate::disk::paced::Pacer;
use crate::domain::list_name::ListName;
use crate::engine::shared::Shared;
use crate::journal::on_damage::OnDamage;
use crate::journal::record::ListRecord;
use crate::numbers::number::NumberRange;
use crate::numbers::set::writer::WriteError;
use crate::state::time::Timestamp;
use crate::store::list_files::{self, ListFileError, ListManifest, MAX_CHANGES, SetEntry};
use crate::store::manifest::Manifest;
use crate::store::segment_writer::write_ranges;
use crate::store::staging::Staging;
use crate::sys::sync::MutexGuard;

use super::list::{List, Snapshot};
use super::{Lists, NoSuchList};

/// The name of a set in the staging directory.
const STAGED_SET: &str = "set";

/// Lists whose files are open, before the journal's changes are known.
#[derive(Default)]
pub(crate) struct OpenedLists {
    lists: Vec<(ListName, PathBuf, ListManifest)>,
    /// The changes of each list, by its id.
    records: HashMap<u64, Vec<ListRecord>>,
    /// The last change of each list that its files have.
    written: HashMap<u64, u64>,
    /// The lists of which the journal has later changes.
    journaled: HashSet<u64>,
}

impl OpenedLists {
    /// Opens the files of all lists.
    pub(crate) fn open(lists_dir: &Path) -> Result<Self, ListFileError> {
        let in_dir = |error| ListFileError::Io(lists_dir.to_owned(), error);
        let mut opened = Self::default();
        for (name, dir) in list_files::list_dirs(lists_dir).map_err(in_dir)? {
            let manifest = ListManifest::read(&dir)?;
            let records = list_files::read_changes(&dir, manifest.id())?;
            let last = records.iter().map(|record| record.sequence).max().unwrap_or_default();
            opened.written.insert(manifest.id(), last.max(manifest.folded));
            opened.records.insert(manifest.id(), records);
            opened.lists.push((name, dir, manifest));
        }
        Ok(opened)
    }

    /// Takes changes from the journal. Those of lists that were deleted are ignored.
    pub(crate) fn take(&mut self, records: &[ListRecord]) {
        for record in records {
            if let Some(of_list) = self.records.get_mut(&record.list) {
                of_list.push(*record);
                if self.written.get(&record.list).is_none_or(|written| record.sequence > *written) {
                    self.journaled.insert(record.list);
                }
            }
        }
    }

    /// The lists, ready for use.
    pub(crate) fn activate(
        self,
        disk: &dyn Disk,
        now: Timestamp,
        keeps_strays: bool,
    ) -> Result<Vec<Arc<List>>, ListFileError> {
        let mut lists = Vec::new();
        // The journal does not say when.
        let journaled = self.journaled.clone();
        for (list, manifest) in self.read()? {
            let written_at = list_files::written_at(&list.dir).and_then(Timestamp::of);
            let known = written_at.filter(|_| !journaled.contains(&list.id));
            list.set_changed_at(known.map_or(now, |written_at| written_at.min(now)));
            if !keeps_strays {
                list_files::remove_strays(disk, &list.dir, &manifest)
                    .map_err(|error| ListFileError::Io(list.dir.clone(), error))?;
            }
            lists.push(Arc::new(list));
        }
        Ok(lists)
    }

    /// The lists and their manifests. Writes nothing.
    pub(crate) fn read(mut self) -> Result<Vec<(List, ListManifest)>, ListFileError> {
        let mut lists = Vec::new();
        for (name, dir, manifest) in self.lists {
            let set = manifest.numbers.map(|entry| list_files::open_set(&dir, &entry)).transpose()?;
            let records = self.records.remove(&manifest.id()).unwrap_or_default();
            // What is in the journal only is written again by the next checkpoint.
            lists.push((List::new(name, dir, manifest.clone(), set, records, 0), manifest));
        }
        Ok(lists)
    }
}

impl Lists {
    /// Refuses a pool that names a list which does not exist, or pauses it and forgets the list if damage is given
    /// up. Returns whether it is paused for that.
    pub(crate) fn drop_missing(
        &self,
        manifest: &mut Manifest,
        pool: &str,
        on_damage: OnDamage,
    ) -> Result<bool, ListFileError> {
        let Err(NoSuchList(list)) = self.check(&manifest.settings) else { return Ok(false) };
        if on_damage == OnDamage::Refuse {
            return Err(ListFileError::Missing { pool: pool.to_owned(), list, lists: self.dir.clone() });
        }
        let exists = |list: &ListName| self.get(*list).is_ok();
        manifest.settings.blocked_by.retain(exists);
        manifest.settings.outcomes.retain(|_, then| then.list().is_none_or(|list| exists(&list)));
        manifest
            .settings
            .attempts
            .take_if(|attempts| attempts.then.list().is_some_and(|list| !exists(&list)));
        manifest.set_paused(true, None);
        Ok(true)
    }

    /// Makes all changes so far durable in the files of the lists.
    pub(crate) fn checkpoint(&self, shared: &Shared, pacer: &Pacer<'_>) -> io::Result<()> {
        self.all().iter().try_for_each(|list| list.checkpoint(shared, pacer))
    }
}

impl List {
    /// Writes the files of a new list into a staging directory.
    pub(super) fn create(
        shared: &Shared,
        staging: &Staging,
        id: u64,
        ranges: impl Iterator<Item = NumberRange>,
    ) -> Result<ListManifest, WriteError> {
        let entry = stage(&*shared.disk, &list_files::set_path(staging.path(), 1), 1, ranges)?;
        let manifest = ListManifest::new(id, 0, entry);
        manifest.write(&*shared.disk, staging.path())?;
        Ok(manifest)
    }

    /// Opens a list that [`Self::create`] has made.
    pub(super) fn open_new(
        name: ListName,
        dir: PathBuf,
        manifest: ListManifest,
    ) -> Result<Self, ListFileError> {
        let set = manifest.numbers.map(|entry| list_files::open_set(&dir, &entry)).transpose()?;
        Ok(Self::new(name, dir, manifest, set, Vec::new(), 0))
    }

    /// Writes `ranges` as the set of this list: what it held in `before`, or something else instead. Changes that
    /// were made since then are kept. The caller holds `exchanging`.
    pub(super) fn write_set(
        &self,
        shared: &Shared,
        before: &Snapshot,
        ranges: impl Iterator<Item = NumberRange>,
    ) -> Result<(), WriteError> {
        let staging = Staging::new(&shared.disk, &shared.staging_dir)?;
        let staged = staging.path().join(STAGED_SET);
        let file = before.manifest.numbers.map_or(0, |entry| entry.file) + 1;
        let entry = stage(&*shared.disk, &staged, file, ranges)?;
        // From here on a failure leaves it open which set the disk has, and ends the daemon.
        let disk = &*shared.fail_stop_disk;
        if entry.is_some() {
            disk.rename(&staged, &list_files::set_path(&self.dir, file))?;
            disk.sync_directory(&self.dir)?;
        }
        let manifest = ListManifest::new(self.id, before.sequence, entry);
        let set = entry.map(|entry| list_files::open_set(&self.dir, &entry)).transpose();
        let set = set.map_err(io::Error::other)?;
        manifest.write(disk, &self.dir)?;
        if let Some(old) = self.exchange(manifest, set) {
            // The next start removes what cannot be removed now. Whoever still reads it has it mapped.
            let _ = shared.disk.remove_file(&list_files::set_path(&self.dir, old.file));
        }
        Ok(())
    }

    /// Makes all changes so far durable in the list's files.
    pub(super) fn checkpoint(&self, shared: &Shared, pacer: &Pacer<'_>) -> io::Result<()> {
        if self.changes() > MAX_CHANGES
            && let Ok(_exchanging) = self.exchanging.try_lock()
            && !self.is_deleted()
        {
            let before = self.snapshot();
            match self.write_set(shared, &before, before.ranges()) {
                // The changes are still to be forgotten on the disk, but that can wait.
                Ok(()) => self.written(before.sequence),
                Err(WriteError::Io(error)) if !files::is_shortage(&error) => return Err(error),
                // Smaller files may still find space.
                Err(_) => {}
            }
        }
        let deleted = self.deleted.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((records, sequence)) = self.unwritten().filter(|_| !*deleted) else { return Ok(()) };
        list_files::write_changes(&*shared.fail_stop_disk, &self.dir, self.id, &records, pacer)?;
        self.written(sequence);
        Ok(())
    }

    /// Whether it was deleted.
    pub(super) fn is_deleted(&self) -> bool {
        *self.deleted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for an exchange, and keeps others waiting.
    pub(super) fn begin_exchange(&self) -> MutexGuard<'_, ()> {
        self.exchanging.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes a set that is not in use yet. Nothing remains of an empty one.
fn stage(
    disk: &dyn Disk,
    path: &Path,
    file: u32,
    ranges: impl Iterator<Item = NumberRange>,
) -> Result<Option<SetEntry>, WriteError> {
    let written = write_ranges(disk, path, ranges)?;
    let entry = SetEntry::of(file, &written);
    if entry.is_none() {
        disk.remove_file(path)?;
    }
    Ok(entry)
}
