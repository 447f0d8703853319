//! The client of `allotd::client::leasing` against the daemon, also while it is killed again and again: no lease is
//! lost, none is given to two.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::daemon::Daemon;
use allotd::client::Server;
use allotd::client::leasing::{Client, LeaseFailure, LeaseOptions, PoolClient};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::time::{Instant, sleep, timeout};

const RESTARTS: usize = 20;
const CALLERS: usize = 8;
const NUMBERS: u64 = 40;
const TTL_SECONDS: u32 = 20;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn pool_of(servers: &[String]) -> PoolClient {
    let servers: Vec<Server> = servers.iter().map(|server| server.parse().unwrap()).collect();
    Client::new(servers).unwrap().pool("ru")
}

fn pool(daemon: &Daemon) -> PoolClient {
    pool_of(&[format!("http://{}", daemon.address)])
}

fn options(ttl_seconds: u32) -> LeaseOptions {
    LeaseOptions { ttl_seconds: Some(ttl_seconds), ..LeaseOptions::default() }
}

fn with_pool(data: &Path, query: &str, numbers: u64) -> Daemon {
    let daemon = Daemon::start(data);
    let list = (1..=numbers).map(|number| number.to_string()).collect::<Vec<_>>().join("\n");
    let path = format!("/v1/pools/ru{query}");
    let created = daemon.client().send("PUT", &path, "text/plain", list.as_bytes()).unwrap();
    assert_eq!(created.status, 201, "{}", created.body);
    daemon
}

fn state(daemon: &Daemon, number: u64) -> Value {
    daemon.client().call("GET", &format!("/v1/pools/ru/numbers/{number}")).unwrap().json()["state"].clone()
}

#[test]
fn a_lease_renews_itself_until_it_is_given_back() {
    let data = tempfile::tempdir().unwrap();
    let daemon = with_pool(data.path(), "?order=lowest", 3);
    runtime().block_on(async {
        let pool = pool(&daemon);
        let lease = pool.lease(&options(1)).await.unwrap();
        let first_end = lease.ends();
        assert_eq!((lease.number(), lease.generation()), (1, 1));
        assert!(timeout(Duration::from_millis(2_500), lease.lost()).await.is_err(), "it is renewed");
        assert!(lease.is_live() && lease.ends() > first_end);
        lease.give_back(None).await.unwrap();
        assert_eq!(state(&daemon, 1), "available");
    });
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_guard_that_is_dropped_returns_its_number() {
    let data = tempfile::tempdir().unwrap();
    let daemon = with_pool(data.path(), "", 1);
    runtime().block_on(async {
        let pool = pool(&daemon);
        drop(pool.lease(&options(TTL_SECONDS)).await.unwrap());
        // The pool has one number: this waits for its return.
        let again = pool.lease(&options(TTL_SECONDS)).await.unwrap();
        assert_eq!(again.generation(), 2);
    });
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_lease_that_somebody_ended_is_lost() {
    let data = tempfile::tempdir().unwrap();
    let daemon = with_pool(data.path(), "", 1);
    runtime().block_on(async {
        let lease = pool(&daemon).lease(&options(2)).await.unwrap();
        let released = daemon.client().send("POST", "/v1/pools/ru/release", "text/plain", b"1").unwrap();
        assert_eq!(released.status, 200, "{}", released.body);
        timeout(Duration::from_secs(5), lease.lost()).await.unwrap();
        assert!(!lease.is_live());
        assert!(matches!(lease.give_back(None).await, Err(LeaseFailure::Lost(_))));
    });
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn what_cannot_be_leased_is_refused_at_once_or_in_time() {
    let data = tempfile::tempdir().unwrap();
    let daemon = with_pool(data.path(), "", 1);
    runtime().block_on(async {
        let pool = pool(&daemon);
        let unknown = LeaseOptions { within: vec!["x".to_owned()], ..options(TTL_SECONDS) };
        assert!(matches!(pool.lease(&unknown).await, Err(LeaseFailure::Refused { .. })));
        let held = pool.lease(&options(TTL_SECONDS)).await.unwrap();
        let soon = LeaseOptions { patience: Duration::from_millis(300), ..options(TTL_SECONDS) };
        let begun = Instant::now();
        let none = pool.lease(&soon).await.unwrap_err();
        assert!(none.to_string().contains("exhausted") && begun.elapsed() < Duration::from_secs(5), "{none}");
        drop(held);
    });
    assert_eq!(daemon.stop(), Some(0));
    assert!(matches!(Client::new(Vec::new()).err(), Some(LeaseFailure::NoServers)));
}

#[test]
fn of_several_members_it_finds_the_one_that_answers() {
    let data = tempfile::tempdir().unwrap();
    let daemon = with_pool(data.path(), "", 1);
    // Nobody listens at the first.
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    runtime().block_on(async {
        let pool = pool_of(&[format!("http://{gone}"), format!("http://{}", daemon.address)]);
        assert_eq!(pool.lease(&options(TTL_SECONDS)).await.unwrap().number(), 1);
    });
    assert_eq!(daemon.stop(), Some(0));
}

/// Who holds what, by the callers' own word.
#[derive(Default)]
struct Book {
    held: Mutex<BTreeMap<u64, usize>>,
    faults: Mutex<Vec<String>>,
    calls: AtomicU64,
    stop: AtomicBool,
}

impl Book {
    fn fault(&self, fault: String) {
        self.faults.lock().unwrap().push(fault);
    }

    fn take(&self, number: u64, who: usize) {
        if let Some(other) = self.held.lock().unwrap().insert(number, who) {
            self.fault(format!("{number} is held by {other} and {who}"));
        }
        self.calls.fetch_add(1, Ordering::Relaxed);
    }
}

async fn caller(who: usize, pool: PoolClient, book: Arc<Book>) {
    while !book.stop.load(Ordering::Relaxed) {
        let lease = match pool.lease(&options(TTL_SECONDS)).await {
            Ok(lease) => lease,
            Err(failure) => return book.fault(format!("{who} has no lease: {failure}")),
        };
        let number = lease.number();
        book.take(number, who);
        sleep(Duration::from_millis(10 * (1 + who as u64))).await;
        if !lease.is_live() {
            book.fault(format!("{who} lost {number}"));
        }
        // Before the return: from then on it may be somebody else's.
        book.held.lock().unwrap().remove(&number);
        if let Err(failure) = lease.give_back(Some("talked")).await {
            book.fault(format!("{who} does not get rid of {number}: {failure}"));
        }
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn no_lease_is_lost_or_doubled_over_restarts() {
    let data = tempfile::tempdir().unwrap();
    let outcomes = "?on_expiry=available";
    let created = with_pool(data.path(), outcomes, NUMBERS);
    let settings = r#"{"outcomes":{"talked":"available"}}"#;
    let set =
        created.client().send("PATCH", "/v1/pools/ru", "application/json", settings.as_bytes()).unwrap();
    assert_eq!(set.status, 200, "{}", set.body);
    assert_eq!(created.stop(), Some(0));
    let address = free_address();
    let start = || {
        let mut command = crate::support::daemon::allotd();
        command
            .args(["serve", "--listen", &address.to_string(), "--workers", "2", "--data"])
            .arg(data.path());
        Daemon::spawn(command).unwrap()
    };
    let (book, mut daemon) = (Arc::new(Book::default()), start());
    let callers = std::thread::spawn({
        let book = Arc::clone(&book);
        move || {
            runtime().block_on(async {
                let pool = pool_of(&[format!("http://{address}")]);
                let callers: Vec<_> = (0..CALLERS)
                    .map(|who| tokio::spawn(caller(who, pool.clone(), Arc::clone(&book))))
                    .collect();
                for caller in callers {
                    caller.await.unwrap();
                }
            });
        }
    });
    for _ in 0..RESTARTS {
        std::thread::sleep(Duration::from_millis(200));
        daemon.kill();
        daemon = start();
    }
    book.stop.store(true, Ordering::Relaxed);
    callers.join().unwrap();
    let faults = book.faults.lock().unwrap();
    assert!(faults.is_empty(), "{faults:#?}");
    let calls = book.calls.load(Ordering::Relaxed);
    assert!(calls > (RESTARTS * CALLERS) as u64, "{calls} leases");
    let counts = daemon.client().call("GET", "/v1/pools/ru").unwrap().json();
    assert_eq!(counts["leased"], 0, "{counts}");
    assert_eq!(daemon.stop(), Some(0));
}
