//! SIGKILL of the real daemon at random moments under load: nothing acknowledged is lost, and no number is held
//! by two. The checker stands outside the process and knows only what the answers said.
//!
//! `ALLOTD_KILLS` sets how many times, `ALLOTD_SEED` the seed, which is printed.

#![allow(clippy::unwrap_used)]

mod checks;
mod ledger;
mod load;
#[path = "../support/mod.rs"]
mod support;

use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use checks::{check_offline, compare, compare_other, recycle, tokens_still_work};
use ledger::Ledger;
use load::{Ended, Possible};
use rand::rngs::{StdRng, SysRng};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng, TryRng};
use support::Client;
use support::daemon::Daemon;

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
