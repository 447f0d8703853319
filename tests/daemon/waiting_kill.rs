//! Calls that wait while the daemon is killed: none is told of a number that somebody else has, whoever was told of one has
//! it after the restart, and no number is lost to those who died.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::support::Client;
use crate::support::daemon::{Daemon, kill_process};
use serde_json::{Value, json};

const NUMBERS: u64 = 8;
const WAITERS: u64 = 40;
const ROUNDS: u64 = 4;
const PATIENCE: Duration = Duration::from_secs(30);
const LEASE: &str = "/v1/pools/ru/lease";
const RETURN: &str = "/v1/pools/ru/return";

/// What was confirmed, by number: the latest generation with its token, and whether a return of it was asked for, which
/// may have been done.
#[derive(Default)]
struct Confirmed {
    leases: BTreeMap<u64, (u64, Value, bool)>,
    /// How many waits ended with a number, and with the connection.
    served: u64,
    cut: u64,
}

fn start(data: &Path) -> Daemon {
    Daemon::start_with(data, &["--workers", "2", "--journal-file-mib", "8"])
}

fn waiters(client: &mut Client) -> u64 {
    client.call("GET", "/v1/stats").unwrap().json()["pools"]["ru"]["waiters"].as_u64().unwrap()
}

fn confirm(confirmed: &Mutex<Confirmed>, lease: &Value) {
    let (number, generation) = (lease["number"].as_u64().unwrap(), lease["generation"].as_u64().unwrap());
    let item = json!({"number": number, "token": lease["token"]});
    let before = confirmed.lock().unwrap().leases.insert(number, (generation, item, false));
    if let Some((earlier, _, was_returned)) = before {
        assert!(generation > earlier && was_returned, "{number} was given to two");
    }
}

/// Waits for a number, keeps it a moment, returns it and waits again, until the daemon is gone.
fn caller(address: SocketAddr, confirmed: &Mutex<Confirmed>) {
    let Ok(mut client) = Client::connect(address) else { return };
    loop {
        let Ok(answer) = client.post(LEASE, &json!({"wait": 60, "ttl": 600})) else {
            confirmed.lock().unwrap().cut += 1;
            return;
        };
        assert_eq!(answer.status, 200, "{}", answer.body);
        let lease = answer.json()["leases"][0].clone();
        confirm(confirmed, &lease);
        confirmed.lock().unwrap().served += 1;
        std::thread::sleep(Duration::from_millis(1));
        let number = lease["number"].as_u64().unwrap();
        // Before the call: who is served next may be told first.
        confirmed.lock().unwrap().leases.get_mut(&number).unwrap().2 = true;
        let item = json!({"number": number, "token": lease["token"]});
        let Ok(returned) = client.post(RETURN, &json!({"leases": [item]})) else { return };
        assert_eq!(returned.json()["results"][0]["result"], "returned", "{}", returned.body);
    }
}

/// Renews what somebody was told of and did not return.
fn assert_kept(client: &mut Client, confirmed: &Confirmed) {
    for (number, (generation, item, was_returned)) in &confirmed.leases {
        let renewed =
            client.post("/v1/pools/ru/renew", &json!({"leases": [item], "ttl": 600})).unwrap().json();
        let result = &renewed["results"][0]["result"];
        assert!(*was_returned || result == "renewed", "{number} generation {generation}: {renewed}");
    }
}

#[test]
fn a_kill_while_calls_wait_loses_no_number_and_gives_none_to_two() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = start(dir.path());
    let list = format!("first,last\n1,{NUMBERS}\n");
    let made = daemon.client().send("PUT", "/v1/pools/ru?ttl=600", "text/csv", list.as_bytes()).unwrap();
    assert_eq!(made.status, 201, "{}", made.body);
    let mut served = 0;
    for round in 0..ROUNDS {
        let confirmed = Mutex::new(Confirmed::default());
        std::thread::scope(|scope| {
            for _ in 0..WAITERS {
                scope.spawn(|| caller(daemon.address, &confirmed));
            }
            let (mut client, started) = (daemon.client(), Instant::now());
            // All numbers are out, and others wait.
            while waiters(&mut client) == 0 || confirmed.lock().unwrap().served < 100 {
                assert!(started.elapsed() < PATIENCE);
            }
            std::thread::sleep(Duration::from_millis(37 * round));
            kill_process(daemon.id());
        });
        let confirmed = confirmed.into_inner().unwrap();
        assert!(confirmed.cut >= 1, "somebody waited");
        served += confirmed.served;
        drop(daemon);
        daemon = start(dir.path());
        let mut client = daemon.client();
        assert_eq!(waiters(&mut client), 0, "they are gone");
        assert_kept(&mut client, &confirmed);
        // What nobody was told of can be leased after a release, and all of it is there.
        assert_eq!(client.call("POST", "/v1/pools/ru/release?state=leased").unwrap().status, 200);
        let all = client.post(LEASE, &json!({"count": NUMBERS + 1, "ttl": 600})).unwrap();
        let numbers: BTreeSet<u64> =
            all.json()["leases"].as_array().unwrap().iter().map(|l| l["number"].as_u64().unwrap()).collect();
        assert_eq!(numbers, (1..=NUMBERS).collect());
        // A call that waits is served as before.
        let waiting = {
            let mut client = daemon.client();
            std::thread::spawn(move || client.post(LEASE, &json!({"wait": 30})).unwrap())
        };
        let started = Instant::now();
        while waiters(&mut client) == 0 {
            assert!(started.elapsed() < PATIENCE);
        }
        assert_eq!(client.call("POST", "/v1/pools/ru/release?state=leased").unwrap().status, 200);
        assert_eq!(waiting.join().unwrap().status, 200);
        assert_eq!(client.call("POST", "/v1/pools/ru/release?state=leased").unwrap().status, 200);
    }
    assert!(served >= 100 * ROUNDS, "{served}");
    assert_eq!(daemon.stop(), Some(0));
}
