//! Opening a data directory: opens its files, replays the journal over them, then rebuilds the derived data.

mod activate;
pub mod config;
pub(crate) mod given_up;
pub(crate) mod opened_pools;
mod prefault;
mod replay;

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::disk::device::Disk;
use crate::disk::mapping::Sharing;
use crate::engine::background::merger::start_merger;
use crate::engine::background::recorder::start_recorder;
use crate::engine::background::sweeper::start_sweeper;
use crate::engine::checkpoint::checkpoint;
use crate::engine::events::catch_up::{self, Recovering};
use crate::engine::events::thread::EventThread;
use crate::engine::waiting::waking::WakingThread;
use crate::journal::durability::Durability;
use crate::journal::handle::Journal;
use crate::journal::on_damage::OnDamage;
use crate::journal::recovery::{self, RecoveryError};
use crate::journal::running::{Callbacks, JournalConfig, MIN_FILE_BYTES, Running};
use crate::replication::member_file::MEMBER_FILE;
use crate::store::data_dir::{self, CONTENTS_FILE, STAGING_DIR};
use crate::store::data_dir_lock::lock_directory;
use crate::store::fail_stop_disk::FailStopDisk;
use crate::store::open_error::OpenError;
use crate::store::totals_file::TotalsFile;
use crate::store::{holders_file, idempotency_file, pool_dir, secret};
use crate::sys::background::BackgroundThread;
use crate::sys::sync::Mutex;

use super::budgets::Budgets;
use super::clock::Clock;
use super::idempotency::Keys;
use super::idempotency::entry::{KeyEntry, StoredLease};
use super::lists::Lists;
use super::lists::files::OpenedLists;
use super::open_report::OpenReport;
use super::pool::{Pool, Pools};
use super::registry::{Directories, Engine};
use super::shared::{MAX_WORKERS, OWN_SLOTS, Operator, Shared};
use config::{EngineConfig, Membership};
use opened_pools::OpenedPools;

/// Creates the directories and removes unfinished work.
fn prepare(config: &EngineConfig) -> io::Result<PathBuf> {
    let (disk, data_dir) = (&*config.disk, &config.data_dir);
    let staging_dir = data_dir.join(STAGING_DIR);
    match disk.remove_directory(&staging_dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    for dir in [&staging_dir, &data_dir::pools_dir(data_dir), &data_dir::journal_dir(data_dir)] {
        disk.create_directories(dir)?;
    }
    // Even if they exist: the process that created them may have been killed before its sync.
    disk.sync_directory(data_dir)?;
    pool_dir::remove_hidden(disk, &data_dir::pools_dir(data_dir))?;
    if data_dir::lists_dir(data_dir).is_dir() {
        pool_dir::remove_hidden(disk, &data_dir::lists_dir(data_dir))?;
    }
    Ok(staging_dir)
}

impl Engine {
    /// Locks the data directory, recovers it, opens every pool and starts the background threads.
    pub fn open(config: &EngineConfig) -> Result<Arc<Self>, OpenError> {
        let slots = config.workers.min(MAX_WORKERS) + OWN_SLOTS;
        let journal = Arc::new(Journal::new(slots, config.durability));
        let fail_stop_disk: Arc<dyn Disk> =
            Arc::new(FailStopDisk::new(Arc::clone(&config.disk), Arc::clone(&journal)));
        let (data_dir, disk) = (&config.data_dir, &config.disk);
        refuse_others(config)?;
        let lock = lock_directory(&**disk, data_dir)?;
        let in_dir = |error| OpenError::Io(data_dir.clone(), error);
        let staging_dir = prepare(config).map_err(in_dir)?;
        let secret = secret::secret(&**disk, data_dir)?;
        let (totals_file, kept_totals) = TotalsFile::open(Arc::clone(disk), data_dir);
        // With `none` words are not journaled: only a shared mapping survives the process.
        let sharing = if config.durability == Durability::None { Sharing::Shared } else { Sharing::Private };
        let mut report = OpenReport::default();
        recovery::read_ahead(&data_dir::journal_dir(data_dir));
        // The words stay open on it.
        let words_config = EngineConfig { disk: Arc::clone(&fail_stop_disk), ..config.clone() };
        let mut lists = OpenedLists::open(&data_dir::lists_dir(data_dir))?;
        let mut raw = OpenedPools::open(&words_config, &data_dir::pools_dir(data_dir), sharing)?;
        let journaled = recovery::scan(&data_dir::journal_dir(data_dir), config.on_damage())?;
        raw.take_holder_records(&holders_file::read(&holders_file::path_in(data_dir))?);
        raw.take_key_records(&idempotency_file::read(&idempotency_file::path_in(data_dir))?);
        prefault::prefault(&raw, &journaled);
        raw.apply(&journaled, &mut report);
        lists.take(&raw.take_list_records());
        report.journal = journaled.recovered().clone();
        if let Some(damage) = raw.missing_journal(&data_dir::journal_dir(data_dir), &report.journal) {
            if config.on_damage() == OnDamage::Refuse {
                return Err(RecoveryError::Damaged(damage).into());
            }
            report.journal.damage.push(damage);
        }
        let last = report.journal.last.as_ref().map(|(frame, boot_id)| (frame, boot_id));
        let clock = Arc::new(Clock::resume(Arc::clone(&config.clocks), last, config.accept_clock)?);
        let keep = config.events_keep.filter(|_| config.durability != Durability::None);
        let events = keep.map(|keep| {
            let dir = data_dir::events_dir(data_dir);
            let recovering = Recovering { journaled: &journaled, pools: &raw, totals: &kept_totals };
            Arc::new(catch_up::open(disk, &dir, keep, &clock, &recovering))
        });
        drop(journaled);
        // The manifest that names the latest files may still be to come from the log.
        let keeps_strays = matches!(config.membership, Membership::Following);
        let shared = Arc::new(Shared {
            clock: Arc::clone(&clock),
            journal: Arc::clone(&journal),
            disk: Arc::clone(disk),
            fail_stop_disk,
            keys: Keys::new(&secret, config.journal_file_bytes.max(MIN_FILE_BYTES)),
            sharing,
            secret,
            slots,
            operator: Operator::default(),
            merging: Mutex::default(),
            announcements: Arc::default(),
            events,
            lists: Lists::new(
                data_dir::lists_dir(data_dir),
                lists.activate(&**disk, clock.now(), keeps_strays)?,
            ),
            budgets: Budgets::new(config.max_numbers, &staging_dir, config.journal_file_bytes),
            growing_numbers: config.growing_numbers.clamp(1, u16::MAX.into()),
            staging_dir,
        });
        raw.begin_epochs(config, &report.journal)?;
        let keys = raw.take_keys();
        let pools = raw.activate(&shared, config, &kept_totals, &mut report)?;
        for pool in pools.values() {
            shared.budgets.count(pool.counts().numbers, &pool.account);
        }
        let by_id: HashMap<u64, &Arc<Pool>> = pools.values().map(|pool| (pool.id(), pool)).collect();
        let follows = matches!(config.membership, Membership::Following);
        if follows {
            shared.keys.keep_parts(&keys);
        }
        // The words of a standby's leases may still be to come from the log.
        let is_known =
            |pool, lease: &StoredLease| follows || by_id.get(&pool).is_some_and(|pool| pool.knows(lease));
        let live_until = |entry: &KeyEntry| by_id.get(&entry.pool()?)?.live_until(entry);
        shared.keys.restore(keys, clock.now(), is_known, live_until);
        let pools = Arc::new(ArcSwap::from_pointee(pools));
        let journal_dir = data_dir::journal_dir(data_dir);
        let running = start_journal(config, &shared, &pools, &report)?;
        let start = |events| EventThread::start(events, &journal, &pools, &journal_dir, &report.journal);
        let event_thread = shared.events.as_ref().map(start).transpose().map_err(in_dir)?;
        let announcements = Arc::clone(&shared.announcements);
        journal.on_refusal(move || announcements.refuse_all());
        let waking = WakingThread::start(&shared.announcements, &pools).map_err(in_dir)?;
        let background = start_background(config, &shared, &pools, totals_file).map_err(in_dir)?;
        let dirs = Directories {
            data: data_dir.clone(),
            pools: data_dir::pools_dir(data_dir),
            backups: config.backup_dir.clone(),
            max_backups: config.max_backups,
        };
        Ok(Arc::new(Self::new(
            dirs,
            shared,
            pools,
            running,
            (background, waking, event_thread),
            lock,
            report,
        )))
    }
}

/// Refuses a directory that is no data directory of this daemon alone.
fn refuse_others(config: &EngineConfig) -> Result<(), OpenError> {
    let data_dir = &config.data_dir;
    if data_dir.join(CONTENTS_FILE).exists() {
        return Err(OpenError::Backup(data_dir.clone()));
    }
    if matches!(config.membership, Membership::Single) && data_dir.join(MEMBER_FILE).exists() {
        return Err(OpenError::Member(data_dir.clone()));
    }
    Ok(())
}

/// Starts the threads that change pools by themselves. What a standby has changes only by the log.
fn start_background(
    config: &EngineConfig,
    shared: &Arc<Shared>,
    pools: &Arc<ArcSwap<Pools>>,
    totals_file: TotalsFile,
) -> io::Result<Vec<BackgroundThread>> {
    if matches!(config.membership, Membership::Following) {
        return Ok(Vec::new());
    }
    Ok(vec![start_sweeper(shared, pools)?, start_merger(pools)?, start_recorder(totals_file, pools)?])
}

/// Starts the journal. The pools must be in place: a checkpoint may begin immediately.
fn start_journal(
    config: &EngineConfig,
    shared: &Arc<Shared>,
    pools: &Arc<ArcSwap<Pools>>,
    report: &OpenReport,
) -> Result<Running, OpenError> {
    let journal_config = JournalConfig {
        dir: data_dir::journal_dir(&config.data_dir),
        durability: config.durability,
        file_bytes: config.journal_file_bytes,
        boot_id: shared.clock.boot_id(),
        disk: Arc::clone(&config.disk),
        replica: match &config.membership {
            Membership::Leading(replica) => Some(Arc::clone(replica)),
            Membership::Single | Membership::Following => None,
        },
    };
    let (time, seconds) = (Arc::clone(&shared.clock), Arc::clone(&shared.clock));
    let (carrier, checkpointed) = (Arc::clone(shared), Arc::clone(pools));
    let data_dir = config.data_dir.clone();
    let callbacks = Callbacks {
        time: Box::new(move || time.frame_time()),
        checkpoint: Box::new(move |rest| {
            checkpoint(&carrier, &checkpointed.load(), &data_dir, rest)?;
            if let Some(events) = &carrier.events {
                events.wait_covered(&carrier.journal);
            }
            Ok(())
        }),
        now_seconds: Box::new(move || seconds.now().seconds().into()),
    };
    Ok(Running::start(&shared.journal, journal_config, &report.journal, callbacks)?)
}
