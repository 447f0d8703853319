//! What is done to the daemon while leases are timed.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use allotd::client::{self, Call};
use allotd::numbers::number::NumberRange;
use hyper::Method;
use serde_json::json;

use super::support::daemon::{Daemon, MAX_BATCH};

/// Pools deleted in a round, and the pause before each.
const DELETIONS: u64 = 5;
const DELETION_PAUSE: Duration = Duration::from_secs(1);
/// The nice value of a thread that yields to all others.
const LOWEST_PRIORITY: i32 = 19;

/// One kind of stress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stress {
    Import,
    Deletion,
    Checkpoints,
    Export,
    Sweep,
    Backup,
}

impl Stress {
    pub(crate) const ALL: [Self; 6] =
        [Self::Import, Self::Deletion, Self::Checkpoints, Self::Export, Self::Sweep, Self::Backup];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Import => "import",
            Self::Deletion => "deletion",
            Self::Checkpoints => "checkpoints",
            Self::Export => "export",
            Self::Sweep => "sweep",
            Self::Backup => "backup",
        }
    }
}

/// What the stress is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) ranges: &'a [NumberRange],
    /// A text file of as many numbers as the pool has.
    pub(crate) numbers_file: &'a Path,
    pub(crate) backup_dir: &'a Path,
}

/// Gives the client that measures priority on their common core.
fn lower_priority() {
    rustix::process::setpriority_process(Some(rustix::thread::gettid()), LOWEST_PRIORITY).unwrap();
}

/// Counts what is written and forgets it.
#[derive(Default)]
struct Counted(u64);

impl io::Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Repeats the stress until `stop`; returns how often. A call in flight is finished.
pub(crate) fn go_on(stress: Stress, daemon: &Daemon, place: Place<'_>, stop: &AtomicBool) -> u64 {
    lower_priority();
    let mut times = 0;
    while !stop.load(Ordering::Relaxed) {
        match stress {
            Stress::Import => daemon.import(&other_pool(times), "ttl=86400", place.numbers_file),
            Stress::Deletion if times < DELETIONS => {
                std::thread::sleep(DELETION_PAUSE);
                delete(daemon, &other_pool(times));
            }
            Stress::Export => {
                let mut written = Counted::default();
                let call = Call::new(Method::GET, "/v1/pools/p/numbers");
                client::send_to(&daemon.server(), call, &mut written).unwrap();
                assert!(written.0 > 0, "the export is empty");
            }
            Stress::Backup => drop(daemon.post("/v1/backup", &json!({"name": format!("b{times}")}))),
            // The daemon does these without a call, or no pool is left to delete.
            Stress::Checkpoints | Stress::Sweep | Stress::Deletion => {
                std::thread::sleep(Duration::from_millis(20));
                continue;
            }
        }
        times += 1;
    }
    times
}

fn other_pool(number: u64) -> String {
    format!("q{number}")
}

fn delete(daemon: &Daemon, pool: &str) {
    daemon.send(Call::new(Method::DELETE, &format!("/v1/pools/{pool}")));
}

/// Makes the pools that a round deletes.
pub(crate) fn prepare_deletions(daemon: &Daemon, place: Place<'_>) {
    (0..DELETIONS).for_each(|number| daemon.create_pool(&other_pool(number), "ttl=86400", place.ranges));
}

/// Deletes the pools and the backups that a round made.
pub(crate) fn tidy(daemon: &Daemon, place: Place<'_>) {
    let pools = daemon.get("/v1/pools");
    let names = pools["pools"].as_array().unwrap().iter().map(|pool| pool["pool"].as_str().unwrap());
    names.filter(|name| *name != "p").for_each(|name| delete(daemon, name));
    if place.backup_dir.exists() {
        std::fs::remove_dir_all(place.backup_dir).unwrap();
    }
}

fn unix_time() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap()
}

/// Leases `numbers` numbers whose leases all end in the same second; returns `lead` before that.
pub(crate) fn lease_until_one_second(daemon: &Daemon, numbers: u64, patience: Duration, lead: Duration) {
    let end_seconds = (unix_time() + patience).as_secs();
    let mut left = numbers;
    while left > 0 {
        // A lease ends with a whole second: the first that is not before its time.
        let next_second = unix_time().as_secs() + 1;
        let ttl = end_seconds.checked_sub(next_second).filter(|ttl| *ttl > lead.as_secs());
        let ttl = ttl.expect("the numbers are leased in time: give fewer, or a longer patience");
        let count = left.min(MAX_BATCH);
        daemon.lease("p", count, ttl as u32);
        left -= count;
    }
    std::thread::sleep(Duration::from_secs(end_seconds).saturating_sub(unix_time() + lead));
}
