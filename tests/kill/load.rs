//! What the clients do until the daemon is gone: leases, renewals and returns of numbers, and an operator who
//! creates, extends, changes and deletes pools.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};
use serde_json::json;

use super::ledger::{Ledger, NextState};
use super::support::Client;

/// Most numbers of one request.
const MAX_BATCH: usize = 8;
/// A client with more numbers returns some.
const MAX_HELD: usize = 200;
/// Longer than any run, in seconds.
const TTL_SECONDS: std::ops::Range<u32> = 50_000..90_000;

/// A client that ended with the daemon.
pub(crate) struct Ended {
    /// How many numbers its last request would have leased.
    pub(crate) lost_leases: u64,
}

/// Leases, renews and returns until the connection fails.
pub(crate) fn client(
    address: SocketAddr,
    ledger: &Ledger,
    mut held: Vec<u64>,
    answered: &AtomicU64,
    seed: u64,
) -> Ended {
    let mut random = StdRng::seed_from_u64(seed);
    let Ok(mut client) = Client::connect(address) else { return Ended { lost_leases: 0 } };
    loop {
        let choice = random.random_range(0..10);
        let batch = random.random_range(1..=MAX_BATCH);
        if held.len() < batch || (held.len() < MAX_HELD && choice < 5) {
            let body = json!({"count": batch, "ttl": random.random_range(TTL_SECONDS)});
            let Ok(answer) = client.post("/v1/pools/ru/lease", &body) else {
                return Ended { lost_leases: batch as u64 };
            };
            match answer.status {
                200 => held.extend(ledger.leased(&answer.json())),
                _ => assert_eq!(answer.problem(), (409, "exhausted".to_owned())),
            }
        } else if choice < 7 {
            let numbers: Vec<_> = held.sample(&mut random, batch).copied().collect();
            let batch = ledger.begin_renewal(&numbers);
            let body = json!({"leases": batch.leases, "ttl": random.random_range(TTL_SECONDS)});
            let Ok(answer) = client.post("/v1/pools/ru/renew", &body) else { break };
            ledger.renewed(&batch, &answer.json());
        } else {
            held.shuffle(&mut random);
            let numbers = held.split_off(held.len() - batch);
            // Few go out of use, so that the pool lasts until the kill.
            let then =
                if choice == 9 { *NextState::ALL.choose(&mut random).unwrap() } else { NextState::Available };
            let batch = ledger.begin_return(&numbers, then);
            let body = json!({"leases": batch.leases, "then": then.json()});
            let Ok(answer) = client.post("/v1/pools/ru/return", &body) else { break };
            ledger.returned(&batch, &answer.json());
        }
        answered.fetch_add(1, Ordering::Relaxed);
    }
    Ended { lost_leases: 0 }
}

/// A pool that an operator works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OtherPool {
    pub(crate) numbers: u64,
    pub(crate) ttl: u64,
}

/// What a pool may be; one possibility unless a request has no answer.
pub(crate) type Possible = Vec<Option<OtherPool>>;

/// Numbers that a new pool has, and that each addition brings.
const POOL_NUMBERS: u64 = 1_000;

/// Works on a pool until the connection fails.
pub(crate) fn operator(address: SocketAddr, possible: &mut Possible, answered: &AtomicU64, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let Ok(mut client) = Client::connect(address) else { return };
    let [mut now] = possible[..] else { panic!("{possible:?} was not looked up") };
    loop {
        let ttl = random.random_range(1..1_000);
        let (next, answer) = match now {
            None => {
                let next = OtherPool { numbers: POOL_NUMBERS, ttl };
                possible.push(Some(next));
                let list = format!("first,last\n1,{POOL_NUMBERS}\n");
                let path = format!("/v1/pools/other?ttl={ttl}");
                (Some(next), client.send("PUT", &path, "text/csv", list.as_bytes()))
            }
            Some(pool) => match random.random_range(0..3) {
                0 => {
                    possible.push(None);
                    (None, client.call("DELETE", "/v1/pools/other"))
                }
                1 => {
                    let next = OtherPool { ttl, ..pool };
                    possible.push(Some(next));
                    let body = json!({ "ttl": ttl }).to_string();
                    let path = "/v1/pools/other";
                    (Some(next), client.send("PATCH", path, "application/json", body.as_bytes()))
                }
                _ => {
                    let next = OtherPool { numbers: pool.numbers + POOL_NUMBERS, ..pool };
                    possible.push(Some(next));
                    let list = format!("first,last\n{},{}\n", pool.numbers + 1, next.numbers);
                    let path = "/v1/pools/other/numbers";
                    (Some(next), client.send("POST", path, "text/csv", list.as_bytes()))
                }
            },
        };
        let Ok(answer) = answer else { return };
        if answer.status == 503 {
            // The primary of a cluster hands over.
            return;
        }
        assert!(answer.status < 300, "{answer:?}");
        now = next;
        *possible = vec![now];
        answered.fetch_add(1, Ordering::Relaxed);
    }
}
