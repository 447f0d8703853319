//! Lists under a loss of power: what was confirmed to be on one stays on it, and is not leased.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use allotd::check::check_directory;
use allotd::domain::list_name::ListName;
use allotd::domain::settings::{NextState, Settings, SettingsChange};
use allotd::engine::lists::operations::ListChange;
use allotd::engine::operations::import::NumberSource;
use allotd::engine::operations::lease::LeaseRequest;
use allotd::engine::operations::lease_ref::LeaseRef;
use allotd::engine::operations::return_leases::{ReturnItem, ReturnResult};
use allotd::engine::{Engine, EngineConfig, Worker};
use allotd::numbers::number::{Number, NumberRange};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::clocks::FakeClocks;
use super::power::PowerDisk;
use super::replay::any_kept;
use super::{config, scratch, seed, setting};

const NUMBERS: u64 = 90;
const STEPS: usize = 150;
const CRASH_POINTS: u64 = 150;
const LIST: &str = "optouts";

/// What a call does to the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    On,
    Off,
}

/// One call: after how many events it began and was confirmed, and what it says of some numbers.
struct Call {
    begun: u64,
    confirmed: u64,
    effects: Vec<(u64, Effect)>,
}

fn name() -> ListName {
    LIST.parse().unwrap()
}

fn range(first: u64, last: u64) -> NumberRange {
    NumberRange::new(Number::new(first).unwrap(), Number::new(last).unwrap()).unwrap()
}

/// Leases a number and returns it onto the list.
fn opt_out(engine: &Engine, worker: &mut Worker) -> Vec<(u64, Effect)> {
    let pool = engine.pool("p").unwrap();
    let (mut leases, mut results) = (Vec::new(), Vec::new());
    let request = LeaseRequest { count: 1, ttl_seconds: None, within: None };
    if pool.lease(worker, &request, &mut leases).is_err() {
        return Vec::new();
    }
    let lease = LeaseRef { number: leases[0].number, token: Some(leases[0].token) };
    let item = ReturnItem { lease, then: NextState::List(name()), outcome: None };
    let position = pool.return_leases(worker, &[item], &mut results).unwrap();
    assert!(matches!(results[0], ReturnResult::Returned { .. }));
    while !engine.journal().is_committed(worker.slot(), position) {
        engine.journal().wake_writer();
        std::thread::yield_now();
    }
    vec![(lease.number.get(), Effect::On)]
}

fn step(engine: &Engine, worker: &mut Worker, random: &mut StdRng) -> Vec<(u64, Effect)> {
    let chosen: BTreeSet<u64> =
        (0..random.random_range(1..6)).map(|_| random.random_range(1..=NUMBERS)).collect();
    let ranges: Vec<_> = chosen.iter().map(|number| range(*number, *number)).collect();
    let change = |change| {
        engine.change_list(name(), change, NumberSource::Ranges(&ranges), false).unwrap();
    };
    let all = |effect| chosen.iter().map(|number| (*number, effect)).collect::<Vec<_>>();
    match random.random_range(0..12) {
        0..4 => {
            change(ListChange::Add);
            all(Effect::On)
        }
        4..7 => {
            change(ListChange::Remove);
            all(Effect::Off)
        }
        7 => {
            change(ListChange::Replace);
            let effect = |n| (n, if chosen.contains(&n) { Effect::On } else { Effect::Off });
            (1..=NUMBERS).map(effect).collect()
        }
        _ => opt_out(engine, worker),
    }
}

/// The states that a number can be in after a loss of power: that of the last confirmed call and those of calls
/// that had begun.
fn possible(calls: &[Call], number: u64, at: u64) -> BTreeSet<bool> {
    let mut possible = BTreeSet::from([false]);
    for call in calls.iter().filter(|call| call.begun < at) {
        if let Some((_, effect)) = call.effects.iter().find(|(other, _)| *other == number) {
            if call.confirmed <= at {
                possible.clear();
            }
            possible.insert(*effect == Effect::On);
        }
    }
    possible
}

fn verify(dir: &Path, calls: &[Call], at: u64, clocks: &Arc<FakeClocks>) -> Result<(), String> {
    let faults = check_directory(dir).map_err(|error| error.to_string())?.faults;
    if !faults.is_empty() {
        return Err(format!("{faults:?}"));
    }
    let engine = Engine::open(&config(dir, clocks)).map_err(|error| error.to_string())?;
    let list = engine.list(name()).map_err(|error| error.to_string())?;
    let (pool, mut worker) = (engine.pool("p").ok_or("no pool")?, engine.worker());
    for value in 1..=NUMBERS {
        let (is_listed, possible) = (list.contains(Number::new(value).unwrap()), possible(calls, value, at));
        if !possible.contains(&is_listed) {
            return Err(format!("{value} is listed: {is_listed}, possible is {possible:?}"));
        }
    }
    let mut leases = Vec::new();
    let request = LeaseRequest { count: 1_000, ttl_seconds: None, within: None };
    let _ = pool.lease(&mut worker, &request, &mut leases);
    match leases.iter().find(|lease| list.contains(lease.number)) {
        Some(lease) => Err(format!("{} is leased and on the list", lease.number)),
        None => Ok(()),
    }
}

/// Returns how many losses of power there were, and the failures.
fn campaign(points: u64, seed: u64, mutant: bool) -> (u64, Vec<String>) {
    let random = &mut StdRng::seed_from_u64(seed);
    let dir = scratch();
    let disk = Arc::new(PowerDisk::over(dir.path()));
    let clocks = Arc::new(FakeClocks::default());
    let config = EngineConfig { disk: disk.clone(), ..config(dir.path(), &clocks) };
    let mut engine = Engine::open(&config).unwrap();
    engine.create_list(name(), None).unwrap();
    let change = SettingsChange { blocked_by: Some(vec![name()]), ..SettingsChange::default() };
    let settings = Settings::of_new_pool(&change).unwrap();
    engine.create_pool(&"p".parse().unwrap(), settings, NumberSource::Ranges(&[range(1, NUMBERS)])).unwrap();
    let ready = disk.position();
    let mut calls = Vec::new();
    let mut worker = engine.worker();
    for _ in 0..STEPS {
        let begun = disk.position();
        let effects = step(&engine, &mut worker, random);
        calls.push(Call { begun, confirmed: disk.position(), effects });
        if random.random_ratio(1, 25) {
            if random.random_bool(0.5) {
                engine.close().unwrap();
            }
            disk.set_off(true);
            drop((worker, engine));
            disk.set_off(false);
            engine = Engine::open(&config).unwrap();
            worker = engine.worker();
        }
    }
    disk.set_off(true);
    drop((worker, engine));
    let (mut replay, events) = disk.trace();
    replay.ignores_sync = mutant;
    let share = (points as f64 / events.len() as f64).min(1.0);
    let (mut done, mut failures) = (0, Vec::new());
    for (at, event) in (1..).zip(&events) {
        replay.apply(event);
        if at >= ready && random.random_bool(share) {
            let scratch = scratch();
            let (dir, kept) = (scratch.path().join("a"), any_kept(random));
            replay.lose_power(&dir, kept, random);
            let verified = verify(&dir, &calls, at, &clocks);
            failures.extend(verified.err().map(|error| format!("after {at} events, {kept:?} kept: {error}")));
            done += 1;
        }
    }
    (done, failures)
}

#[test]
fn a_confirmed_list_survives_the_power() {
    let (done, failures) = campaign(setting("ALLOTD_CRASH_POINTS", CRASH_POINTS), seed(), false);
    let first = &failures[..3.min(failures.len())];
    assert!(failures.is_empty(), "{} of {done} failed, the first: {first:#?}", failures.len());
    let (done, failures) = campaign(CRASH_POINTS / 3, seed(), true);
    assert!(
        failures.len() as u64 * 3 > done,
        "of a disk that does not sync {} of {done} fail",
        failures.len()
    );
}
