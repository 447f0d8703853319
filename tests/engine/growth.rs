//! Pools that grow by single numbers, and the merges of their segments.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use allotd::backup::{Serving, restore};
use allotd::check::check_directory;
use allotd::disk::device::RealDisk;
use allotd::domain::settings::{NextState, Order, SettingsChange};
use allotd::engine::operations::export::Export;
use allotd::engine::operations::import::NumberSource;
use allotd::engine::operations::lease::{Lease, LeaseError, LeaseRequest};
use allotd::engine::operations::lease_ref::LeaseRef;
use allotd::engine::operations::renew::RenewResult;
use allotd::engine::operations::return_leases::{ReturnItem, ReturnResult};
use allotd::engine::{Engine, EngineConfig, Pool, Worker};
use allotd::journal::Durability;
use allotd::state::number_state::State;
use allotd::state::state_set::StateSet;

use super::{config, create, number, open, range};

/// Words of one call to merge: all.
const ALL: u64 = u64::MAX;

fn add(pool: &Pool, value: u64) -> u64 {
    pool.add_numbers(NumberSource::Ranges(&[range(value, value)])).unwrap().added
}

fn lease(pool: &Pool, worker: &mut Worker, count: u32) -> Vec<Lease> {
    let mut leases = Vec::new();
    let request = LeaseRequest { count, ttl_seconds: None, within: None };
    pool.lease(worker, &request, &mut leases).unwrap();
    leases
}

fn held(lease: &Lease) -> LeaseRef {
    LeaseRef { number: lease.number, token: Some(lease.token) }
}

fn give_back(pool: &Pool, worker: &mut Worker, lease: &Lease, then: NextState) -> ReturnResult {
    let mut results = Vec::new();
    let item = ReturnItem { lease: held(lease), then, outcome: None };
    pool.return_leases(worker, &[item], &mut results).unwrap();
    results[0]
}

/// Every number with its state and generation.
fn exported(pool: &Arc<Pool>) -> BTreeMap<u64, (State, u32)> {
    let mut export = Export::new(Arc::clone(pool), StateSet::all(), None);
    let (mut rows, mut all) = (Vec::new(), Vec::new());
    while export.next_block(&mut rows) {
        all.extend(rows.iter().map(|row| (row.number.get(), (row.state, row.generation))));
    }
    assert!(all.is_sorted_by_key(|(number, _)| *number), "ascending, each once");
    let len = all.len();
    let all: BTreeMap<_, _> = all.into_iter().collect();
    assert_eq!(all.len(), len);
    all
}

/// A directory in memory, where there is one.
fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

fn files_of(dir: &Path) -> usize {
    std::fs::read_dir(dir.join("pools/p")).unwrap().count()
}

/// The numbers in an order that is neither theirs nor random.
fn scattered(count: u64) -> impl Iterator<Item = u64> {
    (0..count).map(move |i| 79_000_000_000 + (i * 7_919) % count * 3)
}

#[test]
fn more_single_additions_than_segments() {
    const ADDED: u64 = 5_000;
    let dir = tempfile::tempdir().unwrap();
    let config = EngineConfig { growing_numbers: 64, ..EngineConfig::new(dir.path(), 4) };
    let engine = Engine::open(&config).unwrap();
    let pool = create(&engine, "p", &[range(1, 9)], &SettingsChange::default());
    let mut worker = engine.worker();
    for (i, value) in (1..).zip(scattered(ADDED)) {
        assert_eq!((add(&pool, value), add(&pool, value)), (1, 0));
        assert_eq!((pool.numbers(), pool.counts().available), (9 + i, 9 + i));
    }
    let until = Instant::now() + Duration::from_secs(20);
    while files_of(dir.path()) > 60 {
        assert!(Instant::now() < until, "{} files", files_of(dir.path()));
        std::thread::sleep(Duration::from_millis(20));
    }
    let leases = lease(&pool, &mut worker, 5_009);
    assert_eq!(leases.iter().map(|lease| lease.number).collect::<HashSet<_>>().len(), 5_009);
    let before = exported(&pool);
    drop((pool, worker, engine));
    assert_eq!(check_directory(dir.path()).unwrap().faults, []);
    let engine = Engine::open(&config).unwrap();
    let pool = engine.pool("p").unwrap();
    assert_eq!((exported(&pool), pool.counts().leased), (before, 5_009));
    assert_eq!(add(&pool, 77), 1);
}

/// Stops a merge after each number of words, in turn, and starts again.
#[test]
fn a_merge_that_is_cut_off_anywhere_is_completed_at_the_next_start() {
    for (words, durability) in
        (1..40).flat_map(|words| [(words, Durability::Sync), (words, Durability::None)])
    {
        let dir = scratch();
        let open = |dir: &Path| Engine::open(&EngineConfig { durability, ..config(dir) }).unwrap();
        let engine = open(dir.path());
        let change = SettingsChange { order: Some(Order::Lowest), ..SettingsChange::default() };
        let pool = create(&engine, "p", &[range(1, 3)], &change);
        for value in scattered(36) {
            add(&pool, value);
        }
        let mut worker = engine.worker();
        let leases = lease(&pool, &mut worker, 20);
        give_back(&pool, &mut worker, &leases[4], NextState::Done);
        give_back(&pool, &mut worker, &leases[9], NextState::Retired);
        pool.merge_now(words).unwrap();
        // Some of these words have moved, some have not.
        give_back(&pool, &mut worker, &leases[5], NextState::Available);
        give_back(&pool, &mut worker, &leases[12], NextState::Rest(900));
        let more = lease(&pool, &mut worker, 5);
        let before = exported(&pool);
        let backed_up = engine.backup(Some(&"b".parse().unwrap()), &|| false).unwrap();
        assert_eq!(backed_up.numbers, 39);
        drop((pool, worker, engine));
        let target = scratch();
        let restored = target.path().join("data");
        restore(&RealDisk, &dir.path().join("backups/b"), &restored, Serving::AtOnce).unwrap();
        for data_dir in [dir.path(), &restored] {
            assert_eq!(check_directory(data_dir).unwrap().faults, [], "after {words} words");
            let engine = open(data_dir);
            let (pool, mut worker) = (engine.pool("p").unwrap(), engine.worker());
            assert_eq!(exported(&pool), before, "after {words} words");
            assert!(matches!(
                give_back(&pool, &mut worker, &more[0], NextState::Available),
                ReturnResult::Returned { .. }
            ));
            pool.merge_now(ALL).unwrap();
            assert_eq!(pool.numbers(), 39);
            engine.close().unwrap();
            drop((pool, worker, engine));
            assert_eq!(check_directory(data_dir).unwrap().faults, [], "after {words} words");
        }
    }
}

/// Threads lease, renew, return and look up while numbers are added and segments merged.
#[test]
fn merges_disturb_no_caller() {
    const STARTING: u64 = 64;
    const THREADS: usize = 4;
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let pool = create(&engine, "p", &[range(1, STARTING)], &SettingsChange::default());
    let (added, ended) = (AtomicU64::new(0), AtomicBool::new(false));
    let owners: Vec<AtomicU64> = (0..20_000).map(|_| AtomicU64::new(0)).collect();
    std::thread::scope(|scope| {
        for thread in 1..=THREADS as u64 {
            let (pool, mut worker) = (&pool, engine.worker());
            let (added, ended, owners) = (&added, &ended, &owners);
            scope.spawn(move || {
                let owner = |lease: &Lease| &owners[lease.number.get() as usize];
                while !ended.load(Ordering::SeqCst) {
                    // There are always more numbers than all threads hold.
                    let leases = lease(pool, &mut worker, 7);
                    assert_eq!(leases.len(), 7);
                    for lease in &leases {
                        assert_eq!(owner(lease).swap(thread, Ordering::SeqCst), 0, "{lease:?}");
                    }
                    let mut results = Vec::new();
                    let items: Vec<_> = leases.iter().map(held).collect();
                    pool.renew(&mut worker, &items, Some(500), &mut results).unwrap();
                    for (lease, result) in leases.iter().zip(&results) {
                        assert!(matches!(result, RenewResult::Renewed { .. }), "{lease:?} {result:?}");
                        let seen = pool.lookup(lease.number).unwrap();
                        assert_eq!((seen.state, seen.generation), (State::Leased, lease.generation));
                        assert_eq!(owner(lease).swap(0, Ordering::SeqCst), thread, "{lease:?}");
                        let returned = give_back(pool, &mut worker, lease, NextState::Available);
                        assert!(matches!(returned, ReturnResult::Returned { .. }), "{lease:?}");
                    }
                    let newest = STARTING + added.load(Ordering::SeqCst);
                    assert!(pool.lookup(number(newest)).is_some());
                }
            });
        }
        let until = Instant::now() + Duration::from_secs(6);
        while Instant::now() < until && added.load(Ordering::SeqCst) < 15_000 {
            let value = STARTING + 1 + added.load(Ordering::SeqCst);
            assert_eq!(add(&pool, value), 1);
            added.store(value - STARTING, Ordering::SeqCst);
            if value.is_multiple_of(32) {
                pool.merge_now(ALL).unwrap();
            }
        }
        ended.store(true, Ordering::SeqCst);
    });
    let numbers = STARTING + added.load(Ordering::SeqCst);
    assert_eq!((pool.numbers(), pool.counts().available, pool.counts().leased), (numbers, numbers, 0));
    assert_eq!(exported(&pool).len() as u64, numbers);
    let before = exported(&pool);
    drop((pool, engine));
    assert_eq!(exported(&open(dir.path()).pool("p").unwrap()), before);
}

/// In a pool without a free number every answer has to be "exhausted", and with one none may be.
#[test]
fn exhausted_is_true_during_merges() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let pool = create(&engine, "p", &[range(1, 2)], &SettingsChange::default());
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (pool, ended) = (&pool, &ended);
        for _ in 0..2 {
            // Two threads and two numbers: each can always have one.
            let mut worker = engine.worker();
            scope.spawn(move || {
                while !ended.load(Ordering::SeqCst) {
                    let within = pool.within(&[range(1, 100_000)]);
                    let request = LeaseRequest { count: 1, ttl_seconds: None, within: Some(&within) };
                    let mut leases = Vec::new();
                    match pool.lease(&mut worker, &request, &mut leases) {
                        Ok(_) => {}
                        Err(LeaseError::Busy) => continue,
                        Err(error) => panic!("{error}"),
                    }
                    give_back(pool, &mut worker, &leases[0], NextState::Available);
                }
            });
        }
        let mut worker = engine.worker();
        let until = Instant::now() + Duration::from_secs(4);
        let mut value = 2;
        while Instant::now() < until && value < 15_000 {
            // The new number is not left available: the threads have two in all.
            value += 1;
            add(pool, value);
            let within = pool.within(&[range(value, value)]);
            let request = LeaseRequest { count: 1, ttl_seconds: None, within: Some(&within) };
            let mut leases = Vec::new();
            while pool.lease(&mut worker, &request, &mut leases).is_err() {}
            give_back(pool, &mut worker, &leases[0], NextState::Retired);
            if value.is_multiple_of(32) {
                pool.merge_now(ALL).unwrap();
            }
        }
        ended.store(true, Ordering::SeqCst);
    });
}

/// Threads add the same and other numbers at once: each is added once, and told as added once.
#[test]
fn additions_at_once_add_each_number_once() {
    const THREADS: u64 = 6;
    const NUMBERS: u64 = 600;
    let dir = scratch();
    let engine = open(dir.path());
    let pool = create(&engine, "p", &[range(1, 4)], &SettingsChange::default());
    let told = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (pool, told) = (&pool, &told);
            scope.spawn(move || {
                for i in 0..NUMBERS {
                    let value = 100 + u64::midpoint(i, thread % 3) * 2;
                    told.fetch_add(add(pool, value), Ordering::SeqCst);
                    let found = pool.lookup(number(value)).unwrap();
                    assert_eq!(found.state, State::Available);
                }
            });
        }
    });
    assert_eq!(pool.numbers(), 4 + told.load(Ordering::SeqCst));
    let before = exported(&pool);
    assert_eq!(before.len() as u64, pool.numbers());
    drop((pool, engine));
    assert_eq!(check_directory(dir.path()).unwrap().faults, []);
    assert_eq!(exported(&open(dir.path()).pool("p").unwrap()), before);
}

/// Whatever a merge does while a backup is made, the backup has all that was confirmed before it began.
#[test]
fn backups_during_merges_have_everything() {
    let dir = scratch();
    let engine = open(dir.path());
    let change = SettingsChange { order: Some(Order::Lowest), ..SettingsChange::default() };
    let pool = create(&engine, "p", &[range(1, 4)], &change);
    let (kept, ended) = (Mutex::new(Vec::<Lease>::new()), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let (kept, ended) = (&kept, &ended);
        let (grown, mut worker) = (&pool, engine.worker());
        scope.spawn(move || {
            let mut value = 1_000;
            while !ended.load(Ordering::SeqCst) {
                value += 2;
                add(grown, value);
                add(grown, value + 1);
                let leases = lease(grown, &mut worker, 2);
                let then = if value.is_multiple_of(4) { NextState::Available } else { NextState::Rest(9) };
                give_back(grown, &mut worker, &leases[1], then);
                grown.merge_now(value % 37).unwrap();
                kept.lock().unwrap().push(leases[0]);
            }
        });
        for round in 0..8 {
            std::thread::sleep(Duration::from_millis(150));
            let name = format!("b{round}");
            let before = kept.lock().unwrap().clone();
            engine.backup(Some(&name.parse().unwrap()), &|| false).unwrap();
            let target = scratch();
            let restored = target.path().join("data");
            restore(&RealDisk, &dir.path().join("backups").join(&name), &restored, Serving::AtOnce).unwrap();
            assert_eq!(check_directory(&restored).unwrap().faults, [], "{name}");
            let engine = open(&restored);
            let pool = engine.pool("p").unwrap();
            let found = exported(&pool);
            assert_eq!(found.len() as u64, pool.numbers());
            for lease in &before {
                assert_eq!(found[&lease.number.get()], (State::Leased, lease.generation), "{name} {lease:?}");
            }
        }
        ended.store(true, Ordering::SeqCst);
    });
}

/// Resident memory of this process, in bytes.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

fn bytes_of(dir: &Path) -> u64 {
    let files = std::fs::read_dir(dir.join("pools/p")).unwrap();
    files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
}

/// Nanoseconds of a lookup, and of a lease and its return.
fn speed(pool: &Pool, worker: &mut Worker, numbers: &[u64]) -> (u128, u128) {
    const CALLS: u32 = 200_000;
    let started = Instant::now();
    for i in 0..CALLS as usize {
        assert!(pool.lookup(number(numbers[i * 7_919 % numbers.len()])).is_some());
    }
    let lookups = started.elapsed().as_nanos() / u128::from(CALLS);
    let started = Instant::now();
    for _ in 0..CALLS / 4 {
        let leases = lease(pool, worker, 1);
        give_back(pool, worker, &leases[0], NextState::Available);
    }
    (lookups, started.elapsed().as_nanos() / u128::from(CALLS / 4))
}

/// Figures of growth by single additions, beside one import of the same numbers:
/// `ALLOTD_ADDITIONS=1000000 ALLOTD_DIR=/dev/shm cargo test --test engine figures_of_growth -- --ignored --nocapture`
#[test]
#[ignore = "takes long"]
fn figures_of_growth() {
    let count = std::env::var("ALLOTD_ADDITIONS").map_or(20_000, |count| count.parse().unwrap());
    let place = std::env::var("ALLOTD_DIR").unwrap_or_else(|_| "/tmp".to_owned());
    let numbers: Vec<u64> = scattered(count).collect();
    let lines: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    let list = lines.join("\n");
    for single in [false, true] {
        let dir = tempfile::tempdir_in(&place).unwrap();
        let config = EngineConfig { durability: Durability::None, ..EngineConfig::new(dir.path(), 2) };
        let engine = Engine::open(&config).unwrap();
        let pool = create(&engine, "p", &[range(1, 1_000)], &SettingsChange::default());
        let mut worker = engine.worker();
        let before = resident_bytes();
        let (started, mut slowest) = (Instant::now(), Duration::ZERO);
        if single {
            for value in &numbers {
                let started = Instant::now();
                assert_eq!(add(&pool, *value), 1);
                slowest = slowest.max(started.elapsed());
            }
        } else {
            let options = allotd::numbers::list::ListOptions::default();
            let input = &mut list.as_bytes();
            let source = NumberSource::List { input, options, progress: &|_| () };
            assert_eq!(pool.add_numbers(source).unwrap().added, count);
        }
        let took = started.elapsed();
        while single && files_of(dir.path()) > 100 {
            std::thread::sleep(Duration::from_millis(50));
        }
        std::thread::sleep(Duration::from_secs(1));
        let grown = resident_bytes().saturating_sub(before);
        let (lookup, pair) = speed(&pool, &mut worker, &numbers);
        let what = if single { "single additions" } else { "one import" };
        println!(
            "{count} numbers by {what}: {took:.2?} (slowest call {slowest:.2?}), {} files, {:.1} bytes on disk and \
             {:.1} of memory per number, lookup {lookup} ns, lease and return {pair} ns",
            files_of(dir.path()),
            bytes_of(dir.path()) as f64 / count as f64,
            grown as f64 / count as f64,
        );
        let started = Instant::now();
        drop((pool, worker, engine));
        let engine = Engine::open(&config).unwrap();
        println!("  opened again in {:.2?}", started.elapsed());
        assert_eq!(engine.pool("p").unwrap().numbers(), count + 1_000);
    }
}
