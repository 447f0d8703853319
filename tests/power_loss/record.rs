//! A recording: the daemon under load on the logged disk, killed once and stopped once in between.

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::daemon::{Daemon, Mode};
use super::disk::{LoggedDisk, Mount};
use super::load::{Client, Durable, History};
use super::log::WriteLog;
use super::operator::Operator;

const CLIENTS: u64 = 8;
/// Requests per second of one client: bounds what there is to verify at each cut.
const RATE: u32 = 150;
const PHASE: Duration = Duration::from_millis(1200);
/// The daemon's directory on its disk.
pub(crate) const DATA: &str = "data";

/// What is recorded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub mode: Mode,
    pub syncs: Syncs,
}

/// Who syncs: see [`Durable`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Syncs {
    Daemon,
    Client,
    ClientTooLate,
}

/// A disk's log, and what was confirmed meanwhile.
#[derive(Debug)]
pub(crate) struct Recording {
    pub log: WriteLog,
    pub history: History,
    pub operator: Operator,
    /// The log's length when the pool was confirmed, and when the load ended.
    pub span: (u64, u64),
}

/// How a phase ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NextWord {
    /// SIGKILL while requests are in flight.
    Killed,
    /// The load ends, then SIGTERM.
    Stopped,
}

pub(crate) fn record(plan: Plan, seed: u64, workshop: &Path) -> Recording {
    let disk = LoggedDisk::new(workshop);
    let words = workshop.join("daemon.words");
    let data = disk.mount.path.join(DATA);
    let start = || Daemon::start(&data, plan.mode, &words).expect("the daemon starts");
    let daemon = start();
    Operator::create_pool(&daemon);
    if plan.mode.durability == "none" || plan.mode.skip_sync {
        // Neither promises that the pool itself is there.
        rustix::fs::syncfs(File::open(&disk.mount.path).expect("the mount")).expect("a sync");
    }
    let begin = disk.log.now();
    let mut clients: Vec<Client> = (0..CLIENTS).map(|index| Client::new(seed ^ index, &disk.log)).collect();
    let mut operator = Operator::default();
    let ended = AtomicBool::new(false);
    let daemon = std::thread::scope(|scope| {
        let mut daemon = daemon;
        let noise = scope.spawn(|| make_noise(&disk.mount, seed, &ended));
        // Also when a phase panics: the scope waits for this thread.
        let _end = EndNoise(&ended);
        for end in [NextWord::Killed, NextWord::Stopped, NextWord::Killed] {
            load(daemon, &disk, plan, (&mut clients, &mut operator), end);
            daemon = start();
        }
        ended.store(true, Ordering::Relaxed);
        noise.join().expect("noise");
        daemon
    });
    let end = disk.log.now();
    drop(daemon);
    drop(disk);
    let mut history = History::default();
    for client in clients {
        history.merge(client.history);
    }
    let log = WriteLog::open(&workshop.join("log")).expect("the log of the disk");
    Recording { log, history, operator, span: (begin, end) }
}

struct EndNoise<'a>(&'a AtomicBool);

impl Drop for EndNoise<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn load(daemon: Daemon, disk: &LoggedDisk, plan: Plan, users: (&mut [Client], &mut Operator), end: NextWord) {
    let (clients, operator) = users;
    let file_system = File::open(&disk.mount.path).expect("the mount");
    let durable = match plan.syncs {
        Syncs::Daemon => Durable::Daemon,
        Syncs::Client => Durable::Client(&file_system),
        Syncs::ClientTooLate => Durable::ClientTooLate(&file_system),
    };
    let address = daemon.address;
    let stopping = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for client in clients {
            let stopping = &stopping;
            scope.spawn(move || client.run(address, RATE, durable, &|| stopping.load(Ordering::Relaxed)));
        }
        std::thread::sleep(PHASE / 2);
        operator.work(&daemon, &disk.log, durable).expect("the operator's calls");
        std::thread::sleep(PHASE / 2);
        match end {
            // The clients end because their connections do.
            NextWord::Killed => drop(daemon),
            NextWord::Stopped => {
                stopping.store(true, Ordering::Relaxed);
                let status = daemon.stop().expect("the daemon stops");
                assert!(status.success(), "{status}");
            }
        }
        stopping.store(true, Ordering::Relaxed);
    });
}

/// What a machine does besides: another program that syncs its own file now and then, and a kernel that
/// writes dirty pages of any file when it likes (else it would not within such a short run).
fn make_noise(mount: &Mount, seed: u64, ended: &AtomicBool) {
    let mut random = StdRng::seed_from_u64(seed);
    let own = File::create(mount.path.join("noise")).expect("a file");
    let mut next_sync = Instant::now();
    for round in 0_u64.. {
        if ended.load(Ordering::Relaxed) {
            return;
        }
        if Instant::now() >= next_sync {
            std::os::unix::fs::FileExt::write_all_at(&own, &[1; 4096], round % 64 * 4096).expect("a write");
            own.sync_data().expect("a sync");
            next_sync = Instant::now() + Duration::from_millis(random.random_range(20..200));
        }
        let mut files = Vec::new();
        files_below(&mount.path.join(DATA), &mut files);
        if !files.is_empty() {
            let file = files[random.random_range(0..files.len())].as_path();
            // Giving pages up starts to write those that are dirty, without a flush.
            if let Ok(file) = File::open(file) {
                let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
            }
        }
        std::thread::sleep(Duration::from_millis(random.random_range(5..60)));
    }
}

fn files_below(directory: &Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files_below(&entry.path(), files),
            Ok(kind) if kind.is_file() => files.push(entry.path()),
            _ => {}
        }
    }
}

/// Starts the daemon on a disk that lost its power, and stops it again: the log of the recovery.
pub(crate) fn record_recovery(mode: Mode, workshop: &Path) -> Result<WriteLog, String> {
    let disk = LoggedDisk::reopen(workshop);
    let daemon = Daemon::start(&disk.mount.path.join(DATA), mode, &workshop.join("daemon.words"))?;
    daemon.stop()?;
    drop(disk);
    WriteLog::open(&workshop.join("log")).map_err(|error| error.to_string())
}
