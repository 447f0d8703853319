//! Opening a data directory: its files, then what the journal adds to them, then what is derived.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};

use arc_swap::ArcSwap;

use crate::disk::{self, Disk, Sharing};
use crate::journal::frame::FrameHead;
use crate::journal::record::{Record, WordRecord};
use crate::journal::recovery::{self, Damage, Recovered, RecoveryError};
use crate::journal::{Callbacks, Durability, Journal, JournalConfig, Running, StartError};
use crate::state::time::Timestamp;

use super::clock::{Clock, Clocks, SystemClocks};
use super::counters::Counts;
use super::directory::{Engine, MAX_WORKERS, OPERATOR_SLOT, OWN_SLOTS, Pools, SWEEPER_SLOT, seed};
use super::layout::{self, lock_directory, pool_dirs};
use super::load::STAGING_DIR;
use super::manifest::{MANIFEST_FILE, Manifest, ManifestError};
use super::order::Worker;
use super::plausible::Plausible;
use super::pool::{Pool, Shared};
use super::segment::{OnDamage, RawSegment, SegmentError, SegmentPaths, Segments};
use super::settings::PoolName;
use super::sweep;
use super::watched::WatchedDisk;

/// Length of a journal file unless told otherwise.
pub const DEFAULT_JOURNAL_FILE_BYTES: u64 = 128 << 20;
const NANOS_A_SECOND: u64 = 1_000_000_000;

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
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// The clocks.
    pub clocks: Arc<dyn Clocks>,
}

impl EngineConfig {
    /// A directory for so many threads, on the machine's disk and clocks, every reply durable.
    pub fn new(data_dir: impl Into<PathBuf>, workers: usize) -> Self {
        Self {
            data_dir: data_dir.into(),
            workers,
            durability: Durability::Sync,
            journal_file_bytes: DEFAULT_JOURNAL_FILE_BYTES,
            recover_damaged: false,
            disk: disk::real(),
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
    /// A file or directory cannot be used.
    #[error("{0}: {1}")]
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
                "; pool {pool} is paused: leases that were lost with the journal may be live; resume it when the                  longest of them have ended"
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

/// A pool whose files are open.
pub(crate) struct RawPool {
    name: PoolName,
    dir: PathBuf,
    manifest: Manifest,
    segments: Vec<RawSegment>,
    /// The largest generation in the journal, by segment.
    journaled: Vec<u32>,
}

impl RawPool {
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn round(&self) -> u32 {
        self.manifest.round
    }

    /// The segments, and the largest generation of each in the journal.
    pub(crate) fn segments(&self) -> impl Iterator<Item = (&RawSegment, u32)> {
        self.segments.iter().zip(self.journaled.iter().copied())
    }
}

/// The pools on their way from the files to use.
#[derive(Default)]
pub(crate) struct RawPools {
    pools: Vec<RawPool>,
    /// By pool id and segment id: the places in `pools` and its `segments`.
    places: HashMap<(u64, u16), (usize, usize)>,
    /// The place looked up last, which is nearly always the next one too.
    last: Option<((u64, u16), (usize, usize))>,
}

impl RawPools {
    fn open(config: &EngineConfig, pools_dir: &Path, sharing: Sharing) -> Result<Self, OpenError> {
        let mut raw = Self::default();
        let dirs = pool_dirs(pools_dir).map_err(|error| OpenError::Io(pools_dir.to_owned(), error))?;
        for (name, dir) in dirs {
            let manifest = Manifest::read(&dir)?;
            raw.open_pool(config, name, dir, manifest, sharing)?;
        }
        Ok(raw)
    }

    /// Opens the files of one pool.
    pub(crate) fn open_pool(
        &mut self,
        config: &EngineConfig,
        name: PoolName,
        dir: PathBuf,
        manifest: Manifest,
        sharing: Sharing,
    ) -> Result<(), SegmentError> {
        let open = |entry| RawSegment::open(&config.disk, &dir, entry, sharing, config.on_damage());
        let segments = manifest.segments.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        for (index, entry) in manifest.segments.iter().enumerate() {
            self.places.insert((manifest.pool_id(), entry.id as u16), (self.pools.len(), index));
        }
        let journaled = vec![0; segments.len()];
        self.pools.push(RawPool { name, dir, manifest, segments, journaled });
        Ok(())
    }

    fn apply(&mut self, frame: &FrameHead, record: &WordRecord, report: &mut OpenReport) {
        let key = (record.pool, record.segment);
        let place = match self.last {
            Some((last, place)) if last == key => place,
            _ => {
                let Some(place) = self.places.get(&key) else {
                    report.records_of_deleted_pools += 1;
                    return;
                };
                *place
            }
        };
        self.last = Some((key, place));
        let pool = &mut self.pools[place.0];
        let written_at = Timestamp::new(u32::try_from(frame.time_nanos / NANOS_A_SECOND).unwrap_or(u32::MAX));
        let plausible = Plausible::new(written_at, pool.manifest.round);
        match pool.segments[place.1].apply(record.rank, record.word, plausible) {
            Some(changed) => {
                let journaled = &mut pool.journaled[place.1];
                *journaled = record.word.generation().max(*journaled);
                report.words_changed += u64::from(changed);
            }
            None => report.records_refused += 1,
        }
    }

    /// Takes a record of the journal.
    pub(crate) fn apply_record(&mut self, frame: &FrameHead, record: &Record, report: &mut OpenReport) {
        match record {
            Record::Word(record) => self.apply(frame, record, report),
            Record::Key(_) | Record::KeyLease(_) => {}
        }
    }

    /// A pool is made while the journal runs, which never is without a file.
    pub(crate) fn missing_journal(&self, dir: &Path, recovered: &Recovered) -> Option<Damage> {
        let missing = recovered.files.is_empty() && !self.pools.is_empty();
        let what = "it has no journal file, but there are pools".to_owned();
        missing.then(|| Damage { path: dir.to_owned(), offset: 0, what })
    }

    /// The pools.
    pub(crate) fn pools(&self) -> &[RawPool] {
        &self.pools
    }

    /// Pauses all pools: what seems available may have been leased in a part of the journal that is lost.
    fn pause(&mut self, disk: &dyn Disk, report: &mut OpenReport) -> Result<(), OpenError> {
        for raw in &mut self.pools {
            raw.manifest.paused = true;
            let written = raw.manifest.write(disk, &raw.dir);
            written.map_err(|error| OpenError::Io(raw.dir.clone(), error))?;
            report.paused.push(raw.name.clone());
        }
        Ok(())
    }

    /// The pools in use.
    fn begin(
        mut self,
        shared: &Arc<Shared>,
        config: &EngineConfig,
        report: &mut OpenReport,
    ) -> Result<Pools, OpenError> {
        // Nothing on the disk changes before all of it is known to be sound, or is given up.
        for raw in &self.pools {
            let plausible = Plausible::new(shared.clock.now(), raw.manifest.round);
            let (mut given_up, mut repaired) = (0, 0);
            for (segment, journaled) in raw.segments() {
                let settled = segment.settle(&raw.dir, plausible, journaled, config.on_damage())?;
                given_up += settled.given_up;
                repaired += settled.repaired;
                report.checksums_renewed.extend(segment.sums_damage().map(ToString::to_string));
            }
            if given_up > 0 {
                report.given_up.push((raw.name.clone(), given_up));
            }
            if repaired > 0 {
                report.repaired.push((raw.name.clone(), repaired));
            }
        }
        if !report.journal.damage.is_empty() {
            self.pause(&*config.disk, report)?;
        }
        let mut pools = Pools::new();
        for raw in self.pools {
            let (mut counts, mut list) = (Counts::default(), Vec::new());
            for segment in raw.segments {
                let begun = segment.begin(shared.slots);
                let (segment, found) = begun.map_err(|error| OpenError::Io(raw.dir.clone(), error))?;
                counts.merge(found);
                list.push(Arc::new(segment));
            }
            remove_strays(&*config.disk, &raw.dir, &raw.manifest)
                .map_err(|error| OpenError::Io(raw.dir.clone(), error))?;
            let name = raw.name.to_string();
            let segments = Segments::new(list);
            let pool = Pool::new(raw.name, raw.dir, shared.clone(), raw.manifest, segments, counts);
            pool.finish_round();
            pools.insert(name, Arc::new(pool));
        }
        Ok(pools)
    }
}

/// Removes files of segments that were being added when the daemon ended.
fn remove_strays(disk: &dyn Disk, dir: &Path, manifest: &Manifest) -> io::Result<()> {
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
    fn on_damage(&self) -> OnDamage {
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

fn read_journal(config: &EngineConfig, raw: &mut RawPools, report: &mut OpenReport) -> Result<(), OpenError> {
    let on_damage = match config.on_damage() {
        OnDamage::Refuse => recovery::OnDamage::Refuse,
        OnDamage::GiveUp => recovery::OnDamage::PassOver,
    };
    let dir = layout::journal_dir(&config.data_dir);
    report.journal = recovery::read(&dir, on_damage, &mut |frame, record| {
        raw.apply_record(frame, record, report);
    })?;
    if let Some(damage) = raw.missing_journal(&dir, &report.journal) {
        if config.on_damage() == OnDamage::Refuse {
            return Err(RecoveryError::Damaged(damage).into());
        }
        report.journal.damage.push(damage);
    }
    Ok(())
}

impl Engine {
    /// Locks the data directory, recovers it, opens every pool and begins to sweep.
    pub fn open(config: &EngineConfig) -> Result<Arc<Self>, OpenError> {
        let slots = config.workers.min(MAX_WORKERS) + OWN_SLOTS;
        let journal = Arc::new(Journal::new(slots, config.durability));
        let watched = WatchedDisk::new(Arc::clone(&config.disk), Arc::clone(&journal));
        let config = &EngineConfig { disk: Arc::new(watched), ..config.clone() };
        let (data_dir, disk) = (&config.data_dir, &config.disk);
        let lock = lock_directory(&**disk, data_dir)?;
        let in_dir = |error| OpenError::Io(data_dir.clone(), error);
        let staging_dir = prepare(config).map_err(in_dir)?;
        let secret = layout::secret(&**disk, &data_dir.join("secret"))?;
        // With `none` the tables alone survive the process: what is written to them is the system's at once.
        let sharing = if config.durability == Durability::None { Sharing::Shared } else { Sharing::Private };
        let mut report = OpenReport::default();
        let mut raw = RawPools::open(config, &layout::pools_dir(data_dir), sharing)?;
        read_journal(config, &mut raw, &mut report)?;
        let last = report.journal.last.as_ref().map(|(frame, boot_id)| (frame, boot_id));
        let clock = Arc::new(Clock::resume(Arc::clone(&config.clocks), last));
        let operator = Worker::new(OPERATOR_SLOT, seed().map_err(OpenError::Random)?, Arc::clone(&journal));
        let shared = Arc::new(Shared {
            clock: Arc::clone(&clock),
            journal: Arc::clone(&journal),
            disk: Arc::clone(disk),
            sharing,
            secret,
            slots,
            operator: Mutex::new(operator),
            staging_dir,
        });
        let pools = raw.begin(&shared, config, &mut report)?;
        let pools = Arc::new(ArcSwap::from_pointee(pools));
        let running = start_journal(config, &shared, &pools, &report)?;
        let (stop, stopped) = mpsc::sync_channel(0);
        let swept = pools.clone();
        let sweeper = std::thread::Builder::new()
            .name("allotd-sweeper".to_owned())
            .spawn(move || sweep::run(SWEEPER_SLOT, || swept.load().values().cloned().collect(), &stopped))
            .map_err(in_dir)?;
        Ok(Arc::new(Self::new(
            layout::pools_dir(data_dir),
            shared,
            pools,
            running,
            (stop, sweeper),
            lock,
            report,
        )))
    }
}

/// Starts the journal after the pools are in their place: a checkpoint may begin at once.
fn start_journal(
    config: &EngineConfig,
    shared: &Arc<Shared>,
    pools: &Arc<ArcSwap<BTreeMap<String, Arc<Pool>>>>,
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
    let checkpointed = Arc::clone(pools);
    let callbacks = Callbacks {
        time: Box::new(move || time.frame_time()),
        carried: Box::new(|_| {}),
        checkpoint: Box::new(move || checkpointed.load().values().try_for_each(|pool| pool.checkpoint())),
        now_seconds: Box::new(move || seconds.now().seconds().into()),
    };
    Ok(Running::start(&shared.journal, journal_config, &report.journal, callbacks)?)
}
