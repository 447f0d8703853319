//! Many threads on one pool.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use allotd::domain::settings::{NextState, Order, SettingsChange};
use allotd::engine::operations::lease::{LeaseError, LeaseRequest};
use allotd::engine::operations::lease_ref::LeaseRef;
use allotd::engine::operations::return_leases::{ReturnItem, ReturnResult};

use super::{create, open, range};

const THREADS: usize = 8;

fn one(count: u32) -> LeaseRequest<'static> {
    LeaseRequest { count, ttl_seconds: None, within: None }
}

#[test]
fn eight_threads_drain_a_pool_each_number_once() {
    const NUMBERS: u64 = 300_000;
    for order in [Order::Random, Order::Sequential, Order::Lowest] {
        let dir = tempfile::tempdir().unwrap();
        let engine = open(dir.path());
        let change = SettingsChange { order: Some(order), ..SettingsChange::default() };
        let pool = create(&engine, "p", &[range(1_000, 1_000 + NUMBERS - 1)], &change);
        let drained: Vec<Vec<u64>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|thread| {
                    let (pool, mut worker) = (&pool, engine.worker());
                    scope.spawn(move || {
                        let (mut all, mut leases) = (Vec::new(), Vec::new());
                        let count = [1, 7, 64, 1000][thread % 4];
                        loop {
                            match pool.lease(&mut worker, &one(count), &mut leases) {
                                Ok(_) => all.extend(leases.iter().map(|lease| lease.number.get())),
                                Err(LeaseError::Exhausted) => return all,
                                Err(error) => panic!("{error}"),
                            }
                        }
                    })
                })
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        let distinct: HashSet<u64> = drained.iter().flatten().copied().collect();
        assert_eq!(drained.iter().map(Vec::len).sum::<usize>() as u64, NUMBERS, "{order:?}");
        assert_eq!(distinct.len() as u64, NUMBERS, "{order:?}");
        let counts = pool.counts();
        assert_eq!((counts.available, counts.leased), (0, NUMBERS));
    }
}

/// There are always more numbers than threads that hold one, so no call may find none.
#[test]
fn never_exhausted_while_there_is_a_number() {
    const CALLS: u64 = 60_000;
    for order in [Order::Random, Order::Sequential, Order::Lowest] {
        let dir = tempfile::tempdir().unwrap();
        let engine = open(dir.path());
        let change = SettingsChange { order: Some(order), ..SettingsChange::default() };
        let pool =
            create(&engine, "p", &[range(1, 1), range(70_000, 70_003), range(9_000_000, 9_000_003)], &change);
        let exhausted = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                let (pool, mut worker, exhausted) = (&pool, engine.worker(), &exhausted);
                scope.spawn(move || {
                    let (mut leases, mut results) = (Vec::new(), Vec::new());
                    for _ in 0..CALLS {
                        match pool.lease(&mut worker, &one(1), &mut leases) {
                            Ok(_) => {}
                            Err(LeaseError::Exhausted) => {
                                exhausted.fetch_add(1, Ordering::Relaxed);
                                continue;
                            }
                            Err(error) => panic!("{error}"),
                        }
                        let lease = LeaseRef { number: leases[0].number, token: Some(leases[0].token) };
                        pool.return_leases(
                            &mut worker,
                            &[ReturnItem { lease, then: NextState::Available, outcome: None }],
                            &mut results,
                        )
                        .unwrap();
                        assert!(matches!(results[0], ReturnResult::Returned { .. }));
                    }
                });
            }
        });
        assert_eq!(exhausted.load(Ordering::Relaxed), 0, "{order:?}");
        let (counts, totals) = (pool.counts(), pool.totals());
        assert_eq!((counts.available, counts.leased, counts.numbers), (9, 0, 9));
        assert_eq!((totals.leases, totals.returns), (THREADS as u64 * CALLS, THREADS as u64 * CALLS));
    }
}

/// Leases end, are renewed late, returned to rest and retired on all threads at once; afterwards the
/// counters, the words and the free index agree.
#[test]
fn counts_agree_after_races_of_sweep_renew_and_return() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let pool = create(&engine, "p", &[range(1_000, 1_999)], &SettingsChange::default());
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (pool, mut worker, stop) = (&pool, engine.worker(), &stop);
            scope.spawn(move || {
                let (mut leases, mut held) = (Vec::new(), Vec::<LeaseRef>::new());
                let mut turn = thread;
                while !stop.load(Ordering::Relaxed) {
                    let request = LeaseRequest { count: 20, ttl_seconds: Some(1), within: None };
                    if pool.lease(&mut worker, &request, &mut leases).is_ok() {
                        held.extend(
                            leases.iter().map(|l| LeaseRef { number: l.number, token: Some(l.token) }),
                        );
                    }
                    turn += 1;
                    let part = held.split_off(held.len() / 2);
                    if turn % 3 == 0 {
                        pool.renew(&mut worker, &part, Some(1), &mut Vec::new()).unwrap();
                        held.extend(part.into_iter().skip(10));
                    } else {
                        let thens = [NextState::Available, NextState::Rest(1), NextState::Rest(2)];
                        let items: Vec<_> = part
                            .into_iter()
                            .map(|lease| ReturnItem { lease, then: thens[turn % 3], outcome: None })
                            .collect();
                        pool.return_leases(&mut worker, &items, &mut Vec::new()).unwrap();
                    }
                }
            });
        }
        for step in 0..300 {
            engine.clock().skip(1);
            std::thread::sleep(std::time::Duration::from_millis(5));
            if step % 50 == 0 {
                let some = [range(1_100, 1_150)];
                pool.retire(allotd::engine::operations::import::NumberSource::Ranges(&some), false).unwrap();
                pool.reinstate(allotd::engine::operations::import::NumberSource::Ranges(&some), false)
                    .unwrap();
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    engine.clock().skip(10);
    let mut worker = engine.worker();
    let mut leases = Vec::new();
    pool.lease(&mut worker, &one(2_000), &mut leases).unwrap();
    assert_eq!(leases.len(), 1_000, "every number came back");
    let counts = pool.counts();
    assert_eq!((counts.numbers, counts.leased, counts.available), (1_000, 1_000, 0));
    // By what each block counted, as one bucket holds whole blocks.
    assert_eq!(pool.map(None, 1).unwrap().buckets, [counts]);
    assert_eq!(pool.lease(&mut worker, &one(1), &mut leases), Err(LeaseError::Exhausted));
}
