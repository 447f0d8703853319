//! The data directory and all its pools.
//!
//! ```text
//! data/
//!   LOCK                     held by the one daemon that uses the directory; names the format
//!   secret                   key of the tokens (mode 0600)
//!   staging/                 files in the making; emptied at each start
//!   pools/ru/pool.toml       settings and the list of segments, replaced atomically
//!   pools/ru/0001.numbers    portable 64-bit Roaring, immutable, CRC in pool.toml
//!   pools/ru/0001.words      one little-endian u64 a number
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use rand::TryRng;
use rand::rngs::SysRng;

use crate::disk::{self, DirectoryLock};
use crate::state::mutations::Slot;
use crate::state::time::Timestamp;

use super::clock::Clock;
use super::counters::Counts;
use super::load::{self, LoadError, Loaded, NumberSource, Numbers, STAGING_DIR, Staging};
use super::manifest::{Manifest, ManifestError};
use super::order::Worker;
use super::pool::{Mode, Pool, Shared};
use super::segment::{Segment, SegmentError, Segments};
use super::settings::{PoolName, Settings};
use super::sweep;
use super::token::SECRET_BYTES;

/// Most pools of one daemon.
pub const MAX_POOLS: usize = 10_000;
/// Most threads that call the engine.
pub const MAX_WORKERS: usize = 1_024;
/// What `LOCK` says in a directory of this version.
const FORMAT_LINE: &[u8] = b"allotd data directory, format 1\n";
/// `LOCK` is never longer.
const MAX_LOCK_BYTES: u64 = 4_096;
/// Slots of threads that the engine has of its own: the operators' and the sweeper's.
const OWN_SLOTS: usize = 2;
/// The directory of a pool that was deleted begins with this, which no pool's name does.
const HIDDEN_PREFIX: &str = ".deleted-";
const OPERATOR_SLOT: Slot = Slot(0);
const SWEEPER_SLOT: Slot = Slot(1);

/// How an engine is opened.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// The data directory; created if it is not there.
    pub data_dir: PathBuf,
    /// How many threads will take a [`Worker`], at most [`MAX_WORKERS`].
    pub workers: usize,
}

/// Why a data directory cannot be used. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process uses it.
    #[error("{0} is in use by another allotd: stop that one, or give another --data directory")]
    Locked(PathBuf),
    /// It is of another version.
    #[error(
        "{0} is not a data directory of this version of allotd: use the version that wrote it, or give an empty directory"
    )]
    OtherVersion(PathBuf),
    /// It has things in it, but not those of a data directory.
    #[error(
        "{0} is not empty and not a data directory of allotd: give an empty directory or one that does not exist"
    )]
    NotADataDirectory(PathBuf),
    /// There is no data directory to look at.
    #[error("{0} is not a data directory of allotd: give the --data directory of a daemon")]
    NoDataDirectory(PathBuf),
    /// A file is where the directory should be.
    #[error(
        "{0} cannot be a directory, a file is in the way: give a directory, or a path where one can be made"
    )]
    NotADirectory(PathBuf),
    /// A file or directory cannot be used.
    #[error("{0} cannot be used: {1}. Check its permissions and its disk, or give another --data directory")]
    Io(PathBuf, #[source] io::Error),
    /// The secret is not one.
    #[error(
        "{0} is damaged: it must have {SECRET_BYTES} bytes; restore it from a backup, or remove it, and all tokens given out become stale"
    )]
    Secret(PathBuf),
    /// A pool's manifest is wrong.
    #[error("{0}; `allotd check` tells all that is wrong")]
    Manifest(#[from] ManifestError),
    /// A pool's files are wrong.
    #[error("{0}; `allotd check` tells all that is wrong")]
    Segment(#[from] SegmentError),
    /// No random numbers to be had.
    #[error("the system gives no random numbers: {0}")]
    Random(io::Error),
}

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
}

type Pools = BTreeMap<String, Arc<Pool>>;

/// All pools of one data directory.
pub struct Engine {
    pools_dir: PathBuf,
    shared: Arc<Shared>,
    pools: Arc<ArcSwap<Pools>>,
    /// Held while the map of pools changes.
    changing: Mutex<()>,
    next_slot: Mutex<usize>,
    sweeper: Mutex<Option<(SyncSender<()>, JoinHandle<()>)>>,
    _lock: DirectoryLock,
}

impl Engine {
    /// Locks the data directory, opens every pool and begins to sweep.
    pub fn open(config: &EngineConfig) -> Result<Arc<Self>, OpenError> {
        let data_dir = &config.data_dir;
        let lock = lock_directory(data_dir)?;
        let in_dir = |error| OpenError::Io(data_dir.clone(), error);
        let staging_dir = data_dir.join(STAGING_DIR);
        match fs::remove_dir_all(&staging_dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(in_dir(error)),
            _ => {}
        }
        fs::create_dir_all(&staging_dir).map_err(in_dir)?;
        let pools_dir = data_dir.join("pools");
        fs::create_dir_all(&pools_dir).map_err(in_dir)?;
        remove_hidden(&pools_dir).map_err(in_dir)?;
        let slots = config.workers.min(MAX_WORKERS) + OWN_SLOTS;
        let shared = Arc::new(Shared {
            clock: Clock::start(),
            secret: secret(&data_dir.join("secret"))?,
            slots,
            operator: Mutex::new(Worker::new(OPERATOR_SLOT, seed().map_err(OpenError::Random)?)),
            staging_dir,
        });
        let mut pools = Pools::new();
        for (name, dir) in pool_dirs(&pools_dir).map_err(in_dir)? {
            let pool = open_pool(name.clone(), dir, shared.clone())?;
            pools.insert(name.to_string(), Arc::new(pool));
        }
        let pools = Arc::new(ArcSwap::from_pointee(pools));
        let (stop, stopped) = mpsc::sync_channel(0);
        let swept = pools.clone();
        let sweeper = std::thread::Builder::new()
            .name("allotd-sweeper".to_owned())
            .spawn(move || sweep::run(SWEEPER_SLOT, || swept.load().values().cloned().collect(), &stopped))
            .map_err(in_dir)?;
        Ok(Arc::new(Self {
            pools_dir,
            shared,
            pools,
            changing: Mutex::new(()),
            next_slot: Mutex::new(OWN_SLOTS),
            sweeper: Mutex::new(Some((stop, sweeper))),
            _lock: lock,
        }))
    }

    /// The handle of one more calling thread.
    ///
    /// # Panics
    ///
    /// If more are taken than [`EngineConfig::workers`], or the system gives no random numbers.
    pub fn worker(&self) -> Worker {
        let mut next = self.next_slot.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(*next < self.shared.slots, "more workers than the engine was opened for");
        *next += 1;
        Worker::new(Slot(*next - 1), seed().expect("random numbers, as at the start"))
    }

    /// The clock that all pools go by.
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
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
        let staging = Staging::new(&self.shared.staging_dir)?;
        let numbers = Numbers::read(source, &self.shared.staging_dir)?;
        load::make_pool(&staging, settings, &numbers)?;
        let loaded = numbers.loaded();
        drop(numbers);
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.refuse_existing(name)?;
        let dir = self.pools_dir.join(name.as_str());
        fs::rename(staging.path(), &dir)?;
        let opened = disk::sync_directory(&self.pools_dir)
            .map_err(LoadError::from)
            .and_then(|()| open_pool(name.clone(), dir.clone(), self.shared.clone()).map_err(open_to_load));
        match opened {
            Ok(pool) => self.change_pools(|pools| pools.insert(name.to_string(), Arc::new(pool))),
            Err(error) => {
                let _ = fs::rename(&dir, staging.path());
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
        // Hidden by a rename first, which works on a full disk too; the next start removes what is left.
        let hidden = self.pools_dir.join(format!("{HIDDEN_PREFIX}{name}"));
        if let Err(error) = fs::rename(&pool.dir, &hidden) {
            pool.set_mode(mode);
            return Err(error.into());
        }
        self.change_pools(|pools| pools.remove(name));
        disk::sync_directory(&self.pools_dir)?;
        fs::remove_dir_all(&hidden)?;
        Ok(())
    }

    /// Stops the sweep and writes all words to the disk. The engine must not be used after this.
    pub fn close(&self) -> io::Result<()> {
        self.stop_sweeper();
        self.pools().iter().try_for_each(|pool| pool.flush())
    }

    fn stop_sweeper(&self) {
        let sweeper = self.sweeper.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((stop, thread)) = sweeper {
            drop(stop);
            // A sweeper that panicked has said so; there is nothing left to stop.
            let _ = thread.join();
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop_sweeper();
    }
}

fn seed() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    SysRng.try_fill_bytes(&mut seed).map_err(io::Error::other)?;
    Ok(seed)
}

fn open_to_load(error: OpenError) -> LoadError {
    match error {
        OpenError::Segment(error) => LoadError::Segment(error),
        other => LoadError::Io(io::Error::other(other)),
    }
}

/// Takes the lock of a data directory, making it one if it is empty.
pub(crate) fn lock_directory(data_dir: &Path) -> Result<DirectoryLock, OpenError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |error| OpenError::Io(path, error)
    };
    fs::create_dir_all(data_dir).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
            OpenError::NotADirectory(data_dir.to_owned())
        }
        _ => OpenError::Io(data_dir.to_owned(), error),
    })?;
    let path = data_dir.join("LOCK");
    if !path.exists() && fs::read_dir(data_dir).map_err(io(data_dir))?.next().is_some() {
        return Err(OpenError::NotADataDirectory(data_dir.to_owned()));
    }
    let lock = DirectoryLock::take(path.clone()).map_err(io(&path))?;
    let lock = lock.ok_or_else(|| OpenError::Locked(data_dir.to_owned()))?;
    match disk::read_small_file(&path, MAX_LOCK_BYTES).map_err(io(&path))?.as_slice() {
        FORMAT_LINE => {}
        [] => fs::write(&path, FORMAT_LINE).map_err(io(&path))?,
        _ => return Err(OpenError::OtherVersion(data_dir.to_owned())),
    }
    Ok(lock)
}

/// Reads the secret, or makes one in a new directory.
fn secret(path: &Path) -> Result<[u8; SECRET_BYTES], OpenError> {
    let io = |error| OpenError::Io(path.to_owned(), error);
    match fs::read(path) {
        Ok(content) => content.try_into().map_err(|_| OpenError::Secret(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut secret = [0; SECRET_BYTES];
            SysRng.try_fill_bytes(&mut secret).map_err(|e| OpenError::Random(io::Error::other(e)))?;
            let new = path.with_extension("new");
            let options = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).clone();
            let mut file = options.open(&new).map_err(io)?;
            file.write_all(&secret).and_then(|()| file.sync_all()).map_err(io)?;
            fs::rename(&new, path).and_then(|()| disk::sync_parent(path)).map_err(io)?;
            Ok(secret)
        }
        Err(error) => Err(io(error)),
    }
}

fn remove_hidden(pools_dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(pools_dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(HIDDEN_PREFIX) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// The names and directories of all pools.
pub(crate) fn pool_dirs(pools_dir: &Path) -> io::Result<Vec<(PoolName, PathBuf)>> {
    let mut dirs = Vec::new();
    for entry in fs::read_dir(pools_dir)? {
        let entry = entry?;
        if let Some(name) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
            dirs.push((name, entry.path()));
        }
    }
    dirs.sort();
    Ok(dirs)
}

fn open_pool(name: PoolName, dir: PathBuf, shared: Arc<Shared>) -> Result<Pool, OpenError> {
    let manifest = Manifest::read(&dir)?;
    manifest.remove_leftovers(&dir).map_err(|error| OpenError::Io(dir.clone(), error))?;
    let mut counts = Counts::default();
    let mut list = Vec::with_capacity(manifest.segments.len());
    for entry in &manifest.segments {
        let (segment, found) = Segment::open(&dir, entry.id, entry.numbers, shared.slots)?;
        counts.merge(found);
        list.push(Arc::new(segment));
    }
    let pool = Pool::new(name, dir, shared, manifest, Segments::new(list), counts);
    pool.finish_round();
    Ok(pool)
}
