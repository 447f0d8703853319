//! Members of a cluster over a real etcd, killed, stopped, handed over, under load: nothing that was confirmed is lost,
//! and no number is held by two. The checker stands outside and knows only what the answers said.
//!
//! `ALLOTD_FAULTS` sets how many faults, `ALLOTD_SEED` the seed, which is printed, `ALLOTD_ETCD_NODES` the nodes of etcd,
//! `ALLOTD_FAULT` the one kind of fault. Links are cut in a network of namespaces, which needs root.

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
mod host;
#[path = "../kill/ledger.rs"]
mod ledger;
#[path = "../kill/load.rs"]
mod load;
mod members;
mod network;
mod refusals;
#[path = "../support/mod.rs"]
mod support;

use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use checks::{check_offline, compare, compare_other, recycle, tokens_still_work};
use etcd::Etcd;
use host::Host;
use ledger::Ledger;
use load::{Ended, Possible};
use members::Members;
use network::Network;
use rand::rngs::{StdRng, SysRng};
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng, TryRng};
use rustix::process::Signal;
use serde_json::json;
use support::Client;

const DEFAULT_FAULTS: u64 = 8;
const DEFAULT_CUTS: u64 = 5;
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
    /// The primary's link is cut.
    Isolated,
    /// The primary reaches no node of etcd, and its callers reach it.
    WithoutEtcd,
    /// What the primary sends reaches etcd, and no answer comes back.
    WithoutReplies,
    /// The link of etcd's leader is cut.
    EtcdLeaderIsolated,
}

const ALL_FAULTS: [Fault; 8] = [
    Fault::Kill,
    Fault::Zombie,
    Fault::HandOver,
    Fault::EtcdLeader,
    Fault::Isolated,
    Fault::WithoutEtcd,
    Fault::WithoutReplies,
    Fault::EtcdLeaderIsolated,
];

/// Where the faults happen.
struct Stage {
    members: Members,
    etcd: Etcd,
    /// Etcd's nodes are its first hosts, and the members the others.
    network: Option<Network>,
    nodes: usize,
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
    let nodes = from_environment("ALLOTD_ETCD_NODES", || 3) as usize;
    let directory = tempfile::tempdir().unwrap();
    let etcd = Etcd::start(nodes, directory.path());
    let members = Members::start(MEMBERS, directory.path(), &etcd.urls(), &FLAGS);
    let mut kinds = vec![Fault::Kill, Fault::Zombie, Fault::HandOver];
    if nodes > 1 {
        kinds.push(Fault::EtcdLeader);
    }
    survive(Stage { members, etcd, network: None, nodes }, kinds, DEFAULT_FAULTS);
}

#[test]
fn nothing_confirmed_is_lost_when_links_are_cut() {
    if !etcd::is_installed() {
        return;
    }
    let nodes = 3;
    let Some(network) = Network::new((nodes + MEMBERS) as u8) else { return };
    let directory = tempfile::tempdir().unwrap();
    let (of_etcd, of_members): (&[Host], &[Host]) = network.hosts().split_at(nodes);
    let etcd = Etcd::start_on(of_etcd, directory.path());
    let flags =
        [FLAGS.as_slice(), &["--allow-anyone", "--allow-plain-text", "--allow-host", "localhost"]].concat();
    let members = Members::start_on("test", of_members, directory.path(), &etcd.urls(), &flags);
    let kinds = vec![
        Fault::Isolated,
        Fault::WithoutEtcd,
        Fault::WithoutReplies,
        Fault::EtcdLeaderIsolated,
        Fault::Kill,
    ];
    survive(Stage { members, etcd, network: Some(network), nodes }, kinds, DEFAULT_CUTS);
}

/// Lets faults happen under load, and holds all that is left against what was confirmed.
fn survive(mut stage: Stage, mut kinds: Vec<Fault>, default_faults: u64) {
    let seed = from_environment("ALLOTD_SEED", || SysRng.try_next_u64().unwrap());
    let faults = from_environment("ALLOTD_FAULTS", || default_faults);
    println!("ALLOTD_SEED={seed} ALLOTD_FAULTS={faults} ALLOTD_ETCD_NODES={}", stage.nodes);
    let mut random = StdRng::seed_from_u64(seed);
    let mut primary = stage.members.wait_primary();
    create(&mut stage.members.client(primary));
    let ledger = Ledger::new(NUMBERS);
    let (answered, mut other): (_, Possible) = (AtomicU64::new(0), vec![None]);
    let mut gaps = Vec::new();
    if let Ok(only) = std::env::var("ALLOTD_FAULT") {
        kinds.retain(|kind| format!("{kind:?}") == only);
    }
    if kinds.is_empty() {
        return;
    }
    for _ in 0..faults {
        let fault = *kinds.choose(&mut random).unwrap();
        let (gap, lost) =
            load_and_fault((&mut stage, primary, fault), &ledger, &mut other, &answered, &mut random);
        println!("{fault:?}: {:.2} s without a confirmed lease", gap.as_secs_f64());
        gaps.push((fault, gap));
        primary = stage.members.wait_whole();
        let mut client = stage.members.client(primary);
        compare(&mut client, &ledger, lost);
        compare_other(&mut client, &mut other);
        tokens_still_work(&mut client, &ledger);
        recycle(&mut client, &ledger);
        compare(&mut client, &ledger, 0);
    }
    for index in 0..MEMBERS {
        assert_eq!(stage.members.stop(index), Some(0), "member {index}");
        check_offline(&stage.members.all[index].data);
    }
    let answered = answered.into_inner();
    report(&gaps, answered);
    assert!(answered > faults * 10, "the load was hardly any: {answered} requests");
}

/// The percentiles of each fault's gaps.
fn report(gaps: &[(Fault, Duration)], answered: u64) {
    for fault in ALL_FAULTS {
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
    (stage, primary, fault): (&mut Stage, usize, Fault),
    ledger: &Ledger,
    other: &mut Possible,
    answered: &AtomicU64,
    random: &mut StdRng,
) -> (Duration, u64) {
    let mut held = ledger.held();
    held.shuffle(random);
    let share = held.len().div_ceil(CLIENTS).max(1);
    let mut shares = held.chunks(share);
    let address = stage.members.all[primary].address;
    let delay = Duration::from_micros(random.random_range(0..MAX_LOAD_MILLISECONDS * 1_000));
    let gap = Mutex::new(Duration::ZERO);
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
        let leader = stage.happen(primary, fault);
        *gap.lock().unwrap() = wait_for_lease(&stage.members, begun, fault);
        stage.repair(primary, fault, leader);
        let ended = clients.into_iter().map(|client| client.join().unwrap());
        ended.map(|Ended { lost_leases }| lost_leases).sum()
    });
    (gap.into_inner().unwrap(), lost)
}

impl Stage {
    /// Lets the fault happen. Returns the node of etcd that it happened to.
    fn happen(&mut self, primary: usize, fault: Fault) -> Option<usize> {
        match fault {
            Fault::Kill => self.members.kill(primary),
            Fault::Zombie => self.members.signal(primary, Signal::STOP),
            Fault::HandOver => {
                let answer = self.members.client(primary).post("/v1/cluster/handover", &json!({})).unwrap();
                assert_eq!(answer.status, 200, "{answer:?}");
            }
            Fault::EtcdLeader => return Some(self.etcd.kill_leader()),
            Fault::EtcdLeaderIsolated => {
                let leader = self.etcd.leader();
                self.network().set_link(leader, false);
                return Some(leader);
            }
            Fault::Isolated | Fault::WithoutEtcd | Fault::WithoutReplies => self.cut(primary, fault, false),
        }
        None
    }

    fn network(&self) -> &Network {
        self.network.as_ref().expect("links are cut in a network only")
    }

    /// Cuts the primary off as the fault says, or mends that.
    fn cut(&self, primary: usize, fault: Fault, is_up: bool) {
        let (network, host) = (self.network(), self.nodes + primary);
        match fault {
            Fault::Isolated => network.set_link(host, is_up),
            Fault::WithoutEtcd => (0..self.nodes).for_each(|node| network.set_route(host, node, is_up)),
            _ => (0..self.nodes).for_each(|node| network.set_route(node, host, is_up)),
        }
    }

    /// Brings back what the fault took.
    fn repair(&mut self, primary: usize, fault: Fault, leader: Option<usize>) {
        match fault {
            Fault::Kill => self.members.start_member(primary),
            Fault::Zombie => {
                std::thread::sleep(SLEEP);
                self.members.signal(primary, Signal::CONT);
            }
            Fault::HandOver => {}
            Fault::EtcdLeader | Fault::EtcdLeaderIsolated => {
                // The load goes on, and ends by a kill of its own.
                std::thread::sleep(Duration::from_millis(300));
                if let Some(node) = leader {
                    match fault {
                        Fault::EtcdLeader => self.etcd.start_node(node),
                        _ => self.network().set_link(node, true),
                    }
                    self.etcd.wait_healthy();
                }
                let primary = self.members.wait_primary();
                self.members.kill(primary);
                self.members.start_member(primary);
            }
            Fault::Isolated | Fault::WithoutEtcd | Fault::WithoutReplies => {
                std::thread::sleep(SLEEP);
                self.cut(primary, fault, true);
            }
        }
    }
}

/// Waits until a lease is confirmed again, of a pool of its own.
fn wait_for_lease(members: &Members, begun: Instant, fault: Fault) -> Duration {
    loop {
        for member in &members.all {
            // A zombie takes connections, and answers none.
            let Ok(mut client) = Client::connect_within(member.address, SHORT) else { continue };
            let leased = client.post("/v1/pools/probe/lease", &json!({"ttl": 1}));
            if leased.is_ok_and(|answer| answer.status == 200) {
                return begun.elapsed();
            }
        }
        std::thread::sleep(Duration::from_millis(5));
        assert!(begun.elapsed() < Duration::from_secs(60), "{fault:?}: no lease for a minute");
    }
}
