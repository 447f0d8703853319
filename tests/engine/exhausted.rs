//! "Exhausted" is true, and proving it costs no more than the numbers that the call could choose from.

use std::sync::atomic::{AtomicBool, Ordering};

use allotd::domain::settings::{NextState, SettingsChange};
use allotd::engine::operations::lease::{LeaseError, LeaseRequest};
use allotd::engine::operations::lease_ref::LeaseRef;
use allotd::engine::operations::return_leases::ReturnItem;
use allotd::engine::{Pool, Worker};
use allotd::state::number_state::State;

use super::{create, number, open, range};

const NUMBERS: u64 = 300_000;

/// Leases all numbers of a pool for `ttl` seconds.
fn lease_all(pool: &Pool, worker: &mut Worker, ttl_seconds: u32) -> Vec<LeaseRef> {
    let (mut all, mut leases) = (Vec::new(), Vec::new());
    let request = LeaseRequest { count: 50_000, ttl_seconds: Some(ttl_seconds), within: None };
    while pool.lease(worker, &request, &mut leases).is_ok() {
        all.extend(leases.iter().map(|lease| LeaseRef { number: lease.number, token: Some(lease.token) }));
    }
    all
}

/// While a round opens, a number that is seen available before and after a call within it, and that nobody
/// leased meanwhile, is not "exhausted".
#[test]
fn a_number_that_is_seen_available_can_be_leased_while_a_round_opens() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let pool = create(&engine, "p", &[range(1, NUMBERS)], &SettingsChange::default());
    let mut worker = engine.worker();
    for _ in 0..3 {
        let held = lease_all(&pool, &mut worker, 600);
        let done = |lease| ReturnItem { lease, then: NextState::Done, outcome: None };
        let items: Vec<_> = held.into_iter().map(done).collect();
        pool.return_leases(&mut worker, &items, &mut Vec::new()).unwrap();
        let opened = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                pool.start_round().unwrap();
                opened.store(true, Ordering::SeqCst);
            });
            let mut at = NUMBERS;
            while !opened.load(Ordering::SeqCst) && at > 0 {
                // From the end: the scan begins at the other one.
                let only = pool.within(&[range(at, at)]);
                let request = LeaseRequest { count: 1, ttl_seconds: None, within: Some(&only) };
                let before = pool.lookup(number(at)).unwrap();
                if before.state == State::Available {
                    let leased = pool.lease(&mut worker, &request, &mut Vec::new());
                    let after = pool.lookup(number(at)).unwrap();
                    let falsely = leased == Err(LeaseError::Exhausted) && after == before;
                    assert!(!falsely, "{at} was available all the time");
                    at -= 1;
                }
            }
        });
    }
}

/// A lease within one taken number sweeps at most the block of that number, not all that is due in the pool.
#[test]
fn a_lease_within_one_number_does_not_sweep_the_pool() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let pool = create(&engine, "p", &[range(1, NUMBERS)], &SettingsChange::default());
    let mut worker = engine.worker();
    let only = pool.within(&[range(7, 7)]);
    let request = LeaseRequest { count: 1, ttl_seconds: Some(80_000), within: Some(&only) };
    // The sweeper works beside this; in some of the tries it has not begun.
    let spared = (0..20).any(|_| {
        pool.lease(&mut worker, &request, &mut Vec::new()).unwrap();
        lease_all(&pool, &mut worker, 1);
        engine.clock().skip(5);
        assert_eq!(pool.lease(&mut worker, &request, &mut Vec::new()), Err(LeaseError::Exhausted));
        let spared = pool.counts().leased > NUMBERS / 2;
        pool.sweep_due(&mut worker);
        engine.clock().skip(80_010);
        pool.sweep_due(&mut worker);
        spared
    });
    assert!(spared, "each time all was swept when the lease was answered");
}

/// Numbers come and go elsewhere in the pool all the time: a proof about one number is found nevertheless.
#[test]
fn traffic_elsewhere_does_not_disturb_a_proof() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let pool = create(&engine, "p", &[range(1, NUMBERS)], &SettingsChange::default());
    let mut worker = engine.worker();
    let (taken, elsewhere) = (pool.within(&[range(1, 1_000)]), pool.within(&[range(200_000, NUMBERS)]));
    let request = |count, within| LeaseRequest { count, ttl_seconds: Some(10_000), within: Some(within) };
    pool.lease(&mut worker, &request(1_000, &taken), &mut Vec::new()).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let (pool, stop, mut worker) = (&pool, &stop, engine.worker());
            let request = request(8, &elsewhere);
            scope.spawn(move || {
                let mut leases = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    pool.lease(&mut worker, &request, &mut leases).unwrap();
                    let item = |lease: &allotd::engine::operations::lease::Lease| ReturnItem {
                        lease: LeaseRef { number: lease.number, token: Some(lease.token) },
                        then: NextState::Available,
                        outcome: None,
                    };
                    let items: Vec<_> = leases.iter().map(item).collect();
                    pool.return_leases(&mut worker, &items, &mut Vec::new()).unwrap();
                }
            });
        }
        let mut busy = 0;
        for _ in 0..2_000 {
            match pool.lease(&mut worker, &request(1, &taken), &mut Vec::new()) {
                Err(LeaseError::Exhausted) => {}
                Err(LeaseError::Busy) => busy += 1,
                other => panic!("{other:?}"),
            }
        }
        stop.store(true, Ordering::SeqCst);
        assert_eq!(busy, 0);
    });
}
