//! SIGKILL of the real daemon at random moments under load: nothing acknowledged is lost, and no number is held
//! by two. The checker stands outside the process and knows only what the answers said.
//!
//! `ALLOTD_KILLS` sets how many times, `ALLOTD_SEED` the seed, which is printed.

#![allow(clippy::unwrap_used)]

mod ledger;
mod load;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use ledger::{Ledger, NextState, Row};
use load::{Ended, OtherPool, Possible};
use rand::rngs::{StdRng, SysRng};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng, TryRng};
use serde_json::json;
use support::daemon::{Daemon, allotd};
use support::{Answer, Client};

/// Every mode promises to survive a kill, and each can go on where another ended. The journal's files are
/// small, so that they fill up and are used again.
const SERVE_FLAGS: [&[&str]; 4] = [
    &["--durability", "sync", "--journal-file-mib", "2"],
    &["--durability", "sync"],
    &["--durability", "interval", "--journal-file-mib", "2"],
    &["--durability", "none", "--journal-file-mib", "2"],
];
const DEFAULT_KILLS: u64 = 15;
const CLIENTS: usize = 4;
/// Few enough that the clients meet exhaustion.
const NUMBERS: std::ops::Range<u64> = 79_120_000_000..79_120_000_600;
/// Latest moment of a kill after the start of the load, in milliseconds.
const MAX_LOAD_MILLISECONDS: u64 = 150;

fn from_environment(name: &str, default: impl FnOnce() -> u64) -> u64 {
    std::env::var(name).map_or_else(|_| default(), |text| text.parse().expect("a number"))
}

#[test]
fn kill_loses_nothing_acknowledged() {
    let seed = from_environment("ALLOTD_SEED", || SysRng.try_next_u64().unwrap());
    let kills = from_environment("ALLOTD_KILLS", || DEFAULT_KILLS);
    println!("ALLOTD_SEED={seed} ALLOTD_KILLS={kills}");
    let mut random = StdRng::seed_from_u64(seed);
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let ledger = Ledger::new(NUMBERS);
    let answered = AtomicU64::new(0);
    let mut other: Possible = vec![None];
    let mut daemon = Daemon::start_with(&data, SERVE_FLAGS[0]);
    create(&mut daemon.client());
    let started = Instant::now();
    for _ in 0..kills {
        let lost_leases = load_and_kill(daemon, &ledger, &mut other, &answered, &mut random);
        check_offline(&data);
        daemon = Daemon::start_with(&data, SERVE_FLAGS[random.random_range(0..SERVE_FLAGS.len())]);
        let mut client = daemon.client();
        compare(&mut client, &ledger, lost_leases);
        compare_other(&mut client, &mut other);
        tokens_still_work(&mut client, &ledger);
        recycle(&mut client, &ledger);
        compare(&mut client, &ledger, 0);
    }
    assert_eq!(daemon.stop(), Some(0));
    check_offline(&data);
    let answered = answered.into_inner();
    println!("{kills} kills, {answered} requests answered before them, in {:?}", started.elapsed());
    assert!(answered > kills * 10, "the load was hardly any: {answered} requests");
}

fn create(client: &mut Client) {
    let list = format!("first,last\n{},{}\n", NUMBERS.start, NUMBERS.end - 1);
    let answer = client.send("PUT", "/v1/pools/ru?ttl_max=100000", "text/csv", list.as_bytes()).unwrap();
    assert_eq!(answer.status, 201, "{answer:?}");
}

/// How many numbers the requests under way at the kill may have leased.
fn load_and_kill(
    daemon: Daemon,
    ledger: &Ledger,
    other: &mut Possible,
    answered: &AtomicU64,
    random: &mut StdRng,
) -> u64 {
    let mut held = ledger.held();
    held.shuffle(random);
    let share = held.len().div_ceil(CLIENTS).max(1);
    let mut shares = held.chunks(share);
    let address = daemon.address;
    let delay = Duration::from_micros(random.random_range(0..MAX_LOAD_MILLISECONDS * 1_000));
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let (held, seed) = (shares.next().unwrap_or_default().to_vec(), random.random());
                scope.spawn(move || load::client(address, ledger, held, answered, seed))
            })
            .collect();
        let seed = random.random();
        scope.spawn(move || load::operator(address, other, answered, seed));
        std::thread::sleep(delay);
        daemon.kill();
        let ended = clients.into_iter().map(|client| client.join().unwrap());
        ended.map(|Ended { lost_leases }| lost_leases).sum()
    })
}

/// `allotd check` finds nothing in what the kill left behind.
fn check_offline(data: &Path) {
    let output = allotd().arg("check").arg(data).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

fn get(client: &mut Client, path: &str) -> Answer {
    let answer = client.call("GET", path).unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

fn export(client: &mut Client) -> String {
    client.get_as("/v1/pools/ru/numbers", "text/csv").unwrap().body
}

fn rows(export: &str) -> Vec<Row<'_>> {
    export.lines().skip(1).map(Row::parse).collect()
}

/// Every number against the ledger, and the daemon's counts against its numbers.
fn compare(client: &mut Client, ledger: &Ledger, lost_leases: u64) {
    let export = export(client);
    let rows = rows(&export);
    ledger.compare(&rows, lost_leases);
    for counts in [get(client, "/v1/pools/ru").json(), get(client, "/v1/stats").json()["pools"]["ru"].clone()]
    {
        assert_eq!(counts["numbers"], rows.len());
        for state in ["available", "leased", "resting", "done", "retired"] {
            assert_eq!(counts[state], rows.iter().filter(|row| row.state == state).count(), "{state}");
        }
    }
}

/// The operator's pool is one of those it may be.
fn compare_other(client: &mut Client, possible: &mut Possible) {
    let answer = client.call("GET", "/v1/pools/other").unwrap();
    let found = match answer.status {
        404 => None,
        _ => Some(OtherPool {
            numbers: answer.json()["numbers"].as_u64().unwrap(),
            ttl: answer.json()["settings"]["ttl"].as_u64().unwrap(),
        }),
    };
    assert!(possible.contains(&found), "{found:?} is none of {possible:?}");
    *possible = vec![found];
}

fn tokens_still_work(client: &mut Client, ledger: &Ledger) {
    let held = ledger.held();
    if !held.is_empty() {
        let batch = ledger.begin_renewal(&held);
        let answer = client.post("/v1/pools/ru/renew", &json!({"leases": batch.leases, "ttl": 80_000}));
        ledger.renewed(&batch, &answer.unwrap().json());
    }
}

/// Makes all that is not held available again, and leases and returns it all: the free numbers are exactly those
/// that nobody holds.
fn recycle(client: &mut Client, ledger: &Ledger) {
    let out_of_use = ledger.out_of_use();
    if !out_of_use.is_empty() {
        let list = out_of_use.iter().map(u64::to_string).collect::<Vec<_>>().join("\n");
        for action in ["retire", "reinstate"] {
            let path = format!("/v1/pools/ru/{action}");
            let answer = client.send("POST", &path, "text/plain", list.as_bytes()).unwrap();
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        ledger.made_available(&out_of_use, &rows(&export(client)));
    }
    let held: BTreeSet<_> = ledger.held().into_iter().collect();
    if held.len() as u64 == NUMBERS.end - NUMBERS.start {
        return;
    }
    let answer = client.post("/v1/pools/ru/lease", &json!({"count": 65_536})).unwrap();
    let mut leased = ledger.leased(&answer.json());
    leased.sort_unstable();
    assert!(NUMBERS.filter(|number| !held.contains(number)).eq(leased.iter().copied()), "{leased:?}");
    let batch = ledger.begin_return(&leased, NextState::Available);
    let answer = client.post("/v1/pools/ru/return", &json!({"leases": batch.leases})).unwrap();
    ledger.returned(&batch, &answer.json());
}
