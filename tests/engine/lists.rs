//! Lists that block numbers of pools: the law under threads, what comes later, restarts, backups.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use allotd::backup::{Serving, restore};
use allotd::check::check_directory;
use allotd::disk::device::RealDisk;
use allotd::domain::list_name::ListName;
use allotd::domain::settings::{NextState, Settings, SettingsChange};
use allotd::engine::lists::operations::{ListChange, ListError, ListReport};
use allotd::engine::operations::import::NumberSource;
use allotd::engine::operations::lease::{Lease, LeaseError, LeaseRequest};
use allotd::engine::operations::lease_ref::LeaseRef;
use allotd::engine::operations::renew::RenewResult;
use allotd::engine::operations::return_leases::{ReturnItem, ReturnResult};
use allotd::engine::{ChangeError, Engine, EngineConfig, Pool, Worker};
use allotd::journal::Durability;
use allotd::journal::queue::Position;
use allotd::numbers::number::NumberRange;
use allotd::state::number_state::State;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{create, number, open, range};

fn name(name: &str) -> ListName {
    name.parse().unwrap()
}

fn blocked_by(lists: &[&str]) -> SettingsChange {
    let lists = lists.iter().map(|list| name(list)).collect();
    SettingsChange { blocked_by: Some(lists), ..SettingsChange::default() }
}

fn change(engine: &Engine, list: &str, change: ListChange, ranges: &[NumberRange]) -> ListReport {
    engine.change_list(name(list), change, NumberSource::Ranges(ranges), false).unwrap()
}

fn lease(pool: &Pool, worker: &mut Worker, count: u32) -> Vec<Lease> {
    let mut leases = Vec::new();
    let request = LeaseRequest { count, ttl_seconds: None, within: None };
    match pool.lease(worker, &request, &mut leases) {
        Ok(_) | Err(LeaseError::Exhausted) => leases,
        Err(error) => panic!("{error}"),
    }
}

fn held(lease: &Lease) -> LeaseRef {
    LeaseRef { number: lease.number, token: Some(lease.token) }
}

fn give_back(pool: &Pool, worker: &mut Worker, lease: &Lease, then: NextState) -> (ReturnResult, Position) {
    let mut results = Vec::new();
    let item = ReturnItem { lease: held(lease), then, outcome: None };
    let position = pool.return_leases(worker, &[item], &mut results).unwrap();
    (results[0], position)
}

fn wait_for(engine: &Engine, worker: &Worker, position: Position) {
    while !engine.journal().is_committed(worker.slot(), position) {
        engine.journal().wake_writer();
        std::thread::sleep(Duration::from_micros(20));
    }
}

fn numbers(leases: &[Lease]) -> Vec<u64> {
    let mut numbers: Vec<_> = leases.iter().map(|lease| lease.number.get()).collect();
    numbers.sort_unstable();
    numbers
}

const NUMBERS: u64 = 240;

/// Numbers that are on the list for good once a caller put them there; the operator changes the others.
fn is_for_good(number: u64) -> bool {
    number.is_multiple_of(3)
}

/// For each number how often it went onto the list and off it: odd if it is on it, and that is confirmed.
struct Told(Vec<AtomicU64>);

impl Told {
    fn get(&self) -> Vec<u64> {
        self.0.iter().map(|times| times.load(Ordering::SeqCst)).collect()
    }

    /// What was confirmed before the lease began, and still is.
    fn check(&self, before: &[u64], leases: &[Lease]) {
        for lease in leases {
            let at = lease.number.get() as usize;
            let is_listed = before[at] % 2 == 1 && self.0[at].load(Ordering::SeqCst) == before[at];
            assert!(!is_listed, "{} was leased after it was confirmed to be on the list", lease.number);
        }
    }

    fn set_all(&self, numbers: &[u64], on: bool) {
        for number in numbers {
            self.set(*number, on);
        }
    }

    fn set(&self, number: u64, on: bool) {
        let times = &self.0[number as usize];
        if (times.load(Ordering::SeqCst) % 2 == 1) != on {
            times.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Leases and returns, now and then onto the list.
fn caller(engine: &Engine, pool: &Pool, told: &Told, seed: u64, stop: &AtomicBool) {
    let (mut worker, mut random) = (engine.worker(), StdRng::seed_from_u64(seed));
    let mut held: Vec<Lease> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let before = told.get();
        let leases = lease(pool, &mut worker, random.random_range(1..4));
        told.check(&before, &leases);
        held.extend(leases);
        while held.len() > random.random_range(0..30) {
            let lease = held.swap_remove(random.random_range(0..held.len()));
            let value = lease.number.get();
            let then = match random.random_range(0..40) {
                0 if is_for_good(value) => NextState::List(name("optouts")),
                1 => NextState::Rest(1),
                _ => NextState::Available,
            };
            let (result, position) = give_back(pool, &mut worker, &lease, then);
            let ReturnResult::Returned { state, .. } = result else { continue };
            if then.list().is_some() {
                assert_eq!(state, State::Blocked);
                wait_for(engine, &worker, position);
                told.set(value, true);
            }
        }
    }
    for lease in &held {
        give_back(pool, &mut worker, lease, NextState::Available);
    }
}

/// Puts numbers on the list and takes them off, one or many, through the journal or by a new set.
fn operator(engine: &Engine, told: &Told, seed: u64, until: Instant) {
    let mut random = StdRng::seed_from_u64(seed);
    while Instant::now() < until {
        let count = if random.random_bool(0.5) { 1 } else { random.random_range(1..60) };
        let mut chosen: Vec<u64> = (0..count).map(|_| random.random_range(1..=NUMBERS)).collect();
        chosen.retain(|number| !is_for_good(*number));
        chosen.sort_unstable();
        chosen.dedup();
        let singles = |numbers: &[u64]| numbers.iter().map(|n| range(*n, *n)).collect::<Vec<_>>();
        match random.random_range(0..10) {
            0..5 if !chosen.is_empty() => {
                change(engine, "optouts", ListChange::Add, &singles(&chosen));
                told.set_all(&chosen, true);
            }
            5..9 if !chosen.is_empty() => {
                told.set_all(&chosen, false);
                change(engine, "optouts", ListChange::Remove, &singles(&chosen));
            }
            _ => {
                let is_chosen = |number: &u64| chosen.contains(number) || is_for_good(*number);
                let all = (1..=NUMBERS).filter(|number| !is_for_good(*number));
                let dropped: Vec<_> = all.filter(|number| !is_chosen(number)).collect();
                told.set_all(&dropped, false);
                let after: Vec<_> = (1..=NUMBERS).filter(is_chosen).collect();
                change(engine, "optouts", ListChange::Replace, &singles(&after));
                told.set_all(&chosen, true);
            }
        }
    }
}

/// Two pools with the same numbers use the list. Some of the numbers are added later, one by one, while segments
/// are merged.
#[test]
fn no_listed_number_is_leased() {
    for durability in [Durability::Sync, Durability::None] {
        let dir = tempfile::tempdir().unwrap();
        let config = EngineConfig { growing_numbers: 8, durability, ..EngineConfig::new(dir.path(), 10) };
        let engine = Engine::open(&config).unwrap();
        engine.create_list(name("optouts"), None).unwrap();
        let half = [range(1, NUMBERS / 2)];
        let pools = ["p", "q"].map(|pool| create(&engine, pool, &half, &blocked_by(&["optouts"])));
        let told = Told((0..=NUMBERS).map(|_| AtomicU64::new(0)).collect());
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for seed in 0..4 {
                let pool = &pools[seed as usize % 2];
                let (engine, told, stop) = (&engine, &told, &stop);
                scope.spawn(move || caller(engine, pool, told, seed, stop));
            }
            let pools = &pools;
            scope.spawn(move || {
                for value in NUMBERS / 2 + 1..=NUMBERS {
                    for pool in pools {
                        pool.add_numbers(NumberSource::Ranges(&[range(value, value)])).unwrap();
                    }
                    pools[value as usize % 2].merge_now(20).unwrap();
                }
            });
            operator(&engine, &told, 77, Instant::now() + Duration::from_millis(1_500));
            stop.store(true, Ordering::Relaxed);
        });
        // At rest, the list, the words, the bits and the counts agree.
        let list = engine.list(name("optouts")).unwrap();
        let mut worker = engine.worker();
        // A lease of a second can last two.
        std::thread::sleep(Duration::from_millis(2_200));
        for pool in &pools {
            pool.sweep_due(&mut worker);
            let listed = (1..=NUMBERS).filter(|n| list.contains(number(*n))).count() as u64;
            let counts = pool.counts();
            assert_eq!((counts.blocked, counts.available), (listed, NUMBERS - listed), "{durability:?}");
            let left = lease(pool, &mut worker, 1_000);
            let expected: Vec<_> = (1..=NUMBERS).filter(|n| !list.contains(number(*n))).collect();
            assert_eq!(numbers(&left), expected);
        }
        for (value, times) in told.get().into_iter().enumerate().skip(1) {
            assert!(times % 2 == 0 || list.contains(number(value as u64)), "{value}");
        }
    }
}

#[test]
fn what_comes_later_is_blocked_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    engine
        .create_list(name("national"), Some(NumberSource::Ranges(&[range(10, 19), range(500, 999)])))
        .unwrap();
    engine.create_list(name("optouts"), None).unwrap();
    let both = blocked_by(&["national", "optouts"]);
    let pool = create(&engine, "p", &[range(1, 30)], &both);
    let mut worker = engine.worker();
    let counts = pool.counts();
    assert_eq!((counts.numbers, counts.available, counts.blocked), (30, 20, 10));
    // Many make a segment of their own, few gather in one that grows.
    assert_eq!(pool.add_numbers(NumberSource::Ranges(&[range(400, 599)])).unwrap().added, 200);
    assert_eq!(pool.add_numbers(NumberSource::Ranges(&[range(998, 1_001)])).unwrap().added, 4);
    assert_eq!(pool.counts().blocked, 10 + 100 + 2);
    let leased = lease(&pool, &mut worker, 1_000);
    let expected: Vec<_> = (1..=9).chain(20..=30).chain(400..=499).chain(1_000..=1_001).collect();
    assert_eq!(numbers(&leased), expected);
    // On two lists, taken off one: still blocked.
    change(&engine, "optouts", ListChange::Add, &[range(10, 10), range(1, 1)]);
    assert_eq!(pool.blocked_by(number(10)), [name("national"), name("optouts")]);
    let report = change(&engine, "national", ListChange::Remove, &[range(10, 11)]);
    assert_eq!((report.removed, report.pools[0].unblocked), (2, 1));
    assert_eq!(numbers(&lease(&pool, &mut worker, 1_000)), [11]);
    // The lease of 1 goes on, but is not renewed; the number is blocked when it comes back.
    let first = leases_of(&leased, 1);
    let mut results = Vec::new();
    pool.renew(&mut worker, &[held(&first)], None, &mut results).unwrap();
    assert_eq!(results, [RenewResult::Blocked { expires_at: first.expires_at }]);
    assert_eq!(pool.lookup(number(1)).unwrap().state, State::Leased);
    let (result, _) = give_back(&pool, &mut worker, &first, NextState::Available);
    assert_eq!(
        result,
        ReturnResult::Returned { state: State::Blocked, available_at: None, before: Some(first.expires_at) }
    );
    assert_eq!(lease(&pool, &mut worker, 1), []);
    // Reinstated, it is still blocked; without the lists it is what its word says.
    let one = [range(1, 1)];
    pool.retire(NumberSource::Ranges(&one), false).unwrap();
    assert_eq!(pool.lookup(number(1)).unwrap().state, State::Retired);
    pool.reinstate(NumberSource::Ranges(&one), false).unwrap();
    assert_eq!(
        (pool.lookup(number(1)).unwrap().state, lease(&pool, &mut worker, 1)),
        (State::Blocked, vec![])
    );
    pool.change_settings(&blocked_by(&["national"])).unwrap();
    assert_eq!(numbers(&lease(&pool, &mut worker, 1_000)), [1, 10]);
}

fn leases_of(leases: &[Lease], value: u64) -> Lease {
    *leases.iter().find(|lease| lease.number == number(value)).unwrap()
}

#[test]
fn a_list_in_use_stays_and_one_that_is_missing_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let settings = |change: &SettingsChange| Settings::of_new_pool(change).unwrap();
    let refused = engine.create_pool(
        &"p".parse().unwrap(),
        settings(&blocked_by(&["optouts"])),
        NumberSource::Ranges(&[range(1, 9)]),
    );
    assert!(refused.unwrap_err().to_string().contains("no list optouts"));
    assert!(engine.pool("p").is_none());
    engine.create_list(name("optouts"), None).unwrap();
    assert!(matches!(engine.create_list(name("optouts"), None), Err(ListError::Exists(_))));
    let pool = create(&engine, "p", &[range(1, 9)], &blocked_by(&["optouts"]));
    let missing = pool.change_settings(&blocked_by(&["optouts", "other"]));
    assert!(matches!(missing, Err(ChangeError::List(_))), "{missing:?}");
    let rules = [("no".to_owned(), NextState::List(name("optouts")))].into();
    pool.change_settings(&SettingsChange { outcomes: Some(rules), ..blocked_by(&[]) }).unwrap();
    let in_use = engine.delete_list(name("optouts"));
    assert!(matches!(&in_use, Err(ListError::InUse { pools, .. }) if pools == "p"), "{in_use:?}");
    let none = SettingsChange { outcomes: Some([].into()), ..SettingsChange::default() };
    pool.change_settings(&none).unwrap();
    engine.delete_list(name("optouts")).unwrap();
    assert!(matches!(engine.delete_list(name("optouts")), Err(ListError::NotFound(_))));
    // One that is created again is another list.
    engine.create_list(name("optouts"), None).unwrap();
    drop((pool, engine));
    assert_eq!(open(dir.path()).list(name("optouts")).unwrap().numbers(), 0);
}

/// The numbers of a list.
fn content(engine: &Engine, list: &str) -> Vec<NumberRange> {
    engine.list(name(list)).unwrap().snapshot().ranges().collect()
}

/// Small changes, large ones and an exchange, then the process ends without a close.
#[test]
fn a_list_survives_the_process_and_its_backup() {
    let dir = tempfile::tempdir().unwrap();
    let (data, target) = (dir.path().join("data"), dir.path().join("restored"));
    let config = EngineConfig { growing_numbers: 8, ..EngineConfig::new(&data, 4) };
    let mut engine = Engine::open(&config).unwrap();
    engine.create_list(name("optouts"), Some(NumberSource::Ranges(&[range(1, 1_000)]))).unwrap();
    let pool = create(&engine, "p", &[range(1, 3_000)], &blocked_by(&["optouts"]));
    let mut worker = engine.worker();
    let first = lease(&pool, &mut worker, 1).remove(0);
    let mut optouts = vec![range(first.number.get(), first.number.get())];
    let (_, position) = give_back(&pool, &mut worker, &first, NextState::List(name("optouts")));
    wait_for(&engine, &worker, position);
    change(&engine, "optouts", ListChange::Remove, &[range(500, 600)]);
    change(&engine, "optouts", ListChange::Add, &[range(550, 550), range(3_001, 4_100_000)]);
    change(&engine, "optouts", ListChange::Remove, &[range(4_000_001, 5_000_000_000)]);
    optouts.extend([range(1, 499), range(550, 550), range(601, 1_000), range(3_001, 4_000_000)]);
    let expected = NumberRange::disjoint(optouts);
    assert_eq!(content(&engine, "optouts"), expected);
    drop((pool, worker, engine));

    engine = Engine::open(&config).unwrap();
    assert_eq!(content(&engine, "optouts"), expected);
    let pool = engine.pool("p").unwrap();
    let blocked = pool.counts().blocked;
    assert_eq!(blocked, expected.iter().filter(|r| r.first().get() <= 3_000).map(|r| r.len()).sum::<u64>());
    // More than goes through the journal: the set is written anew, over all that was changed before.
    let odd: Vec<_> = (0..70_000).map(|n| range(10_000_000 + 2 * n, 10_000_000 + 2 * n)).collect();
    assert_eq!(change(&engine, "optouts", ListChange::Add, &odd).added, 70_000);
    change(&engine, "optouts", ListChange::Add, &[range(2_999, 3_000)]);
    let expected = NumberRange::disjoint([expected, odd, vec![range(2_999, 3_000)]].concat());
    assert_eq!(content(&engine, "optouts"), expected);
    let mut worker = engine.worker();
    assert!(
        numbers(&lease(&pool, &mut worker, 10))
            .iter()
            .all(|n| !engine.list(name("optouts")).unwrap().contains(number(*n)))
    );
    let backup = engine.backup(Some(&"one".parse().unwrap()), &|| false).unwrap();
    change(&engine, "optouts", ListChange::Replace, &[range(7, 7)]);
    assert_eq!((content(&engine, "optouts"), pool.counts().blocked), (vec![range(7, 7)], 1));
    let at = data.join("backups").join(backup.name);
    assert_eq!(check_directory(&at).unwrap().faults, []);
    drop((pool, worker, engine));
    assert_eq!(check_directory(&data).unwrap().faults, []);

    engine = Engine::open(&config).unwrap();
    assert_eq!(content(&engine, "optouts"), [range(7, 7)]);
    engine.close().unwrap();
    drop(engine);
    let checked = check_directory(&data).unwrap();
    assert_eq!((checked.lists, checked.faults), (1, vec![]));
    restore(&RealDisk, &at, &target, Serving::AtOnce).unwrap();
    let engine = Engine::open(&EngineConfig { growing_numbers: 8, ..EngineConfig::new(&target, 4) }).unwrap();
    assert_eq!(content(&engine, "optouts"), expected);
    assert_eq!(engine.pool("p").unwrap().counts().blocked, blocked + 2);
}

/// Damage of a list is never taken for an empty one.
/// Many ranges in one call are merged with the list; few in each of many calls are looked up in it.
#[test]
fn many_ranges_change_a_list_as_few_do() {
    const RANGES: u64 = 70_000;
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(&EngineConfig::new(dir.path(), 2)).unwrap();
    let lists = ["many", "few"];
    let pools = lists.map(|list| {
        engine.create_list(name(list), Some(NumberSource::Ranges(&[range(5_000, 60_000)]))).unwrap();
        create(&engine, list, &[range(1, 200_000)], &blocked_by(&[list]))
    });
    let spread = |step: u64, len: u64| -> Vec<_> {
        (0..RANGES).map(|n| range(1 + step * n, step * n + len)).collect()
    };
    for (kind, ranges) in [
        (ListChange::Add, spread(3, 2)),
        (ListChange::Add, spread(4, 1)),
        (ListChange::Remove, spread(5, 3)),
        (ListChange::Add, spread(2, 1)),
        (ListChange::Remove, spread(2, 1)),
    ] {
        let many = change(&engine, "many", kind, &ranges);
        let few: Vec<_> = ranges.chunks(10_000).map(|ranges| change(&engine, "few", kind, ranges)).collect();
        let sums = few.iter().fold((0, 0, 0, 0), |sums, report| {
            let effect = &report.pools[0];
            let (added, removed) = (sums.0 + report.added, sums.1 + report.removed);
            (added, removed, sums.2 + effect.blocked, sums.3 + effect.unblocked)
        });
        let effect = &many.pools[0];
        assert_eq!((many.added, many.removed, effect.blocked, effect.unblocked), sums, "{kind:?}");
        assert!(many.added + many.removed > 0, "{kind:?}");
        assert_eq!(content(&engine, "many"), content(&engine, "few"), "{kind:?}");
        assert_eq!(pools[0].counts(), pools[1].counts(), "{kind:?}");
    }
}

#[test]
fn a_damaged_or_missing_list_stops_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    engine.create_list(name("optouts"), Some(NumberSource::Ranges(&[range(1, 5)]))).unwrap();
    create(&engine, "p", &[range(1, 9)], &blocked_by(&["optouts"]));
    change(&engine, "optouts", ListChange::Add, &[range(8, 8)]);
    engine.close().unwrap();
    drop(engine);
    let list = dir.path().join("lists/optouts");
    for file in ["0001.numbers", "list.toml", "changes"] {
        let path = list.join(file);
        let right = std::fs::read(&path).unwrap();
        let mut wrong = right.clone();
        *wrong.last_mut().unwrap() ^= 1;
        std::fs::write(&path, &wrong).unwrap();
        let error = Engine::open(&super::config(dir.path())).err().unwrap().to_string();
        assert!(error.contains(file) && error.contains("damaged"), "{error}");
        assert_eq!(check_directory(dir.path()).unwrap().faults.len(), 1, "{file}");
        std::fs::write(&path, &right).unwrap();
    }
    std::fs::rename(&list, dir.path().join("elsewhere")).unwrap();
    let error = Engine::open(&super::config(dir.path())).err().unwrap().to_string();
    assert!(error.contains("the pool p names the list optouts"), "{error}");
    let faults = check_directory(dir.path()).unwrap().faults;
    assert!(faults.iter().any(|fault| fault.what.contains("the list optouts")), "{faults:?}");
    let config = EngineConfig { recover_damaged: true, ..super::config(dir.path()) };
    let engine = Engine::open(&config).unwrap();
    let pool = engine.pool("p").unwrap();
    assert!(pool.is_paused() && pool.settings().blocked_by.is_empty());
}

/// What a list holds while one pool after the other begins to use it, and lets go of it.
#[test]
fn pools_come_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    engine.create_list(name("optouts"), None).unwrap();
    let pools: Vec<Arc<Pool>> = (0..10)
        .map(|pool| create(&engine, &format!("p{pool}"), &[range(1, 100)], &SettingsChange::default()))
        .collect();
    for (turn, pool) in (1..).zip(&pools) {
        pool.change_settings(&blocked_by(&["optouts"])).unwrap();
        let report = change(&engine, "optouts", ListChange::Add, &[range(turn, turn)]);
        assert_eq!(report.pools.len() as u64, turn);
        assert!(report.pools.iter().all(|effect| (effect.blocked, effect.unblocked) == (1, 0)));
    }
    engine.delete_pool("p3", false).unwrap();
    pools[0].change_settings(&blocked_by(&[])).unwrap();
    assert_eq!(pools.iter().map(|pool| pool.counts().blocked).sum::<u64>(), 9 * 10);
    let report = change(&engine, "optouts", ListChange::Remove, &[range(1, 100)]);
    assert_eq!((report.removed, report.pools.len()), (10, 8));
    assert!(report.pools.iter().all(|effect| effect.unblocked == 10));
    assert_eq!(engine.pools().iter().map(|pool| pool.counts().blocked).sum::<u64>(), 0);
    assert_eq!(engine.pools_using(name("optouts")).len(), 8);
}

/// Pools begin and cease to use a list, and numbers are added to them, while numbers go onto the list and off it. In the
/// end the bits are what the lists say.
#[test]
fn uses_and_changes_of_a_list_at_once() {
    const NUMBERS: u64 = 300;
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    engine.create_list(name("optouts"), None).unwrap();
    engine
        .create_list(name("national"), Some(NumberSource::Ranges(&[range(1, 20), range(290, 310)])))
        .unwrap();
    let pools: Vec<Arc<Pool>> = (0..3)
        .map(|pool| create(&engine, &format!("p{pool}"), &[range(1, 100)], &SettingsChange::default()))
        .collect();
    std::thread::scope(|scope| {
        for pool in &pools {
            scope.spawn(move || {
                for turn in 0..60 {
                    let lists: &[&str] = [&["optouts"][..], &[], &["national", "optouts"]][turn % 3];
                    pool.change_settings(&blocked_by(lists)).unwrap();
                }
            });
            scope.spawn(move || {
                for value in 101..=NUMBERS {
                    pool.add_numbers(NumberSource::Ranges(&[range(value, value)])).unwrap();
                }
            });
        }
        for first in [0, 1] {
            let engine = &engine;
            scope.spawn(move || {
                // Each thread has numbers of its own.
                for turn in 0..150 {
                    let value = 2 * (turn * 7 % 150) + 1 + first;
                    change(engine, "optouts", ListChange::Add, &[range(value, value)]);
                    if turn % 3 == 0 {
                        change(engine, "optouts", ListChange::Remove, &[range(value, value)]);
                    }
                }
            });
        }
    });
    let lists = ["optouts", "national"].map(|list| engine.list(name(list)).unwrap());
    let expected: Vec<u64> =
        (1..=NUMBERS).filter(|n| lists.iter().all(|list| !list.contains(number(*n)))).collect();
    assert!(expected.len() > 50 && expected.len() < 200, "{}", expected.len());
    let mut worker = engine.worker();
    for pool in &pools {
        assert_eq!(numbers(&lease(pool, &mut worker, 1_000)), expected);
    }
}

/// How long large changes take: a million numbers onto a list that ten pools of four million use, and the exchange of
/// a list of forty million that differs in one of a hundred. `cargo test --test engine large_changes -- --ignored
/// --nocapture`.
#[test]
#[ignore = "prints times, takes a gigabyte"]
fn large_changes() {
    const POOL: u64 = 4_000_000;
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(&EngineConfig::new(dir.path(), 2)).unwrap();
    engine.create_list(name("optouts"), None).unwrap();
    engine.create_list(name("national"), Some(NumberSource::Ranges(&[range(POOL + 1, 11 * POOL)]))).unwrap();
    for pool in 0..10 {
        create(&engine, &format!("p{pool}"), &[range(1, POOL)], &blocked_by(&["optouts", "national"]));
    }
    let timed = |what: &str, work: &dyn Fn() -> ListReport| {
        let started = Instant::now();
        let report = work();
        let took = started.elapsed();
        println!("{what}: {took:?}, {} added, {} removed", report.added, report.removed);
        report
    };
    let million: Vec<_> = (0..1_000_000).map(|n| range(4 * n + 1, 4 * n + 1)).collect();
    let report = timed("a million, ten pools", &|| change(&engine, "optouts", ListChange::Add, &million));
    assert!(report.pools.iter().all(|effect| effect.blocked == 1_000_000));
    let next: Vec<_> = (0..400_000).map(|n| range(POOL + 100 * n + 1, POOL + 100 * n + 99)).collect();
    let report =
        timed("an exchange of forty million", &|| change(&engine, "national", ListChange::Replace, &next));
    assert_eq!(report.removed, 400_000);
    let report =
        timed("of single numbers", &|| change(&engine, "optouts", ListChange::Remove, &million[..60_000]));
    assert_eq!(report.removed, 60_000);
}
