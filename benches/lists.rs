//! What lists and hours cost while leases go on: numbers that go onto a list which ten pools use, a large list that is
//! replaced by one that differs in 1 %, and hours with the built-in table of prefixes.
//!
//! `cargo bench --bench lists`, `-- --small` for a hundredth of it, `-- --dir DIR` on a disk, `-- --only replace` for a
//! part (`add`, `replace`, `hours`). Printed are times, the 99th percentile of leases with their commit, quiet and
//! meanwhile, and the growth of the largest memory of the process.

#![allow(clippy::unwrap_used, missing_docs)]

use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use allotd::domain::hours::Hours;
use allotd::domain::settings::{NextState, Settings, SettingsChange};
use allotd::domain::zone_table::ZoneTable;
use allotd::engine::lists::operations::ListChange;
use allotd::engine::operations::import::NumberSource;
use allotd::engine::operations::lease::LeaseRequest;
use allotd::engine::operations::lease_ref::LeaseRef;
use allotd::engine::operations::return_leases::ReturnItem;
use allotd::engine::{Engine, EngineConfig, Pool};
use allotd::numbers::number::{Number, NumberRange};
use roaring::RoaringTreemap;

const POOLS: usize = 10;
const POOL_NUMBERS: u64 = 4_000_000;
const LISTED: u64 = 1_000_000;
/// How often numbers go onto the list and off it again: the leases meanwhile are to be many.
const ROUNDS: usize = 5;
/// Pools hold every number of a range, or one in this many.
const POOL_STEPS: [u64; 2] = [1, 3];
/// Threads that lease, one after another.
const WORKERS: usize = 16;
const LIST_NUMBERS: u64 = 240_000_000;
const FIRST: u64 = 79_000_000_000;
const QUIET: Duration = Duration::from_secs(3);
/// What hours are measured with: a pool over the numbering plans of the world.
const WORLD_NUMBERS: u64 = 4_000_000;
const WORLD_STEP: u64 = 2_477_003;
const HOURS: &str = r#"{"rules":[{"days":"mon-sun","from":"09:00","to":"21:00"}],"zone":"Europe/Berlin"}"#;

fn number(value: u64) -> Number {
    Number::new(value).unwrap()
}

fn percentile(mut times: Vec<Duration>, share: f64) -> Duration {
    times.sort_unstable();
    #[expect(clippy::cast_sign_loss, reason = "a share of a count")]
    let at = (times.len() as f64 * share) as usize;
    times.get(at.min(times.len().saturating_sub(1))).copied().unwrap_or_default()
}

/// Leases and returns one number after another until `is_over`; how long each lease took until it was committed.
fn leases(engine: &Engine, pool: &Pool, is_over: &AtomicBool) -> Vec<Duration> {
    let (mut worker, mut leases, mut results) = (engine.worker(), Vec::new(), Vec::new());
    let request = LeaseRequest { count: 1, ttl_seconds: Some(600), within: None };
    let mut times = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let started = Instant::now();
        pool.lease(&mut worker, &request, &mut leases).unwrap();
        pool.settle().unwrap();
        times.push(started.elapsed());
        let lease = LeaseRef { number: leases[0].number, token: Some(leases[0].token) };
        let item = ReturnItem { lease, then: NextState::Available, outcome: None };
        pool.return_leases(&mut worker, &[item], &mut results).unwrap();
    }
    times
}

/// Runs `work` several times while another thread leases. Prints how long it took each time by its own account and the
/// leases, also those before.
fn beside_leases<T>(
    engine: &Engine,
    pool: &Pool,
    what: &str,
    rounds: usize,
    mut work: impl FnMut() -> (Duration, T),
) -> T {
    let of = |work: &mut dyn FnMut()| {
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let times = scope.spawn(|| leases(engine, pool, &is_over));
            work();
            is_over.store(true, Ordering::Relaxed);
            times.join().unwrap()
        })
    };
    let quiet = of(&mut || std::thread::sleep(QUIET));
    let (mut took, mut result) = (Vec::new(), None);
    let meanwhile = of(&mut || {
        for _ in 0..rounds {
            let (time, of_round) = work();
            took.push(time);
            result = Some(of_round);
        }
    });
    took.sort_unstable();
    println!(
        "{what}: {:.2?} ({:.2?} to {:.2?}); leases' p99 {:.0?} quiet ({} leases), {:.0?} meanwhile ({}), at most {:.0?}",
        took[took.len() / 2],
        took[0],
        took[took.len() - 1],
        percentile(quiet.clone(), 0.99),
        quiet.len(),
        percentile(meanwhile.clone(), 0.99),
        meanwhile.len(),
        percentile(meanwhile, 1.0),
    );
    result.unwrap()
}

fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let started = Instant::now();
    let result = work();
    (started.elapsed(), result)
}

/// The largest memory of this process so far, in MiB.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

fn bytes_of(numbers: impl IntoIterator<Item = u64>) -> Vec<u8> {
    let mut bytes = Vec::new();
    RoaringTreemap::from_sorted_iter(numbers).unwrap().serialize_into(&mut bytes).unwrap();
    bytes
}

fn change(engine: &Engine, list: &str, change: ListChange, bytes: Vec<u8>) -> (u64, u64, u64) {
    let mut input = Cursor::new(bytes);
    let source = NumberSource::Roaring { input: &mut input, progress: &|_| () };
    let report = engine.change_list(list.parse().unwrap(), change, source, false).unwrap();
    (report.added, report.removed, report.pools.iter().map(|pool| pool.blocked).sum())
}

fn create(engine: &Engine, name: &str, ranges: &[NumberRange], change: &SettingsChange) -> Arc<Pool> {
    let settings = Settings::default().changed(change).unwrap();
    engine.create_pool(&name.parse().unwrap(), settings, NumberSource::Ranges(ranges)).unwrap();
    engine.pool(name).unwrap()
}

fn blocked_by(list: &str) -> SettingsChange {
    SettingsChange { blocked_by: Some(vec![list.parse().unwrap()]), ..SettingsChange::default() }
}

fn numbers_onto_a_list(engine: &Engine, share: u64) {
    engine.create_list("optouts".parse().unwrap(), None).unwrap();
    let (listed, numbers) = (LISTED / share, POOL_NUMBERS / share);
    for pool_step in POOL_STEPS {
        let at = |n: u64| number(FIRST + pool_step * n);
        let all: Vec<_> = match pool_step {
            1 => vec![NumberRange::new(at(0), at(numbers - 1)).unwrap()],
            _ => (0..numbers).map(|n| NumberRange::single(at(n))).collect(),
        };
        let pools: Vec<_> = (0..POOLS)
            .map(|pool| create(engine, &format!("pool-{pool_step}-{pool}"), &all, &blocked_by("optouts")))
            .collect();
        for step in [4, 1] {
            let bytes = bytes_of((0..listed).map(|n| FIRST + pool_step * step * n));
            let what = format!(
                "{listed} numbers onto a list of {POOLS} pools with one in {pool_step} numbers, one in {step} of theirs"
            );
            let blocked = beside_leases(engine, &pools[0], &what, ROUNDS, || {
                let (took, (_, _, blocked)) =
                    timed(|| change(engine, "optouts", ListChange::Add, bytes.clone()));
                change(engine, "optouts", ListChange::Remove, bytes.clone());
                (took, blocked)
            });
            println!("  {blocked} numbers of the pools were blocked");
        }
        for pool in pools {
            engine.delete_pool(pool.name().as_str(), true).unwrap();
        }
    }
}

fn replace(engine: &Engine, share: u64) {
    engine.create_list("national".parse().unwrap(), None).unwrap();
    let (numbers, first) = (LIST_NUMBERS / share, FIRST - LIST_NUMBERS);
    let all = NumberRange::new(number(FIRST - POOL_NUMBERS / share), number(FIRST - 1)).unwrap();
    let pool = create(engine, "national", &[all], &blocked_by("national"));
    // Every other number: a set without runs.
    change(engine, "national", ListChange::Add, bytes_of((0..numbers).map(|n| first + 2 * n)));
    let next = bytes_of((0..numbers).map(|n| first + 2 * n + u64::from(n % 100 == 0)));
    let mut next = Some(next);
    let before = peak_mib();
    let what = format!("a list of {numbers} replaced by one that differs in 1 %");
    let (added, removed, blocked) = beside_leases(engine, &pool, &what, 1, || {
        timed(|| change(engine, "national", ListChange::Replace, next.take().unwrap()))
    });
    println!(
        "  {added} added, {removed} removed, {blocked} blocked; the peak of memory grew by {} MiB from {before}",
        peak_mib() - before
    );
}

fn hours(engine: &Engine, share: u64) {
    let ranges: Vec<_> = (0..WORLD_NUMBERS / share)
        .map(|n| NumberRange::single(number(1_000_000_000 + n * WORLD_STEP)))
        .collect();
    let pool = create(engine, "world", &ranges, &SettingsChange::default());
    let prefixes = pool.change_zones(Some(ZoneTable::phone().unwrap())).unwrap();
    let hours: Hours = serde_json::from_str(HOURS).unwrap();
    let change = SettingsChange { hours: Some(Some(hours)), ..SettingsChange::default() };
    beside_leases(engine, &pool, &format!("hours with {prefixes} prefixes, from nothing"), 1, || {
        timed(|| pool.change_settings(&change).unwrap())
    });
    let times = (0..48).map(|half_hour| {
        let time = engine.now().after(half_hour * 1_800);
        let started = Instant::now();
        let open = pool.open_hours(time).unwrap().open;
        (started.elapsed(), open)
    });
    let (times, open): (Vec<_>, Vec<_>) = times.unzip();
    let longest = times.iter().max().unwrap();
    println!(
        "  what is open at a time: {longest:.2?} at most; {} to {} numbers",
        open.iter().min().unwrap(),
        open.iter().max().unwrap()
    );
}

/// A part of the bench: its name, and what it does.
type Part = (&'static str, fn(&Engine, u64));

fn run(dir: &Path, share: u64, only: Option<&str>) {
    let data = dir.join("data");
    let engine = Engine::open(&EngineConfig::new(&data, WORKERS)).unwrap();
    let parts: [Part; 3] = [("add", numbers_onto_a_list), ("replace", replace), ("hours", hours)];
    for (_, part) in parts.iter().filter(|(name, _)| only.is_none_or(|only| only == *name)) {
        part(&engine, share);
    }
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let share = if args.iter().any(|arg| arg == "--small") { 100 } else { 1 };
    let value = |flag: &str| args.iter().position(|arg| arg == flag).map(|at| args[at + 1].as_str());
    let parent = value("--dir").map_or_else(std::env::temp_dir, Into::into);
    let dir = tempfile::tempdir_in(parent).unwrap();
    run(dir.path(), share, value("--only"));
}
