//! Creating and deleting pools. One rename of its directory makes a pool appear or disappear.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use crate::coordinates::{Rank, SegmentId};
use crate::domain::counts::Counts;
use crate::domain::settings::{PoolName, Settings};
use crate::engine::operations::import::{ImportError, ImportReport, NumberSource, Numbers, open_new_segment};
use crate::engine::operations::imported_states::word;
use crate::state::block::BLOCK_WORDS;
use crate::state::number_state::State;
use crate::store::manifest::{FIRST_ROUND, Manifest};
use crate::store::pool_dir::{HIDDEN_PREFIX, SegmentPaths};
use crate::store::segment_writer::make_segment_of;
use crate::store::staging::{self, Staging, random_id};
use crate::store::table::TableFile;
use crate::store::totals_file::PoolTotals;
use crate::sys::parallel;

use super::budgets::Budgets;
use super::pool::Pool;
use super::pool_error::DeleteError;
use super::pool_mode::Mode;
use super::registry::Engine;
use super::segment::{Segment, Segments};
use super::shared::Shared;

/// Maximum pools of one daemon.
pub const MAX_POOLS: usize = 10_000;
/// Minimum words that a thread counts.
const MIN_COUNTED_WORDS: u32 = 1 << 20;

impl Engine {
    /// Creates a pool from a source of numbers, and from their states if it is an exported CSV. The pool is not
    /// visible until it is complete.
    pub fn create_pool(
        &self,
        name: &PoolName,
        settings: Settings,
        source: NumberSource<'_>,
    ) -> Result<ImportReport, ImportError> {
        self.refuse_existing(name)?;
        self.shared.lists.check(&settings)?;
        self.shared.journal.check()?;
        self.check_space()?;
        Budgets::check_descriptors()?;
        let staging = Staging::new(&self.shared.disk, &self.shared.staging_dir)?;
        let numbers = Numbers::read(source.with_states(self.now()), &self.shared)?;
        let loaded = numbers.loaded();
        let reserved = self.shared.budgets.reserve(loaded.numbers)?;
        make_pool(&staging, settings, &numbers)?;
        drop(numbers);
        let dir = self.dirs.pools.join(name.as_str());
        let disk = &*self.shared.fail_stop_disk;
        // Opened before the rename: what is done can then be undone without another descriptor.
        let pools = disk.open_directory(&self.dirs.pools)?;
        let _created = self.reserve(name)?;
        disk.rename(staging.path(), &dir)?;
        let opened = disk
            .sync_opened(&pools, &self.dirs.pools)
            .map_err(ImportError::from)
            .and_then(|()| open_new_pool(name.clone(), dir.clone(), &self.shared))
            .map(Arc::new)
            // Nobody leases from it yet.
            .and_then(|pool| Ok(pool.use_lists(&pool.settings.load_full()).map(|()| pool)?));
        match opened {
            Ok(pool) => {
                let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
                reserved.keep(loaded.numbers, &pool.account);
                self.change_pools(|pools| pools.insert(name.to_string(), pool))
            }
            Err(error) => {
                // Durably: a pool that was refused must not come back.
                let undone = disk.rename(&dir, staging.path());
                if let Err(error) = undone.and_then(|()| disk.sync_opened(&pools, &self.dirs.pools)) {
                    self.shared.journal.poison("a refused pool could not be removed", &error);
                }
                return Err(error);
            }
        };
        Ok(loaded)
    }

    /// Keeps others from creating a pool of this name, until the result is dropped.
    fn reserve(&self, name: &PoolName) -> Result<Reserved<'_>, ImportError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.refuse_existing(name)?;
        let mut creating = self.creating.lock().unwrap_or_else(PoisonError::into_inner);
        if !creating.insert(name.to_string()) {
            return Err(ImportError::PoolExists(name.clone()));
        }
        Ok(Reserved { engine: self, name: name.to_string() })
    }

    fn refuse_existing(&self, name: &PoolName) -> Result<(), ImportError> {
        let pools = self.pools.load();
        if pools.contains_key(name.as_str()) {
            return Err(ImportError::PoolExists(name.clone()));
        }
        if pools.len() >= MAX_POOLS {
            return Err(ImportError::TooManyPools(pools.len()));
        }
        Ok(())
    }

    /// Deletes a pool and its files. Refused while any of its numbers are leased, unless `force`.
    pub fn delete_pool(&self, name: &str, force: bool) -> Result<(), DeleteError> {
        self.shared.journal.check()?;
        let disk = &*self.shared.fail_stop_disk;
        // A rename also works on a full disk. The next start removes hidden directories that are left.
        let hidden = self.dirs.pools.join(format!("{HIDDEN_PREFIX}{:016x}", staging::random_id()?));
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let pool = self.pool(name).ok_or_else(|| DeleteError::NotFound(name.to_owned()))?;
        // Opened before the rename: once a checkpoint leaves the pool out, the deletion must be durable.
        let pools_dir = disk.open_directory(&self.dirs.pools)?;
        pool.delete(force, || disk.rename(&pool.dir, &hidden))?;
        self.change_pools(|pools| pools.remove(name));
        self.shared.budgets.close(&pool.account);
        disk.sync_opened(&pools_dir, &self.dirs.pools)?;
        // The pool is deleted. The next start removes what cannot be removed now.
        let _ = disk.remove_directory(&hidden);
        Ok(())
    }
}

impl Pool {
    /// Deletes the pool by `remove`, which moves its directory away. Refused while any of its numbers is leased,
    /// unless `force`. A refusal changes nothing.
    fn delete(&self, force: bool, remove: impl FnOnce() -> std::io::Result<()>) -> Result<(), DeleteError> {
        let manifest = self.manifest.lock().unwrap_or_else(PoisonError::into_inner);
        if self.mode() == Mode::Deleted {
            return Err(DeleteError::NotFound(self.name.to_string()));
        }
        // Before the words are read: see `Pool::confirm_open`.
        self.set_mode(Mode::Deleting);
        let leased = if force { 0 } else { self.count_leased() };
        let deleted =
            if leased > 0 { Err(DeleteError::InUse(leased)) } else { remove().map_err(DeleteError::from) };
        let before = if manifest.paused { Mode::Paused } else { Mode::Open };
        self.set_mode(if deleted.is_ok() { Mode::Deleted } else { before });
        self.waiting.wake_all();
        deleted
    }

    /// How many words say that their number is leased. Reads all of them.
    fn count_leased(&self) -> u64 {
        let of = |segment: &Arc<Segment>| {
            let parts = parallel::parts(segment.set.len(), MIN_COUNTED_WORDS, BLOCK_WORDS);
            let leased = |rank: &u32| segment.word(Rank(*rank)).state() == State::Leased;
            parallel::for_each(parts, |ranks| ranks.filter(leased).count() as u64).into_iter().sum::<u64>()
        };
        self.segments.load().visible().map(|(_, segment)| of(segment)).sum()
    }
}

/// The name of a pool that is being created.
struct Reserved<'a> {
    engine: &'a Engine,
    name: String,
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        self.engine.creating.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}

/// Builds the complete directory of a new pool, ready to be moved into place.
pub(crate) fn make_pool(staging: &Staging, settings: Settings, numbers: &Numbers) -> Result<(), ImportError> {
    let disk = &*staging.disk;
    let words = numbers.states().map(|states| states.iter().map(|row| word(row, FIRST_ROUND)));
    let write_set = |path: &Path| numbers.write_set(disk, path);
    let entry = make_segment_of(disk, staging.path(), SegmentId(1), write_set, words)?;
    if settings.holders {
        TableFile::create(disk, &SegmentPaths::of(staging.path(), &entry).holders, entry.words())?;
    }
    Manifest::new(random_id()?, settings, vec![entry]).write(disk, staging.path())?;
    Ok(())
}

/// Opens a new pool.
pub(crate) fn open_new_pool(name: PoolName, dir: PathBuf, shared: &Arc<Shared>) -> Result<Pool, ImportError> {
    let manifest = Manifest::read(&dir).map_err(|error| ImportError::Io(io::Error::other(error)))?;
    let (mut counts, mut list) = (Counts::default(), Vec::new());
    for entry in &manifest.segments {
        let (segment, found) = open_new_segment(shared, &dir, entry, manifest.settings.holders)?;
        counts.merge(found);
        list.push(Arc::new(segment));
    }
    let pool = Pool::new(
        name,
        dir,
        Arc::clone(shared),
        manifest,
        Segments::new(list),
        counts,
        &PoolTotals::default(),
    );
    if pool.settings().holders {
        pool.holders.begin();
    }
    Ok(pool)
}
