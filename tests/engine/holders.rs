//! Holders under many threads: counts, limits, and what a start finds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use allotd::domain::holder::HolderName;
use allotd::domain::settings::{NextState, SettingsChange};
use allotd::engine::operations::import::NumberSource;
use allotd::engine::operations::lease::{LeaseError, LeaseRequest};
use allotd::engine::operations::lease_ref::LeaseRef;
use allotd::engine::operations::return_leases::ReturnItem;
use allotd::engine::{Engine, EngineConfig, Pool};
use allotd::state::number_state::State;

use super::{create, number, open, range};

const HOLDERS: [&str; 3] = ["a", "b", "one with a name that takes several records"];
const ROUNDS: u64 = 400;

fn name(holder: u64) -> HolderName {
    HOLDERS[holder as usize % HOLDERS.len()].parse().unwrap()
}

fn ask(count: u32, ttl: u32) -> LeaseRequest<'static> {
    LeaseRequest { count, ttl_seconds: Some(ttl), within: None }
}

fn tracking() -> SettingsChange {
    SettingsChange { holders: Some(true), ..SettingsChange::default() }
}

/// What each holder has by the look-ups of all numbers, after it was held against the lists and the counts.
fn agreed(pool: &Pool) -> BTreeMap<String, Vec<u64>> {
    let mut looked_up: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for value in 1_000..4_000 {
        let Some(seen) = pool.lookup(number(value)).filter(|seen| seen.state == State::Leased) else {
            continue;
        };
        if let Some(name) = pool.holder_name(seen.holder) {
            looked_up.entry(name.to_string()).or_default().push(value);
        }
    }
    for holder in 0..HOLDERS.len() as u64 {
        let name = name(holder);
        let listed: Vec<_> = pool.held_by(&name, usize::MAX).iter().map(|lease| lease.number.get()).collect();
        assert_eq!(listed, looked_up.get(name.as_str()).cloned().unwrap_or_default(), "{name}");
        assert_eq!(pool.leases_of(&name), listed.len() as u64, "{name}");
    }
    let leased = looked_up.values().map(|numbers| numbers.len() as u64).sum::<u64>();
    assert_eq!(pool.holder_summary(9).leased, leased);
    looked_up
}

/// Leases for holders and for nobody, late renewals, returns.
fn work(engine: &Engine, pool: &Pool, thread: u64, stop: &AtomicBool) {
    let mut worker = engine.worker();
    let (mut leases, mut held) = (Vec::new(), Vec::<LeaseRef>::new());
    let (mut renewed, mut returned) = (Vec::new(), Vec::new());
    for turn in thread.. {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let request = ask(1 + turn as u32 % 5, 1 + turn as u32 % 7);
        let result = match turn % 4 {
            0 => pool.lease(&mut worker, &request, &mut leases),
            _ => pool.lease_for(&mut worker, &name(turn), &request, &mut leases),
        };
        match result {
            Ok(_) => held.extend(leases.iter().map(|l| LeaseRef { number: l.number, token: Some(l.token) })),
            Err(LeaseError::Exhausted | LeaseError::NoHolders | LeaseError::Busy) => {}
            Err(error) => panic!("{error}"),
        }
        let few: Vec<LeaseRef> = held.iter().rev().step_by(3).take(4).copied().collect();
        pool.renew(&mut worker, &few, Some(5), &mut renewed).unwrap();
        let keep = held.len() / 2;
        let then = [NextState::Available, NextState::Rest(1)][turn as usize % 2];
        let items: Vec<_> =
            held.drain(keep..).map(|lease| ReturnItem { lease, then, outcome: None }).collect();
        pool.return_leases(&mut worker, &items, &mut returned).unwrap();
        if turn % 3 == 0 {
            pool.sweep_due(&mut worker);
        }
    }
}

/// Additions, merges, time, and the ends of all that a holder has.
fn operate(engine: &Engine, pool: &Arc<Pool>) {
    for round in 0..ROUNDS {
        if round == ROUNDS / 10 {
            pool.change_settings(&tracking()).unwrap();
        }
        if round % 4 == 0 {
            let new = 2_000 + round * 2;
            pool.add_numbers(NumberSource::Ranges(&[range(new, new + 1)])).unwrap();
        }
        pool.merge_now(40).unwrap();
        match round % 16 {
            5 => drop(pool.return_all(&name(round), NextState::Available, None).unwrap()),
            9 => drop(pool.release_all(&name(round), false).unwrap()),
            13 => drop(pool.retire(NumberSource::Ranges(&[range(1_000 + round, 1_000 + round)]), false)),
            _ => {}
        }
        if round % 8 == 0 {
            engine.clock().skip(1);
        }
    }
}

#[test]
fn counts_lists_and_look_ups_agree_after_races_and_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let pool = create(&engine, "p", &[range(1_000, 1_599)], &SettingsChange::default());
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (engine, pool, stop) = (&engine, &pool, &stop);
            scope.spawn(move || work(engine, pool, thread, stop));
        }
        operate(&engine, &pool);
        stop.store(true, Ordering::SeqCst);
    });
    let mut worker = engine.worker();
    agreed(&pool);
    // All leases and rests have ended.
    engine.clock().skip(60);
    pool.sweep_due(&mut worker);
    assert_eq!(agreed(&pool), BTreeMap::new());
    let mut leases = Vec::new();
    pool.lease_for(&mut worker, &name(0), &ask(7, 3_600), &mut leases).unwrap();
    pool.lease_for(&mut worker, &name(2), &ask(20, 3_600), &mut leases).unwrap();
    let before = agreed(&pool);
    assert_eq!((before[HOLDERS[2]].len(), before[HOLDERS[0]].len()), (20, 7));
    pool.settle().unwrap();
    drop((worker, pool, engine));
    let engine = open(dir.path());
    let pool = engine.pool("p").unwrap();
    assert_eq!(agreed(&pool), before);
}

#[test]
fn a_holder_never_has_more_than_it_may_however_many_threads_lease_for_it() {
    const MOST: u32 = 100;
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let change = SettingsChange { max_per_holder: Some(Some(MOST)), ..tracking() };
    let pool = create(&engine, "p", &[range(1_000, 1_999)], &change);
    let got: Vec<usize> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|thread: u32| {
                let (engine, pool) = (&engine, &pool);
                scope.spawn(move || {
                    let (mut worker, mut leases, mut got) = (engine.worker(), Vec::new(), 0);
                    loop {
                        match pool.lease_for(&mut worker, &name(0), &ask(1 + thread, 60), &mut leases) {
                            Ok(_) => got += leases.len(),
                            Err(LeaseError::HolderQuota(quota)) => {
                                assert!(quota.has >= MOST && quota.most == MOST, "{quota:?}");
                                return got;
                            }
                            Err(error) => panic!("{error}"),
                        }
                    }
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(got.iter().sum::<usize>(), MOST as usize);
    assert_eq!((agreed(&pool)["a"].len(), pool.counts().leased), (MOST as usize, MOST.into()));
}

/// Prints how long the calls on one holder take: `cargo test --test engine -- --ignored --nocapture forty_million`.
#[test]
#[ignore = "a measurement: a minute, and 1 GB of memory and disk"]
fn a_holder_among_forty_million_numbers() {
    const NUMBERS: u64 = 40_000_000;
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(&EngineConfig::new(dir.path(), 2)).unwrap();
    let first = 79_000_000_000;
    let pool = create(&engine, "p", &[range(first, first + NUMBERS - 1)], &tracking());
    let mut worker = engine.worker();
    let mut leases = Vec::new();
    let mut lease = |holder: &str, count: u64| {
        for _ in 0..count / 10_000 {
            let name: HolderName = holder.parse().unwrap();
            pool.lease_for(&mut worker, &name, &ask(10_000, 3_600), &mut leases).unwrap();
            assert_eq!(leases.len(), 10_000);
        }
    };
    for others in [0, 2_000_000, 18_000_000] {
        lease("others", others);
        lease("c-17", 10_000);
        let name: HolderName = "c-17".parse().unwrap();
        let started = Instant::now();
        assert_eq!(pool.held_by(&name, 65_536).len(), 10_000);
        let listed = started.elapsed();
        let started = Instant::now();
        assert_eq!(pool.return_all(&name, NextState::Available, None).unwrap().returned, 10_000);
        println!("beside {others} more: listed in {listed:?}, 10,000 returned in {:?}", started.elapsed());
    }
}
