//! Opening a data directory: its files, then what the journal adds to them, then what is derived.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::{fmt, io};

use arc_swap::ArcSwap;

use crate::disk::device::Disk;
use crate::disk::mapping::Sharing;
use crate::disk::{files, paced};
use crate::engine::backup::contents::CONTENTS_FILE;
use crate::journal::durability::Durability;
use crate::journal::handle::Journal;
use crate::journal::recovery::{self, Recovered, RecoveryError};
use crate::journal::running::{Callbacks, JournalConfig, MIN_FILE_BYTES, Running, StartError};
use crate::sys::background::BackgroundThread;

use super::clock::{Clock, Clocks, SystemClocks};
use super::directory::{
    Directories, Engine, MAX_WORKERS, OPERATOR_SLOT, OWN_SLOTS, Pools, SWEEPER_SLOT, seed,
};
use super::key_file::{self, KeyFileError};
use super::keys::Keys;
use super::layout::{self, lock_directory};
use super::load::STAGING_DIR;
use super::manifest::{MANIFEST_FILE, Manifest, ManifestError};
use super::order::Worker;
use super::pool::Shared;
use super::recover::RawPools;
use super::segment::{OnDamage, SegmentError, SegmentPaths};
use super::settings::PoolName;
use super::totals_file::TotalsFile;
use super::watched::WatchedDisk;
use super::{recorder, sweep};

/// Length of a journal file unless told otherwise.
pub const DEFAULT_JOURNAL_FILE_BYTES: u64 = 128 << 20;

/// How an engine is opened.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// The data directory; created if it is not there.
    pub data_dir: PathBuf,
    /// How many threads will take a [`Worker`], at most [`MAX_WORKERS`].
    pub workers: usize,
    /// What a reply promises.
    pub durability: Durability,
    /// Length of a journal file, in bytes.
    pub journal_file_bytes: u64,
    /// Whether to open a damaged directory: the numbers whose state is lost are retired.
    pub recover_damaged: bool,
    /// Where backups are made; created with the first.
    pub backup_dir: PathBuf,
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// The clocks.
    pub clocks: Arc<dyn Clocks>,
}

impl EngineConfig {
    /// A directory for so many threads, on the machine's disk and clocks, every reply durable.
    pub fn new(data_dir: impl Into<PathBuf>, workers: usize) -> Self {
        let data_dir = data_dir.into();
        Self {
            backup_dir: data_dir.join(layout::BACKUPS_DIR),
            data_dir,
            workers,
            durability: Durability::Sync,
            journal_file_bytes: DEFAULT_JOURNAL_FILE_BYTES,
            recover_damaged: false,
            disk: files::real(),
            clocks: Arc::new(SystemClocks),
        }
    }
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
    /// It is a backup, which would be one no more.
    #[error("{0} is a backup: make a data directory of it with \"allotd restore\", and serve that")]
    Backup(PathBuf),
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
    #[error("{0} is damaged: restore it from a backup, or remove it, and all tokens given out become stale")]
    Secret(PathBuf),
    /// A pool's manifest is wrong.
    #[error("{0}; `allotd check` tells all that is wrong")]
    Manifest(#[from] ManifestError),
    /// A pool's files are wrong.
    #[error("{0}; `allotd check` tells all that is wrong")]
    Segment(#[from] SegmentError),
    /// The keys cannot be read.
    #[error(transparent)]
    Keys(#[from] KeyFileError),
    /// The journal cannot be read back.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// The journal cannot be written.
    #[error(transparent)]
    Start(#[from] StartError),
    /// No random numbers to be had.
    #[error("the system gives no random numbers: {0}")]
    Random(io::Error),
}

/// What opening found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// What was read of the journal.
    pub journal: Recovered,
    /// Records of pools that are not there any more.
    pub records_of_deleted_pools: u64,
    /// Words that the journal knew better than their tables.
    pub words_changed: u64,
    /// Records that fit nothing: not taken.
    pub records_refused: u64,
    /// Numbers whose state is lost, by pool: they are retired.
    pub given_up: Vec<(PoolName, u64)>,
    /// Numbers whose words were damaged and whose state the journal told, by pool.
    pub repaired: Vec<(PoolName, u64)>,
    /// Pools that are paused, because leases that were lost with a part of the journal may be live.
    pub paused: Vec<PoolName>,
    /// Checksums of words that were damaged and are written anew, as messages: the words are as their
    /// file and the journal say, not vouched for.
    pub checksums_renewed: Vec<String>,
}

impl OpenReport {
    /// Whether nothing was lost, repaired or taken unchecked.
    pub fn is_whole(&self) -> bool {
        let damage = [self.journal.damage.len(), self.given_up.len(), self.repaired.len(), self.paused.len()];
        damage.iter().sum::<usize>() + self.checksums_renewed.len() == 0 && self.records_refused == 0
    }
}

impl fmt::Display for OpenReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let journal = &self.journal;
        write!(
            f,
            "journal: {} files, {} frames, {} records, {}",
            journal.files.len(),
            journal.frames,
            journal.records,
            if journal.clean { "closed cleanly" } else { "not closed cleanly" }
        )?;
        if journal.cut_bytes > 0 {
            write!(f, ", {} bytes of a torn frame cut", journal.cut_bytes)?;
        }
        if self.records_of_deleted_pools > 0 {
            write!(f, ", {} records of deleted pools", self.records_of_deleted_pools)?;
        }
        if self.records_refused > 0 {
            write!(f, ", {} records that fit nothing refused", self.records_refused)?;
        }
        for damage in &journal.damage {
            write!(f, "; given up: {damage}")?;
        }
        for (pool, numbers) in &self.repaired {
            write!(f, "; repaired from the journal: the state of {numbers} numbers of pool {pool}")?;
        }
        for pool in &self.paused {
            write!(
                f,
                "; pool {pool} is paused: leases that were lost with the journal may be live; resume it when the \
                 longest of them have ended"
            )?;
        }
        for damage in &self.checksums_renewed {
            write!(f, "; given up: the checksums of words, which are taken as they are: {damage}")?;
        }
        for (pool, numbers) in &self.given_up {
            write!(f, "; given up: the state of {numbers} numbers of pool {pool}, which are retired now")?;
        }
        Ok(())
    }
}

/// Removes files of segments that were being added when the daemon ended, or when that failed.
pub(crate) fn remove_strays(disk: &dyn Disk, dir: &Path, manifest: &Manifest) -> io::Result<()> {
    let mut known = BTreeSet::from([dir.join(MANIFEST_FILE)]);
    for entry in &manifest.segments {
        known.extend(SegmentPaths::new(dir, entry.id).all().into_iter().cloned());
    }
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if is_ours(&path) && !known.contains(&path) {
            disk.remove_file(&path)?;
        }
    }
    Ok(())
}

/// Whether a file of a pool's directory is one that this program makes.
pub(crate) fn is_ours(path: &Path) -> bool {
    path.extension().is_some_and(|kind| ["numbers", "words", "sums", "new"].iter().any(|ours| kind == *ours))
}

impl EngineConfig {
    pub(crate) fn on_damage(&self) -> OnDamage {
        if self.recover_damaged { OnDamage::GiveUp } else { OnDamage::Refuse }
    }
}

/// Makes the directories, and empties those of things in the making.
fn prepare(config: &EngineConfig) -> io::Result<PathBuf> {
    let (disk, data_dir) = (&*config.disk, &config.data_dir);
    let staging_dir = data_dir.join(STAGING_DIR);
    match disk.remove_directory(&staging_dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    for dir in [&staging_dir, &layout::pools_dir(data_dir), &layout::journal_dir(data_dir)] {
        disk.create_directories(dir)?;
    }
    // Also where they were there already: who made them may have been killed before this.
    disk.sync_directory(data_dir)?;
    layout::remove_hidden(disk, &layout::pools_dir(data_dir))?;
    Ok(staging_dir)
}

impl Engine {
    /// Locks the data directory, recovers it, opens every pool and begins to sweep.
    pub fn open(config: &EngineConfig) -> Result<Arc<Self>, OpenError> {
        let slots = config.workers.min(MAX_WORKERS) + OWN_SLOTS;
        let journal = Arc::new(Journal::new(slots, config.durability));
        let watched = WatchedDisk::new(Arc::clone(&config.disk), Arc::clone(&journal));
        let config = &EngineConfig { disk: Arc::new(watched), ..config.clone() };
        let (data_dir, disk) = (&config.data_dir, &config.disk);
        if data_dir.join(CONTENTS_FILE).exists() {
            return Err(OpenError::Backup(data_dir.clone()));
        }
        let lock = lock_directory(&**disk, data_dir)?;
        let in_dir = |error| OpenError::Io(data_dir.clone(), error);
        let staging_dir = prepare(config).map_err(in_dir)?;
        let secret = layout::secret(&**disk, &data_dir.join("secret"))?;
        let (totals_file, kept_totals) = TotalsFile::open(Arc::clone(disk), data_dir);
        // With `none` the tables alone survive the process: what is written to them is the system's at once.
        let sharing = if config.durability == Durability::None { Sharing::Shared } else { Sharing::Private };
        let mut report = OpenReport::default();
        let mut raw = RawPools::open(config, &layout::pools_dir(data_dir), sharing)?;
        let on_damage = match config.on_damage() {
            OnDamage::Refuse => recovery::OnDamage::Refuse,
            OnDamage::GiveUp => recovery::OnDamage::PassOver,
        };
        let journaled = recovery::scan(&layout::journal_dir(data_dir), on_damage)?;
        raw.take_key_records(&key_file::read(&key_file::path_in(data_dir))?);
        raw.apply(&journaled, &mut report);
        report.journal = journaled.into_recovered();
        if let Some(damage) = raw.missing_journal(&layout::journal_dir(data_dir), &report.journal) {
            if config.on_damage() == OnDamage::Refuse {
                return Err(RecoveryError::Damaged(damage).into());
            }
            report.journal.damage.push(damage);
        }
        let last = report.journal.last.as_ref().map(|(frame, boot_id)| (frame, boot_id));
        let clock = Arc::new(Clock::resume(Arc::clone(&config.clocks), last));
        let operator = Worker::new(OPERATOR_SLOT, seed().map_err(OpenError::Random)?, Arc::clone(&journal));
        let shared = Arc::new(Shared {
            clock: Arc::clone(&clock),
            journal: Arc::clone(&journal),
            disk: Arc::clone(disk),
            keys: Keys::new(&secret, config.journal_file_bytes.max(MIN_FILE_BYTES)),
            sharing,
            secret,
            slots,
            operator: Mutex::new(operator),
            staging_dir,
        });
        shared.keys.restore(raw.take_keys(), clock.now());
        let pools = raw.begin(&shared, config, &kept_totals, &mut report)?;
        let pools = Arc::new(ArcSwap::from_pointee(pools));
        let running = start_journal(config, &shared, &pools, &report)?;
        let sweeper = start_sweeper(&shared, &pools).map_err(in_dir)?;
        let recorder = start_recorder(totals_file, &pools).map_err(in_dir)?;
        let dirs = Directories {
            data: data_dir.clone(),
            pools: layout::pools_dir(data_dir),
            backups: config.backup_dir.clone(),
        };
        Ok(Arc::new(Self::new(dirs, shared, pools, running, [sweeper, recorder], lock, report)))
    }
}

fn start_sweeper(shared: &Arc<Shared>, pools: &Arc<ArcSwap<Pools>>) -> io::Result<BackgroundThread> {
    let (swept, purged) = (Arc::clone(pools), Arc::clone(shared));
    BackgroundThread::start("allotd-sweeper", move |stop| {
        let pools = || {
            purged.keys.purge_some(purged.clock.now());
            swept.load().values().cloned().collect()
        };
        sweep::run(SWEEPER_SLOT, pools, stop);
    })
}

fn start_recorder(file: TotalsFile, pools: &Arc<ArcSwap<Pools>>) -> io::Result<BackgroundThread> {
    let recorded = Arc::clone(pools);
    BackgroundThread::start("allotd-recorder", move |stop| {
        recorder::run(|| recorded.load().values().cloned().collect(), &file, stop);
    })
}

/// Writes all words that changed to their tables, and the keys to their file: after this the older journal
/// files are not needed.
fn checkpoint(shared: &Shared, pools: &Pools, data_dir: &Path, rest: &paced::Rest<'_>) -> io::Result<()> {
    pools.values().try_for_each(|pool| pool.checkpoint(rest))?;
    // A key that is being used now holds its lock until its records are pushed: either it is seen here, or
    // it is used after the older files were closed.
    let keys = shared.keys.records(shared.clock.now());
    key_file::write(&*shared.disk, &key_file::path_in(data_dir), &keys)
}

/// Starts the journal after the pools are in their place: a checkpoint may begin at once.
fn start_journal(
    config: &EngineConfig,
    shared: &Arc<Shared>,
    pools: &Arc<ArcSwap<Pools>>,
    report: &OpenReport,
) -> Result<Running, OpenError> {
    let journal_config = JournalConfig {
        dir: layout::journal_dir(&config.data_dir),
        durability: config.durability,
        file_bytes: config.journal_file_bytes,
        boot_id: shared.clock.boot_id(),
        disk: Arc::clone(&config.disk),
    };
    let (time, seconds) = (Arc::clone(&shared.clock), Arc::clone(&shared.clock));
    let (carrier, checkpointed) = (Arc::clone(shared), Arc::clone(pools));
    let data_dir = config.data_dir.clone();
    let callbacks = Callbacks {
        time: Box::new(move || time.frame_time()),
        checkpoint: Box::new(move |rest| checkpoint(&carrier, &checkpointed.load(), &data_dir, rest)),
        now_seconds: Box::new(move || seconds.now().seconds().into()),
    };
    Ok(Running::start(&shared.journal, journal_config, &report.journal, callbacks)?)
}
