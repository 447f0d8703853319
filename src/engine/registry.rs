//! The engine of one data directory: its pools, and the handles of its threads.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use arc_swap::ArcSwap;

use crate::disk::directory_lock::DirectoryLock;
use crate::disk::space::{self, DiskSpace};
use crate::journal::handle::Journal;
use crate::journal::running::Running;
use crate::state::time::Timestamp;
use crate::store::staging::StagedFile;
use crate::sys::background::BackgroundThread;
use crate::sys::lock::Lock;
use crate::sys::random;
use crate::sys::slot::Slot;
use crate::sys::sync::Mutex;

use super::clock::Clock;
use super::events::Events;
use super::events::thread::EventThread;
use super::open_report::OpenReport;
use super::operations::import_error::ImportError;
use super::pool::{Pool, Pools};
use super::shared::{OWN_SLOTS, Shared};
use super::waiting::waking::WakingThread;
use super::worker::Worker;

/// The directories of an engine.
pub(crate) struct Directories {
    pub(crate) data: PathBuf,
    pub(crate) pools: PathBuf,
    pub(crate) backups: PathBuf,
    /// How many backups there may be.
    pub(crate) max_backups: Option<u64>,
}

/// All pools of one data directory.
pub struct Engine {
    pub(crate) dirs: Directories,
    pub(crate) shared: Arc<Shared>,
    pub(crate) pools: Arc<ArcSwap<Pools>>,
    pub(crate) journal: Running,
    report: OpenReport,
    /// Held while the map of pools changes.
    pub(crate) changing: Lock<()>,
    /// The names of pools that are being created.
    pub(crate) creating: Mutex<BTreeSet<String>>,
    next_slot: Mutex<usize>,
    background: Vec<BackgroundThread>,
    waking: WakingThread,
    event_thread: Option<EventThread>,
    _lock: DirectoryLock,
}

impl Engine {
    pub(crate) fn new(
        dirs: Directories,
        shared: Arc<Shared>,
        pools: Arc<ArcSwap<Pools>>,
        journal: Running,
        (background, waking, event_thread): (Vec<BackgroundThread>, WakingThread, Option<EventThread>),
        lock: DirectoryLock,
        report: OpenReport,
    ) -> Self {
        Self {
            dirs,
            shared,
            pools,
            journal,
            report,
            changing: Lock::new(()),
            creating: Mutex::default(),
            next_slot: Mutex::new(OWN_SLOTS),
            background,
            waking,
            event_thread,
            _lock: lock,
        }
    }

    /// The report of opening the directory.
    pub fn report(&self) -> &OpenReport {
        &self.report
    }

    /// The journal.
    pub fn journal(&self) -> &Arc<Journal> {
        self.journal.journal()
    }

    /// Creates the handle of another calling thread.
    ///
    /// # Panics
    ///
    /// If more handles are taken than [`crate::engine::startup::config::EngineConfig::workers`], or if the
    /// system returns no random numbers.
    pub fn worker(&self) -> Worker {
        let mut next = self.next_slot.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(*next < self.shared.slots, "more workers than the engine was opened for");
        *next += 1;
        let seed = seed().expect("random numbers, as at the start");
        Worker::new(Slot(*next - 1), seed, Arc::clone(&self.shared.journal))
    }

    /// The data directory.
    pub fn data_dir(&self) -> &Path {
        &self.dirs.data
    }

    /// The clock that all pools use.
    pub fn clock(&self) -> &Arc<Clock> {
        &self.shared.clock
    }

    /// The space of the data directory's file system, if the system reports it.
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

    /// How many pools there are.
    pub fn pool_count(&self) -> usize {
        self.pools.load().len()
    }

    /// Checks that the disk has space for what is about to be added.
    pub(crate) fn check_space(&self) -> Result<(), ImportError> {
        Ok(self.shared.budgets.check_space()?)
    }

    /// A new file for what arrives from a client.
    pub(crate) fn staged_file(&self) -> io::Result<StagedFile> {
        StagedFile::new(&self.shared.disk, &self.shared.staging_dir)
    }

    /// Has every call that waits search once more, as when the daemon ends.
    pub fn wake_waiters(&self) {
        self.pools.load().values().for_each(|pool| pool.waiting.wake_all());
        if let Some(events) = &self.shared.events {
            events.drain();
        }
    }

    pub(crate) fn change_pools<T>(&self, change: impl FnOnce(&mut Pools) -> T) -> T {
        let mut pools = Pools::clone(&self.pools.load());
        let changed = change(&mut pools);
        self.pools.store(Arc::new(pools));
        changed
    }

    /// Stops the sweeper, the merger and the recorder, writes all words to their tables, and marks the journal as cleanly
    /// closed. The engine must not be used after this.
    pub fn close(&self) -> io::Result<()> {
        self.stop_background();
        let closed = self.journal.close();
        self.stop_events();
        closed?;
        self.pools().iter().try_for_each(|pool| pool.close())
    }

    /// The changes that are kept; `None` if none are.
    pub fn events(&self) -> Option<&Arc<Events>> {
        self.shared.events.as_ref()
    }

    fn stop_events(&self) {
        if let Some(thread) = &self.event_thread {
            thread.stop();
        }
    }

    /// Stops the sweeper, the merger and the recorder, which saves the totals a last time.
    fn stop_background(&self) {
        self.background.iter().for_each(BackgroundThread::stop);
        self.waking.stop();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop_background();
        self.journal.abandon();
        self.stop_events();
    }
}

/// Random bytes from the system.
pub(crate) fn seed() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    random::fill(&mut seed)?;
    Ok(seed)
}
