//! Events on a disk that fails: changes go on, what can be kept is kept, and what is lost is said to be.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use allotd::disk::device::{Disk, RealDisk};
use allotd::domain::settings::Settings;
use allotd::engine::events::reader::Reader;
use allotd::engine::operations::import::NumberSource;
use allotd::engine::operations::lease::LeaseRequest;
use allotd::engine::{Engine, EngineConfig, Pool, Worker};
use allotd::journal::MIN_FILE_BYTES;
use allotd::numbers::number::{Number, NumberRange};

const NUMBERS: u64 = 100_000;
const PATIENCE: Duration = Duration::from_secs(30);
const FULL: i32 = 28;
const BROKEN: i32 = 5;

/// The real disk; calls below `events/` can be made to fail.
#[derive(Debug, Default)]
struct EventsDisk {
    is_failing: AtomicBool,
    errno: AtomicI32,
    failed: AtomicU64,
}

impl EventsDisk {
    fn fail(&self, errno: i32) {
        self.errno.store(errno, Ordering::SeqCst);
        self.is_failing.store(true, Ordering::SeqCst);
    }

    fn heal(&self) {
        self.is_failing.store(false, Ordering::SeqCst);
    }

    fn check(&self, path: &Path) -> io::Result<()> {
        let is_events = path.components().any(|part| part.as_os_str() == "events");
        if is_events && self.is_failing.load(Ordering::SeqCst) {
            self.failed.fetch_add(1, Ordering::SeqCst);
            return Err(io::Error::from_raw_os_error(self.errno.load(Ordering::SeqCst)));
        }
        Ok(())
    }

    fn check_file(&self, file: &File) -> io::Result<()> {
        self.check(&std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap())
    }

    fn wait_until_failed(&self) {
        let (before, started) = (self.failed.load(Ordering::SeqCst), Instant::now());
        while self.failed.load(Ordering::SeqCst) == before {
            assert!(started.elapsed() < PATIENCE, "nothing is written");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Disk for EventsDisk {
    fn create(&self, path: &Path) -> io::Result<File> {
        self.check(path).and_then(|()| RealDisk.create(path))
    }

    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        if let Err(error) = self.check_file(file) {
            // What fits is written, as on a full disk.
            RealDisk.write_at(file, &bytes[..bytes.len() / 2], offset)?;
            return Err(error);
        }
        RealDisk.write_at(file, bytes, offset)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        self.check_file(file).and_then(|()| RealDisk.sync(file))
    }

    fn create_directories(&self, path: &Path) -> io::Result<()> {
        self.check(path).and_then(|()| RealDisk.create_directories(path))
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.check(path).and_then(|()| RealDisk.sync_directory(path))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.check(path).and_then(|()| RealDisk.remove_file(path))
    }
}

fn open(data: &Path, disk: &Arc<EventsDisk>, keep: &str) -> Arc<Engine> {
    let disk: Arc<dyn Disk> = Arc::clone(disk) as _;
    let config = EngineConfig {
        disk,
        journal_file_bytes: MIN_FILE_BYTES,
        events_keep: keep.parse().ok(),
        ..EngineConfig::new(data.to_owned(), 1)
    };
    Engine::open(&config).unwrap()
}

fn create(engine: &Engine) -> Arc<Pool> {
    let number = |value| Number::new(value).unwrap();
    let range = NumberRange::new(number(1), number(NUMBERS)).unwrap();
    let settings = Settings::default();
    engine.create_pool(&"ru".parse().unwrap(), settings, NumberSource::Ranges(&[range])).unwrap();
    engine.pool("ru").unwrap()
}

/// Leases in calls that are all confirmed. Returns how many numbers.
fn lease(engine: &Engine, worker: &mut Worker, pool: &Pool, calls: u64) -> u64 {
    let (mut leases, mut count) = (Vec::new(), 0);
    for _ in 0..calls {
        let request = LeaseRequest { count: 100, ttl_seconds: Some(3_600), within: None };
        pool.lease(worker, &request, &mut leases).unwrap();
        engine.settle().unwrap();
        count += leases.len() as u64;
    }
    count
}

/// Reads to the end: the events of leases. Waits until there are `count`.
fn read(engine: &Engine, pool: &Pool, from: Option<u64>, count: u64) -> Vec<(u64, u64)> {
    let (events, started) = (engine.events().unwrap(), Instant::now());
    let kept = events.kept(pool.id());
    let mut reader = Reader::new(events, pool.id(), from.unwrap_or(kept.oldest));
    let mut told = Vec::new();
    while (told.len() as u64) < count {
        assert!(started.elapsed() < PATIENCE, "{} of {count}", told.len());
        let take = &mut |event: allotd::engine::events::reader::Event<'_>| {
            told.push((event.seq, event.number.unwrap()));
            true
        };
        if !reader.read(take).unwrap() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    told
}

#[test]
fn a_disk_that_fails_for_a_while_loses_no_event_and_delays_nobody() {
    for errno in [FULL, BROKEN] {
        let dir = tempfile::tempdir().unwrap();
        let disk = Arc::new(EventsDisk::default());
        let engine = open(dir.path(), &disk, "1MiB,1h");
        let (pool, mut worker) = (create(&engine), engine.worker());
        let before = lease(&engine, &mut worker, &pool, 5);
        let first = read(&engine, &pool, None, before)[0].0;
        disk.fail(errno);
        let (started, meanwhile) = (Instant::now(), lease(&engine, &mut worker, &pool, 20));
        disk.wait_until_failed();
        assert!(started.elapsed() < PATIENCE);
        assert_eq!(read(&engine, &pool, None, before).len() as u64, before, "what is kept is read");
        disk.heal();
        let all = before + meanwhile + lease(&engine, &mut worker, &pool, 5);
        let told = read(&engine, &pool, Some(first), all);
        assert!(told.iter().map(|(seq, _)| *seq).eq(first..first + all), "without a hole");
        let mut numbers: Vec<_> = told.iter().map(|(_, number)| *number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len() as u64, all, "each once");
        engine.close().unwrap();
        drop((worker, pool, engine));
        let engine = open(dir.path(), &disk, "1MiB,1h");
        let pool = engine.pool("ru").unwrap();
        assert_eq!(read(&engine, &pool, Some(first), all), told, "after a restart");
        engine.close().unwrap();
    }
}

#[test]
fn the_oldest_file_that_cannot_be_removed_keeps_the_log_from_growing() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(EventsDisk::default());
    let engine = open(dir.path(), &disk, "64KiB,1h");
    let (pool, mut worker) = (create(&engine), engine.worker());
    lease(&engine, &mut worker, &pool, 20);
    disk.fail(BROKEN);
    let leased = lease(&engine, &mut worker, &pool, 200);
    assert_eq!(leased, 20_000, "nobody is refused");
    disk.wait_until_failed();
    let bytes = || -> u64 {
        let files = std::fs::read_dir(dir.path().join("events")).unwrap();
        files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
    };
    assert!(bytes() <= 128 << 10, "{} bytes", bytes());
    disk.heal();
    let started = Instant::now();
    let newest = || engine.events().unwrap().kept(pool.id()).next;
    let before = newest();
    while newest() == before {
        assert!(started.elapsed() < PATIENCE, "it goes on");
        lease(&engine, &mut worker, &pool, 1);
        std::thread::sleep(Duration::from_millis(50));
    }
    engine.close().unwrap();
}

#[test]
fn a_start_whose_log_cannot_be_written_serves_and_keeps_events_once_it_can() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(EventsDisk::default());
    let engine = open(dir.path(), &disk, "1MiB,1h");
    let (pool, mut worker) = (create(&engine), engine.worker());
    let first = read(&engine, &pool, None, lease(&engine, &mut worker, &pool, 5))[0].0;
    engine.close().unwrap();
    drop((worker, pool, engine));
    disk.fail(BROKEN);
    let engine = open(dir.path(), &disk, "1MiB,1h");
    let (pool, mut worker) = (engine.pool("ru").unwrap(), engine.worker());
    assert_eq!(lease(&engine, &mut worker, &pool, 5), 500);
    disk.heal();
    // What happened meanwhile may be lost, and then it is gone: no position is given out twice.
    let events = engine.events().unwrap();
    let (started, begun) = (Instant::now(), events.kept(pool.id()).next);
    while events.kept(pool.id()).next == begun {
        assert!(started.elapsed() < PATIENCE, "events are kept again");
        lease(&engine, &mut worker, &pool, 1);
        std::thread::sleep(Duration::from_millis(20));
    }
    let kept = events.kept(pool.id());
    assert!(kept.oldest > first, "{} {first}", kept.oldest);
    let told = read(&engine, &pool, None, kept.next - kept.oldest);
    assert!(told.windows(2).all(|pair| pair[1].0 == pair[0].0 + 1));
    engine.close().unwrap();
}
