//! The files of the journal: neither a slow backup nor a long checkpoint keeps leases from being recorded while
//! there are files for them.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use allotd::backup::error::BackupError;
use allotd::disk::device::{Disk, RealDisk};
use allotd::domain::settings::{NextState, Settings};
use allotd::engine::operations::import::NumberSource;
use allotd::engine::operations::lease::LeaseRequest;
use allotd::engine::operations::lease_ref::LeaseRef;
use allotd::engine::operations::return_leases::ReturnItem;
use allotd::engine::{Engine, EngineConfig, Worker};
use allotd::journal::on_damage::OnDamage;
use allotd::journal::{MAX_FILES, MIN_FILE_BYTES, recovery};
use allotd::numbers::number::{Number, NumberRange};

const NUMBERS: u64 = 2_000;
/// No commit may take longer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of a record in the journal, at least.
const RECORD_BYTES: u64 = 32;

/// A disk whose writes to some files wait.
#[derive(Debug)]
struct GatedDisk {
    /// A part of their paths.
    gated: &'static str,
    is_closed: AtomicBool,
    has_waited: AtomicBool,
}

impl GatedDisk {
    fn new(gated: &'static str) -> Arc<Self> {
        Arc::new(Self { gated, is_closed: AtomicBool::new(false), has_waited: AtomicBool::new(false) })
    }

    fn set_closed(&self, is_closed: bool) {
        self.is_closed.store(is_closed, Ordering::SeqCst);
    }
}

impl Disk for GatedDisk {
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        let path = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
        while path.to_string_lossy().contains(self.gated) && self.is_closed.load(Ordering::SeqCst) {
            self.has_waited.store(true, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(1));
        }
        RealDisk.write_at(file, bytes, offset)
    }
}

fn open(dir: &Path, disk: &Arc<GatedDisk>) -> Arc<Engine> {
    let config =
        EngineConfig { journal_file_bytes: MIN_FILE_BYTES, disk: disk.clone(), ..EngineConfig::new(dir, 1) };
    let engine = Engine::open(&config).unwrap();
    let range = NumberRange::new(Number::new(1).unwrap(), Number::new(NUMBERS).unwrap()).unwrap();
    let source = [range];
    engine.create_pool(&"p".parse().unwrap(), Settings::default(), NumberSource::Ranges(&source)).unwrap();
    engine
}

/// Leases and returns all numbers, and waits until that is committed. Returns how many records it made.
fn churn(engine: &Engine, worker: &mut Worker) -> u64 {
    let (pool, mut leases) = (engine.pool("p").unwrap(), Vec::new());
    let request = LeaseRequest { count: NUMBERS as u32, ttl_seconds: None, within: None };
    pool.lease(worker, &request, &mut leases).unwrap();
    let items: Vec<_> = leases
        .iter()
        .map(|lease| ReturnItem {
            lease: LeaseRef { number: lease.number, token: Some(lease.token) },
            then: NextState::Available,
            outcome: None,
        })
        .collect();
    pool.return_leases(worker, &items, &mut Vec::new()).unwrap();
    let (journal, position) = (engine.journal(), worker.observed_position());
    journal.wake_for(worker.slot());
    let began = Instant::now();
    while !journal.is_committed(worker.slot(), position) {
        assert!(began.elapsed() < PATIENCE, "leases wait");
        std::thread::sleep(Duration::from_micros(50));
    }
    2 * NUMBERS
}

/// Opens the gate when it is dropped, so that a test that fails ends.
struct OpenAtEnd<'a>(&'a GatedDisk);

impl Drop for OpenAtEnd<'_> {
    fn drop(&mut self) {
        self.0.set_closed(false);
    }
}

#[test]
fn a_backup_that_starves_the_journal_fails_and_leases_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let disk = GatedDisk::new("backups/.unfinished-slow/journal/");
    let engine = open(dir.path(), &disk);
    let mut worker = engine.worker();
    disk.set_closed(true);
    std::thread::scope(|scope| {
        let open_at_end = OpenAtEnd(&disk);
        let backup = scope.spawn(|| engine.backup(Some(&"slow".parse().unwrap()), &|| false));
        while !disk.has_waited.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        // More than all files hold, several times over.
        let mut records = 0;
        while records * RECORD_BYTES < 3 * MAX_FILES as u64 * MIN_FILE_BYTES {
            records += churn(&engine, &mut worker);
        }
        drop(open_at_end);
        let made = backup.join().unwrap();
        assert!(matches!(made, Err(BackupError::TooSlow)), "{made:?}");
    });
    // With less load it works.
    engine.backup(Some(&"second".parse().unwrap()), &|| false).unwrap();
    engine.close().unwrap();
}

#[test]
fn all_files_serve_while_a_checkpoint_runs() {
    let dir = tempfile::tempdir().unwrap();
    let disk = GatedDisk::new(".sums");
    let engine = open(dir.path(), &disk);
    let mut worker = engine.worker();
    disk.set_closed(true);
    let open_at_end = OpenAtEnd(&disk);
    // Nearly all that the files hold; a part of each frame and the end of each file are not used.
    let mut records = 0;
    while records * RECORD_BYTES < (MAX_FILES as u64 - 1) * MIN_FILE_BYTES * 8 / 10 + MIN_FILE_BYTES / 2 {
        records += churn(&engine, &mut worker);
    }
    assert!(disk.has_waited.load(Ordering::SeqCst), "no checkpoint was under way");
    assert_eq!(engine.journal().stats().checkpoints, 0);
    drop(open_at_end);
    engine.close().unwrap();
}

#[test]
fn an_idle_journal_records_the_time_and_does_not_grow() {
    let dir = tempfile::tempdir().unwrap();
    let disk = GatedDisk::new("nothing");
    let engine = open(dir.path(), &disk);
    churn(&engine, &mut engine.worker());
    let first = engine.clock().frame_time().time_nanos;
    // More than three times are recorded.
    std::thread::sleep(Duration::from_millis(3_500));
    drop(engine);
    let journal = recovery::scan(&dir.path().join("journal"), OnDamage::Refuse).unwrap();
    let empty = journal.frames().filter(|frame| frame.head.records == 0).count();
    assert_eq!(empty, 2, "one at the beginning of the file, one at the end");
    let (last, _) = journal.recovered().last.unwrap();
    assert!(last.time_nanos >= first + 2_000_000_000, "{} after {first}", last.time_nanos);
}
