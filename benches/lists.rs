//! What lists and hours cost while leases go on: numbers that go onto a list which ten pools use, a large list that is
//! replaced by one that differs in 1 %, and hours with the built-in table of prefixes.
//!
//! `cargo bench --bench lists`, `-- --small` for a hundredth of it, `-- --dir DIR` on a disk. Each part is one run.
//! Printed are times, the 99th percentile of leases with their commit, quiet and meanwhile, and the growth of the
//! largest memory of the process.

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
const LIST_NUMBERS: u64 = 100_000_000;
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

/// Runs `work` while another thread leases. Prints how long it took and the leases, also those before.
fn beside_leases<T>(engine: &Engine, pool: &Pool, what: &str, work: impl FnOnce() -> T) -> T {
    let of = |work: &mut dyn FnMut()| {
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let times = scope.spawn(|| leases(engine, pool, &is_over));
            let started = Instant::now();
            work();
            let took = started.elapsed();
            is_over.store(true, Ordering::Relaxed);
            (took, times.join().unwrap())
        })
    };
    let (_, quiet) = of(&mut || std::thread::sleep(QUIET));
    let (mut work, mut result) = (Some(work), None);
    let (took, meanwhile) = of(&mut || result = work.take().map(|work| work()));
    println!(
        "{what}: {took:.2?}; leases' p99 {:.0?} quiet, {:.0?} meanwhile ({} leases)",
        percentile(quiet, 0.99),
        percentile(meanwhile.clone(), 0.99),
        meanwhile.len(),
    );
    result.unwrap()
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
    let all = NumberRange::new(number(FIRST), number(FIRST + POOL_NUMBERS / share - 1)).unwrap();
    let pools: Vec<_> = (0..POOLS)
        .map(|pool| create(engine, &format!("pool-{pool}"), &[all], &blocked_by("optouts")))
        .collect();
    let listed = LISTED / share;
    for (what, step) in [("every fourth number", 4), ("consecutive numbers", 1)] {
        let bytes = bytes_of((0..listed).map(|n| FIRST + step * n));
        let what = format!("{listed} numbers onto a list of {POOLS} pools, {what}");
        let (_, _, blocked) = beside_leases(engine, &pools[0], &what, || {
            change(engine, "optouts", ListChange::Add, bytes.clone())
        });
        println!("  {blocked} numbers of the pools were blocked");
        change(engine, "optouts", ListChange::Remove, bytes);
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
    let before = peak_mib();
    let what = format!("a list of {numbers} replaced by one that differs in 1 %");
    let (added, removed, blocked) =
        beside_leases(engine, &pool, &what, || change(engine, "national", ListChange::Replace, next));
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
    beside_leases(engine, &pool, &format!("hours with {prefixes} prefixes, from nothing"), || {
        pool.change_settings(&change).unwrap();
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

fn run(dir: &Path, share: u64) {
    let data = dir.join("data");
    let engine = Engine::open(&EngineConfig::new(&data, 4)).unwrap();
    numbers_onto_a_list(&engine, share);
    replace(&engine, share);
    hours(&engine, share);
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let share = if args.iter().any(|arg| arg == "--small") { 100 } else { 1 };
    let at = args.iter().position(|arg| arg == "--dir");
    let parent = at.map_or_else(std::env::temp_dir, |at| args[at + 1].clone().into());
    let dir = tempfile::tempdir_in(parent).unwrap();
    run(dir.path(), share);
}
