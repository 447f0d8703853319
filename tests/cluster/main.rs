//! Members of a cluster over a real etcd, killed, stopped, handed over, under load: nothing that was confirmed is lost,
//! and no number is held by two. The checker stands outside and knows only what the answers said.
//!
//! `ALLOTD_FAULTS` sets how many faults, `ALLOTD_SEED` the seed, which is printed, `ALLOTD_ETCD_NODES` the nodes of etcd.

#![cfg(feature = "cluster")]
#![allow(clippy::unwrap_used)]

#[path = "../kill/checks.rs"]
mod checks;
#[path = "../openapi/document.rs"]
#[expect(dead_code, reason = "most of it is for tests/openapi")]
mod document;
mod etcd;
mod everything;
mod haproxy;
#[path = "../kill/ledger.rs"]
mod ledger;
#[path = "../kill/load.rs"]
mod load;
mod members;
mod refusals;
#[path = "../support/mod.rs"]
mod support;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use checks::{check_offline, compare, compare_other, recycle, tokens_still_work};
use etcd::Etcd;
use ledger::Ledger;
use load::{Ended, Possible};
use members::Members;
use rand::rngs::{StdRng, SysRng};
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng, TryRng};
use rustix::process::Signal;
use serde_json::json;
use support::Client;

const DEFAULT_FAULTS: u64 = 8;
const MEMBERS: usize = 3;
const CLIENTS: usize = 4;
const NUMBERS: std::ops::Range<u64> = 79_120_000_000..79_120_000_600;
/// Latest moment of a fault after the start of the load, in milliseconds.
const MAX_LOAD_MILLISECONDS: u64 = 1_500;
/// How long a zombie sleeps: longer than its keys stand.
const SLEEP: Duration = Duration::from_secs(6);
/// How long the probe waits for an answer.
const SHORT: Duration = Duration::from_millis(200);
const FLAGS: [&str; 4] = ["--journal-file-mib", "2", "--cluster-ttl", "3"];

/// What happens to the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The primary is killed.
    Kill,
    /// It sleeps beyond the end of its keys, and wakes.
    Zombie,
    /// An operator hands over.
    HandOver,
    /// A node of etcd is killed: the leader.
    EtcdLeader,
}

fn from_environment(name: &str, default: impl FnOnce() -> u64) -> u64 {
    std::env::var(name).map_or_else(|_| default(), |text| text.parse().expect("a number"))
}

fn create(client: &mut Client) {
    let list = format!("first,last\n{},{}\n", NUMBERS.start, NUMBERS.end - 1);
    let answer = client.send("PUT", "/v1/pools/ru?ttl_max=100000", "text/csv", list.as_bytes()).unwrap();
    assert_eq!(answer.status, 201, "{answer:?}");
    let answer = client.send("PUT", "/v1/pools/probe", "text/csv", b"first,last\n1,100000\n").unwrap();
    assert_eq!(answer.status, 201, "{answer:?}");
}

#[test]
fn nothing_confirmed_is_lost_whatever_happens_to_the_primary() {
    if !etcd::is_installed() {
        return;
    }
    let seed = from_environment("ALLOTD_SEED", || SysRng.try_next_u64().unwrap());
    let faults = from_environment("ALLOTD_FAULTS", || DEFAULT_FAULTS);
    let nodes = from_environment("ALLOTD_ETCD_NODES", || 3) as usize;
    println!("ALLOTD_SEED={seed} ALLOTD_FAULTS={faults} ALLOTD_ETCD_NODES={nodes}");
    let mut random = StdRng::seed_from_u64(seed);
    let directory = tempfile::tempdir().unwrap();
    let mut etcd = Etcd::start(nodes, directory.path());
    let mut members = Members::start(MEMBERS, directory.path(), &etcd.urls(), &FLAGS);
    let mut primary = members.wait_primary();
    create(&mut members.client(primary));
    let ledger = Ledger::new(NUMBERS);
    let (answered, mut other): (_, Possible) = (AtomicU64::new(0), vec![None]);
    let mut gaps = Vec::new();
    let mut kinds = vec![Fault::Kill, Fault::Zombie, Fault::HandOver];
    if nodes > 1 {
        kinds.push(Fault::EtcdLeader);
    }
    if let Ok(only) = std::env::var("ALLOTD_FAULT") {
        kinds.retain(|kind| format!("{kind:?}") == only);
    }
    for _ in 0..faults {
        let fault = *kinds.choose(&mut random).unwrap();
        let (gap, lost) = load_and_fault(
            (&mut members, &mut etcd, primary, fault),
            &ledger,
            &mut other,
            &answered,
            &mut random,
        );
        println!("{fault:?}: {:.2} s without a confirmed lease", gap.as_secs_f64());
        gaps.push((fault, gap));
        primary = members.wait_whole();
        let mut client = members.client(primary);
        compare(&mut client, &ledger, lost);
        compare_other(&mut client, &mut other);
        tokens_still_work(&mut client, &ledger);
        recycle(&mut client, &ledger);
        compare(&mut client, &ledger, 0);
    }
    for index in 0..MEMBERS {
        assert_eq!(members.stop(index), Some(0), "member {index}");
        check_offline(&members.all[index].data);
    }
    let answered = answered.into_inner();
    report(&gaps, answered);
    assert!(answered > faults * 10, "the load was hardly any: {answered} requests");
}

/// The percentiles of each fault's gaps.
fn report(gaps: &[(Fault, Duration)], answered: u64) {
    for fault in [Fault::Kill, Fault::Zombie, Fault::HandOver, Fault::EtcdLeader] {
        let mut of_kind: Vec<_> =
            gaps.iter().filter(|(kind, _)| *kind == fault).map(|(_, gap)| *gap).collect();
        of_kind.sort_unstable();
        if let (Some(middle), Some(last)) = (of_kind.get(of_kind.len() / 2), of_kind.last()) {
            let p99 = of_kind[(of_kind.len() * 99).div_ceil(100) - 1];
            println!("{fault:?}: {} times, p50 {middle:.2?}, p99 {p99:.2?}, max {last:.2?}", of_kind.len());
        }
    }
    println!("{answered} requests answered");
}

/// Loads the primary, lets a fault happen, and waits for the next confirmed lease. Returns how long that took, and how
/// many numbers the requests under way may have leased.
fn load_and_fault(
    (members, etcd, primary, fault): (&mut Members, &mut Etcd, usize, Fault),
    ledger: &Ledger,
    other: &mut Possible,
    answered: &AtomicU64,
    random: &mut StdRng,
) -> (Duration, u64) {
    let mut held = ledger.held();
    held.shuffle(random);
    let share = held.len().div_ceil(CLIENTS).max(1);
    let mut shares = held.chunks(share);
    let address = members.all[primary].address;
    let delay = Duration::from_micros(random.random_range(0..MAX_LOAD_MILLISECONDS * 1_000));
    let gap = Mutex::new(Duration::ZERO);
    let is_over = AtomicBool::new(false);
    let lost = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let (held, seed) = (shares.next().unwrap_or_default().to_vec(), random.random());
                scope.spawn(move || load::client(address, ledger, held, answered, seed))
            })
            .collect();
        let seed = random.random();
        scope.spawn(move || load::operator(address, other, answered, seed));
        std::thread::sleep(delay);
        let begun = Instant::now();
        let killed = happen(members, etcd, primary, fault);
        *gap.lock().unwrap() = wait_for_lease(members, begun, fault);
        is_over.store(true, Ordering::SeqCst);
        repair(members, etcd, primary, fault, killed);
        let ended = clients.into_iter().map(|client| client.join().unwrap());
        ended.map(|Ended { lost_leases }| lost_leases).sum()
    });
    (gap.into_inner().unwrap(), lost)
}

/// Lets the fault happen. Returns the node of etcd that was killed.
fn happen(members: &mut Members, etcd: &mut Etcd, primary: usize, fault: Fault) -> Option<usize> {
    match fault {
        Fault::Kill => members.kill(primary),
        Fault::Zombie => members.signal(primary, Signal::STOP),
        Fault::HandOver => {
            let answer = members.client(primary).post("/v1/cluster/handover", &json!({})).unwrap();
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        Fault::EtcdLeader => return Some(etcd.kill_leader()),
    }
    None
}

/// Waits until a lease is confirmed again, of a pool of its own.
fn wait_for_lease(members: &Members, begun: Instant, fault: Fault) -> Duration {
    loop {
        for member in &members.all {
            let Ok(mut client) = Client::connect(member.address) else { continue };
            // A zombie takes connections, and answers none.
            client.connection.get_mut().set_read_timeout(Some(SHORT)).unwrap();
            let leased = client.post("/v1/pools/probe/lease", &json!({"ttl": 1}));
            if leased.is_ok_and(|answer| answer.status == 200) {
                return begun.elapsed();
            }
        }
        std::thread::sleep(Duration::from_millis(5));
        assert!(begun.elapsed() < Duration::from_secs(60), "{fault:?}: no lease for a minute");
    }
}

/// Brings back what the fault took.
fn repair(members: &mut Members, etcd: &mut Etcd, primary: usize, fault: Fault, killed: Option<usize>) {
    match fault {
        Fault::Kill => members.start_member(primary),
        Fault::Zombie => {
            std::thread::sleep(SLEEP);
            members.signal(primary, Signal::CONT);
        }
        Fault::HandOver => {}
        Fault::EtcdLeader => {
            // The load goes on, and ends by a kill of its own.
            std::thread::sleep(Duration::from_millis(300));
            if let Some(node) = killed {
                etcd.start_node(node);
                etcd.wait_healthy();
            }
            let primary = members.wait_primary();
            members.kill(primary);
            members.start_member(primary);
        }
    }
}
