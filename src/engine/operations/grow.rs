//! Adding few numbers to a pool: they gather in a segment that grows. And the publishing of every new segment.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock, PoisonError};

use crate::coordinates::{self, Rank, SegmentId};
use crate::domain::counts::Counts;
use crate::engine::budgets::Budgets;
use crate::engine::growth::FewNumbers;
use crate::engine::pool::Pool;
use crate::engine::pool_error::ChangeError;
use crate::engine::pool_mode::Mode;
use crate::engine::segment::holders::OpenedHolders;
use crate::engine::segment::opened_files::{Columns, OpenedSegment};
use crate::engine::segment::{Segment, Segments};
use crate::journal::on_damage::OnDamage;
use crate::numbers::number::Number;
use crate::numbers::set::run::LastRun;
use crate::store::manifest::SegmentEntry;
use crate::store::pool_dir::SegmentPaths;
use crate::store::segment_writer::make_growing_segment;
use crate::store::staging::Staging;
use crate::store::table::word_checksums::Layout;
use crate::sys::sync::MutexGuard;

use super::import_error::ImportError;

/// An addition of more than one in this many of the numbers that a segment that grows has room for makes a
/// sorted segment of its own, so that little room is wasted at its end.
const APPENDED_SHARE: u32 = 4;

/// The id of a segment in the staging directory.
pub(crate) const STAGED: SegmentId = SegmentId(1);

impl Pool {
    /// Most numbers of an addition to a segment that grows.
    pub(crate) fn max_appended(&self) -> u64 {
        u64::from(self.shared.growing_numbers / APPENDED_SHARE)
    }

    /// Waits for other additions, and keeps them waiting.
    pub(crate) fn begin_addition(&self) -> Result<MutexGuard<'_, ()>, ImportError> {
        let adding = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        if self.mode() == Mode::Deleted { Err(ImportError::Deleted) } else { Ok(adding) }
    }

    /// Adds those of at most [`Self::max_appended`] numbers that the pool does not have. Returns how many.
    /// Additions that wait for the same one before them are made together, with one sync.
    pub(crate) fn add_few(&self, numbers: Vec<Number>) -> Result<u64, ImportError> {
        let own = Arc::new(FewNumbers { numbers, added: OnceLock::new() });
        self.growth.waiting().push(Arc::clone(&own));
        // Ends after the lock: it waits for the journal.
        let _bulk = self.shared.begin_bulk();
        let _adding = self.begin_addition()?;
        if let Some(added) = own.added.get() {
            return Ok(*added);
        }
        let segments = self.segments.load_full();
        let (mut new, mut added) = (Vec::new(), Vec::new());
        let mut last = LastRun::default();
        // The others are tried again by their own threads if this fails.
        let batch = self.growth.take_waiting(&own, self.max_appended());
        for addition in &batch {
            let before = new.len();
            for number in &addition.numbers {
                if segments.locate(*number, &mut last).is_none() && !new.contains(number) {
                    new.push(*number);
                }
            }
            added.push((new.len() - before) as u64);
        }
        if !new.is_empty() {
            self.append(&new)?;
        }
        for (addition, added) in batch.iter().zip(added) {
            let _ = addition.added.set(added);
        }
        Ok(own.added.get().copied().unwrap_or(0))
    }

    /// Adds numbers that the pool does not have, at most [`Self::max_appended`]. Call it during an addition.
    fn append(&self, new: &[Number]) -> Result<(), ImportError> {
        self.shared.journal.check()?;
        let mut active = self.growth.active();
        let segment = match active.take().filter(|segment| segment.room() as usize >= new.len()) {
            Some(segment) => segment,
            None => self.begin_growing_segment()?,
        };
        let Some((set, file)) = segment.set.as_growing() else { return Ok(()) };
        let first = set.len();
        // If this fails nothing is added, and the segment is not used again: what is in its file is unknown.
        file.append(first, new)?;
        *active = Some(Arc::clone(&segment));
        if self.mode() == Mode::Deleted {
            return Err(ImportError::Deleted);
        }
        let count = new.len() as u64;
        for number in new {
            set.push(Some(*number));
        }
        let ranks = Rank(first)..Rank(first + new.len() as u32);
        self.tell_added(&segment, ranks.clone(), false);
        // They are found by their numbers from here on, so a list that has one blocks it now or has blocked it.
        self.refresh_ranks(&segment, coordinates::each(&ranks), true);
        self.shared.operate(|slot| {
            let _changing = self.shared.journal.change(slot);
            self.counters.found(slot, Counts { numbers: count, available: count, ..Counts::default() });
            coordinates::each(&ranks).for_each(|rank| segment.state.free.put(rank, slot));
        });
        self.segments.rcu(|segments| segments.renewed());
        self.waiting.some_available();
        Ok(())
    }

    /// Adds an empty segment that grows.
    fn begin_growing_segment(&self) -> Result<Arc<Segment>, ImportError> {
        Budgets::check_descriptors()?;
        let staging = Staging::new(&self.shared.disk, &self.shared.staging_dir)?;
        let capacity = self.shared.growing_numbers;
        let entry = make_growing_segment(&*self.shared.disk, staging.path(), STAGED, capacity)?;
        let activate = |raw: OpenedSegment| Ok(raw.activate(self.shared.slots)?.0);
        let add = |segments: &Segments, segment: &Arc<Segment>| segments.with_segment(Arc::clone(segment));
        self.publish(&staging, &entry, activate, add)
    }

    /// Moves the files of a new segment into place, names it in the manifest, and starts to use it in the list
    /// that `list` makes. All of it happens under the manifest's lock, so the pool is not deleted meanwhile.
    pub(crate) fn publish(
        &self,
        staging: &Staging,
        staged: &SegmentEntry,
        activate: impl FnOnce(OpenedSegment) -> io::Result<Segment>,
        list: impl Fn(&Segments, &Arc<Segment>) -> Segments,
    ) -> Result<Arc<Segment>, ImportError> {
        let (mut placed, mut opened) = (None, None);
        let published = self.change_manifest(
            |manifest| -> Result<(), ImportError> {
                let id = self.growth.next_id(manifest, self.shared.journal.checkpoints());
                let id = id.ok_or_else(|| io::Error::other("all ids of segments are in use"))?;
                let entry = SegmentEntry { id, ..staged.clone() };
                placed = Some(SegmentPaths::of(&self.dir, &entry));
                // Not only if the setting says so: leases of the time before may have holders.
                let has_holders = manifest.settings.holders || self.holders.have_columns();
                if has_holders {
                    let paths = SegmentPaths::of(&self.dir, &entry);
                    let disk = &self.shared.fail_stop_disk;
                    let sharing = self.shared.sharing;
                    OpenedHolders::create(staging, disk, &paths.holders, entry.words(), sharing)?;
                }
                self.place(staging, staged, &entry)?;
                let raw = self.open_segment(&entry, has_holders)?;
                opened = Some(Arc::new(activate(raw)?));
                manifest.insert_segment(entry);
                Ok(())
            },
            |_| (),
        );
        match (published, opened) {
            (Ok(()), Some(segment)) => {
                let publish = || self.segments.rcu(|segments| list(segments, &segment));
                if !segment.merging.is_target() {
                    self.tell_added(&segment, segment.ranks(), true);
                }
                self.block_incoming(&segment, publish);
                if let Some(events) = &self.shared.events {
                    events.has_come(self.id, segment.id);
                }
                self.waiting.some_available();
                Ok(segment)
            }
            (Ok(()), None) => Err(ImportError::Deleted),
            (Err(error), _) => {
                // If the manifest may name them, the journal is poisoned, and the next start decides.
                if let Some(placed) = placed.filter(|_| !self.shared.journal.is_poisoned()) {
                    let remove = |path: &PathBuf| drop(self.shared.disk.remove_file(path));
                    // Under the manifest's lock: the directory may be another pool's by now.
                    let _ = self.change_manifest(
                        |_| -> Result<(), ChangeError> {
                            placed.all().into_iter().chain(placed.of_holders()).for_each(remove);
                            Ok(())
                        },
                        |_| (),
                    );
                }
                Err(error)
            }
        }
    }

    /// Moves staged files into the pool's directory.
    fn place(&self, staging: &Staging, staged: &SegmentEntry, entry: &SegmentEntry) -> io::Result<()> {
        let disk = &*self.shared.fail_stop_disk;
        let (from, to) = (SegmentPaths::of(staging.path(), staged), SegmentPaths::of(&self.dir, entry));
        for (from, to) in from.all().into_iter().zip(to.all()) {
            disk.rename(from, to)?;
        }
        disk.sync_directory(&self.dir)
    }

    fn open_segment(&self, entry: &SegmentEntry, has_holders: bool) -> Result<OpenedSegment, ImportError> {
        let shared = &self.shared;
        Ok(OpenedSegment::open(
            &shared.fail_stop_disk,
            &self.dir,
            entry,
            shared.sharing,
            OnDamage::Refuse,
            Columns { layout: Layout::WithAttempts, has_holders },
        )?)
    }
}
