//! All pools of one data directory, and the threads' handles.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use rand::TryRng;
use rand::rngs::SysRng;

use crate::disk::lock::DirectoryLock;
use crate::disk::space::{self, DiskSpace};
use crate::journal::handle::{Journal, JournalError};
use crate::journal::running::Running;
use crate::state::time::Timestamp;
use crate::sys::background::BackgroundThread;
use crate::sys::slot::Slot;

use super::clock::Clock;
use super::layout::HIDDEN_PREFIX;
use super::load::{self, LoadError, Loaded, NumberSource, Numbers, Staging};
use super::open::OpenReport;
use super::order::Worker;
use super::pool::{Mode, Pool, Shared};
use super::settings::{PoolName, Settings};

/// Most pools of one daemon.
pub const MAX_POOLS: usize = 10_000;
/// Most threads that call the engine.
pub const MAX_WORKERS: usize = 1_024;
/// Slots of threads that the engine has of its own: the operators' and the sweeper's.
pub(crate) const OWN_SLOTS: usize = 2;
pub(crate) const OPERATOR_SLOT: Slot = Slot(0);
pub(crate) const SWEEPER_SLOT: Slot = Slot(1);

/// Why a pool was not deleted.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    /// No such pool.
    #[error("there is no pool \"{0}\"")]
    NotFound(String),
    /// Numbers of it are leased.
    #[error("{0} numbers of this pool are leased: wait for their return, or delete it with force=true")]
    InUse(u64),
    /// Its files could not be removed.
    #[error("the pool's files could not be removed: {0}")]
    Io(#[from] io::Error),
    /// The journal accepts no change.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

pub(crate) type Pools = BTreeMap<String, Arc<Pool>>;

/// Where an engine keeps things.
pub(crate) struct Directories {
    pub(crate) data: PathBuf,
    pub(crate) pools: PathBuf,
    pub(crate) backups: PathBuf,
}

/// All pools of one data directory.
pub struct Engine {
    pub(super) dirs: Directories,
    pub(super) shared: Arc<Shared>,
    pools: Arc<ArcSwap<Pools>>,
    pub(super) journal: Running,
    report: OpenReport,
    /// Held while the map of pools changes.
    changing: Mutex<()>,
    next_slot: Mutex<usize>,
    background: [BackgroundThread; 2],
    _lock: DirectoryLock,
}

impl Engine {
    pub(crate) fn new(
        dirs: Directories,
        shared: Arc<Shared>,
        pools: Arc<ArcSwap<Pools>>,
        journal: Running,
        background: [BackgroundThread; 2],
        lock: DirectoryLock,
        report: OpenReport,
    ) -> Self {
        Self {
            dirs,
            shared,
            pools,
            journal,
            report,
            changing: Mutex::new(()),
            next_slot: Mutex::new(OWN_SLOTS),
            background,
            _lock: lock,
        }
    }

    /// What opening the directory found.
    pub fn report(&self) -> &OpenReport {
        &self.report
    }

    /// The journal.
    pub fn journal(&self) -> &Arc<Journal> {
        self.journal.journal()
    }

    /// The handle of one more calling thread.
    ///
    /// # Panics
    ///
    /// If more are taken than [`super::open::EngineConfig::workers`], or the system gives no random numbers.
    pub fn worker(&self) -> Worker {
        let mut next = self.next_slot.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(*next < self.shared.slots, "more workers than the engine was opened for");
        *next += 1;
        let seed = seed().expect("random numbers, as at the start");
        Worker::new(Slot(*next - 1), seed, Arc::clone(&self.shared.journal))
    }

    /// The clock that all pools go by.
    pub fn clock(&self) -> &Arc<Clock> {
        &self.shared.clock
    }

    /// The room of the data directory's file system, if the system tells.
    pub fn disk_space(&self) -> Option<DiskSpace> {
        space::space_of(&self.dirs.data).ok()
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    /// A pool by its name.
    #[inline]
    pub fn pool(&self, name: &str) -> Option<Arc<Pool>> {
        self.pools.load().get(name).cloned()
    }

    /// All pools, by name.
    pub fn pools(&self) -> Vec<Arc<Pool>> {
        self.pools.load().values().cloned().collect()
    }

    /// Creates a pool from a source of numbers. Nothing of it is there until all of it is.
    pub fn create_pool(
        &self,
        name: &PoolName,
        settings: Settings,
        source: NumberSource<'_>,
    ) -> Result<Loaded, LoadError> {
        self.refuse_existing(name)?;
        self.shared.journal.check()?;
        let disk = &*self.shared.disk;
        let staging = Staging::new(&self.shared)?;
        let numbers = Numbers::read(source, &self.shared)?;
        load::make_pool(&staging, settings, &numbers)?;
        let loaded = numbers.loaded();
        drop(numbers);
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.refuse_existing(name)?;
        let dir = self.dirs.pools.join(name.as_str());
        disk.rename(staging.path(), &dir)?;
        let opened = disk
            .sync_directory(&self.dirs.pools)
            .map_err(LoadError::from)
            .and_then(|()| load::open_new_pool(name.clone(), dir.clone(), &self.shared));
        match opened {
            Ok(pool) => self.change_pools(|pools| pools.insert(name.to_string(), Arc::new(pool))),
            Err(error) => {
                let _ = disk.rename(&dir, staging.path());
                return Err(error);
            }
        };
        Ok(loaded)
    }

    fn refuse_existing(&self, name: &PoolName) -> Result<(), LoadError> {
        let pools = self.pools.load();
        if pools.contains_key(name.as_str()) {
            return Err(LoadError::PoolExists(name.clone()));
        }
        if pools.len() >= MAX_POOLS {
            return Err(LoadError::TooManyPools(pools.len()));
        }
        Ok(())
    }

    fn change_pools<T>(&self, change: impl FnOnce(&mut Pools) -> T) -> T {
        let mut pools = Pools::clone(&self.pools.load());
        let changed = change(&mut pools);
        self.pools.store(Arc::new(pools));
        changed
    }

    /// Deletes a pool and its files; refused while numbers of it are leased, unless `force`.
    pub fn delete_pool(&self, name: &str, force: bool) -> Result<(), DeleteError> {
        self.shared.journal.check()?;
        let disk = &*self.shared.disk;
        // Hidden by a rename first, which works on a full disk too; the next start removes what is left.
        let hidden = self.dirs.pools.join(format!("{HIDDEN_PREFIX}{:016x}", load::random_id()?));
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let pool = self.pool(name).ok_or_else(|| DeleteError::NotFound(name.to_owned()))?;
        let mode = pool.mode();
        // First no more leases, then the look at those there are.
        pool.set_mode(Mode::Deleted);
        let leased = pool.counts().leased;
        if leased > 0 && !force {
            pool.set_mode(mode);
            return Err(DeleteError::InUse(leased));
        }
        if let Err(error) = disk.rename(&pool.dir, &hidden) {
            pool.set_mode(mode);
            return Err(error.into());
        }
        self.change_pools(|pools| pools.remove(name));
        disk.sync_directory(&self.dirs.pools)?;
        // The pool is deleted; what cannot be removed now is removed at the next start.
        let _ = disk.remove_directory(&hidden);
        Ok(())
    }

    /// Stops the sweep and the recorder, writes all words to their tables, and says so in the journal. The engine must not
    /// be used after this.
    pub fn close(&self) -> io::Result<()> {
        self.stop_background();
        self.journal.close()?;
        self.pools().iter().try_for_each(|pool| pool.close())
    }

    /// The sweeper and the recorder, which keeps the totals a last time.
    fn stop_background(&self) {
        self.background.iter().for_each(BackgroundThread::stop);
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop_background();
        self.journal.abandon();
    }
}

/// Random bytes of the system.
pub(crate) fn seed() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    SysRng.try_fill_bytes(&mut seed).map_err(io::Error::other)?;
    Ok(seed)
}
