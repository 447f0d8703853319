//! Leases that wait: who is served when, and what ends a wait.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Wake, Waker};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::support::{Answer, Client, Server};
use allotd::domain::settings::{NextState, Settings};
use allotd::engine::operations::import::NumberSource;
use allotd::engine::operations::lease::{Lease, LeaseError, LeaseRequest};
use allotd::engine::operations::lease_ref::LeaseRef;
use allotd::engine::operations::return_leases::ReturnItem;
use allotd::engine::waiting::signal::Signal;
use allotd::engine::worker::Patience;
use allotd::engine::{Engine, EngineConfig};
use allotd::numbers::number::{Number, NumberRange};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

const LEASE: &str = "/v1/pools/ru/lease";

/// A pool of these numbers, lowest first, leased for a minute.
fn server(numbers: &str) -> Server {
    Server::with_pool("order=lowest&ttl=60&ttl_max=600", numbers)
}

fn waiters(server: &Server) -> u64 {
    server.call("GET", "/v1/stats").json()["pools"]["ru"]["waiters"].as_u64().unwrap()
}

/// Waits until that many calls wait.
fn until_waiting(server: &Server, count: u64) {
    let begun = Instant::now();
    while waiters(server) != count {
        assert!(begun.elapsed() < Duration::from_secs(10), "{} wait, not {count}", waiters(server));
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A lease in a thread of its own: its answer and how long it took.
fn waiting(server: &Server, path: &str, body: &Value) -> JoinHandle<(Answer, Duration)> {
    let (mut client, path, body) = (server.client(), path.to_owned(), body.to_string());
    std::thread::spawn(move || {
        let begun = Instant::now();
        let answer = client.send("POST", &path, "application/json", body.as_bytes()).unwrap();
        (answer, begun.elapsed())
    })
}

fn number(answer: &Answer) -> u64 {
    answer.json()["leases"][0]["number"].as_u64().unwrap_or_else(|| panic!("{answer:?}"))
}

fn give_back(server: &Server, (number, token): &(u64, String)) {
    let body = json!({"leases": [{"number": number, "token": token}]}).to_string();
    assert_eq!(server.post("/v1/pools/ru/return", &body).status, 200);
}

#[test]
fn a_returned_number_goes_to_the_call_that_waits() {
    let server = server("100");
    let lease = server.lease();
    let call = waiting(&server, LEASE, &json!({"wait": 20}));
    until_waiting(&server, 1);
    give_back(&server, &lease);
    let (answer, took) = call.join().unwrap();
    assert_eq!((answer.status, number(&answer)), (200, 100));
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(waiters(&server), 0);
    let counted = server.call("GET", "/v1/stats").json()["requests"]["lease"]["latency_us"]["max"].clone();
    assert!(counted.as_f64().unwrap() < 1e6, "a wait is no work: {counted}");
}

#[test]
fn the_time_ends_a_wait_as_if_it_had_not_waited() {
    let server = server("100");
    server.lease();
    let begun = Instant::now();
    let refused = server.post(LEASE, &json!({"wait": 1}).to_string());
    assert_eq!(refused.problem(), (409, "exhausted".to_owned()));
    assert_eq!(refused.json()["leased"], 1);
    assert!(begun.elapsed() >= Duration::from_secs(1) && begun.elapsed() < Duration::from_secs(5));
    assert_eq!(server.post(LEASE, &json!({"wait": 0}).to_string()).problem().0, 409);
    for wait in [json!(61), json!(-1), json!("5"), json!(1.5)] {
        let refused = server.post(LEASE, &json!({"wait": wait}).to_string());
        assert_eq!(refused.problem(), (400, "bad_request".to_owned()), "{wait}");
        assert!(refused.json()["detail"].as_str().unwrap().contains("wait whole seconds from 0 to 60"));
    }
}

#[test]
fn calls_with_one_filter_are_served_in_their_order() {
    const CALLS: u64 = 12;
    let server = server("100");
    let mut lease = server.lease();
    let (answered, order) = mpsc::channel();
    for index in 0..CALLS {
        let (mut client, answered) = (server.client(), answered.clone());
        std::thread::spawn(move || {
            let answer = client.send("POST", LEASE, "application/json", b"{\"wait\":20}").unwrap();
            answered.send((index, answer)).unwrap();
        });
        until_waiting(&server, index + 1);
    }
    for expected in 0..CALLS {
        give_back(&server, &lease);
        let (index, answer) = order.recv_timeout(Duration::from_secs(10)).unwrap();
        assert_eq!(index, expected);
        let of = &answer.json()["leases"][0];
        lease = (of["number"].as_u64().unwrap(), of["token"].as_str().unwrap().to_owned());
        assert_eq!(waiters(&server), CALLS - expected - 1, "one return wakes one call");
    }
}

#[test]
fn a_number_wakes_the_first_call_that_may_choose_it() {
    let server = server("100-101");
    let leases = [server.lease(), server.lease()];
    let first = waiting(&server, LEASE, &json!({"wait": 20, "within": ["101"]}));
    until_waiting(&server, 1);
    let second = waiting(&server, LEASE, &json!({"wait": 20}));
    until_waiting(&server, 2);
    give_back(&server, &leases[0]);
    assert_eq!(number(&second.join().unwrap().0), 100);
    give_back(&server, &leases[1]);
    assert_eq!(number(&first.join().unwrap().0), 101);
}

#[test]
fn whatever_makes_a_number_available_ends_a_wait() {
    let server = Server::with_pool("order=lowest&ttl=1&ttl_max=600", "100");
    server.send("PUT", "/v1/lists/optouts", "text/plain", "");
    let patch = |body: Value| {
        let answer = server.send("PATCH", "/v1/pools/ru", "application/json", &body.to_string());
        assert_eq!(answer.status, 200, "{answer:?}");
    };
    let list = |path: &str, number: &str| {
        let answer = server.send("POST", path, "text/plain", number);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
    };
    let wait = || {
        let call = waiting(&server, LEASE, &json!({"wait": 20, "ttl": 600}));
        until_waiting(&server, 1);
        call
    };
    let gets = |call: JoinHandle<(Answer, Duration)>, expected: u64, why: &str| {
        let (answer, took) = call.join().unwrap();
        assert_eq!(answer.status, 200, "{why}: {answer:?}");
        assert_eq!(number(&answer), expected, "{why}");
        assert!(took < Duration::from_secs(10), "{why} took {took:?}");
    };
    server.lease();
    gets(wait(), 100, "an expiry");
    let call = wait();
    list("/v1/pools/ru/release", "100");
    gets(call, 100, "a release");
    list("/v1/pools/ru/retire", "100");
    let call = wait();
    list("/v1/pools/ru/reinstate", "100");
    gets(call, 100, "a reinstatement");
    let call = wait();
    list("/v1/pools/ru/numbers", "101");
    gets(call, 101, "an addition");
    let call = wait();
    let added = server.send("POST", "/v1/pools/ru/numbers", "text/csv", "first,last\n5000000,5200000\n");
    assert_eq!(added.status, 200, "{added:?}");
    gets(call, 5_000_000, "a large addition");
    let all = server.call("POST", "/v1/pools/ru/release?state=leased");
    assert_eq!(all.status, 200, "{all:?}");
    list("/v1/lists/optouts/numbers", "7");
    patch(json!({"blocked_by": ["optouts"]}));
    let of_100 = json!({"wait": 20, "ttl": 600, "within": [100]});
    list("/v1/lists/optouts/numbers", "100");
    let call = waiting(&server, LEASE, &of_100);
    until_waiting(&server, 1);
    list("/v1/lists/optouts/remove", "100");
    gets(call, 100, "a list");
    list("/v1/pools/ru/release", "100");
    list("/v1/lists/optouts/numbers", "100");
    let call = waiting(&server, LEASE, &of_100);
    until_waiting(&server, 1);
    patch(json!({"blocked_by": []}));
    gets(call, 100, "no list any more");
    list("/v1/pools/ru/release", "100");
    patch(json!({"hours": {"rules": [], "closed": [], "zone": "UTC"}}));
    let call = waiting(&server, LEASE, &of_100);
    until_waiting(&server, 1);
    patch(json!({"hours": null}));
    gets(call, 100, "hours");
    let lease = {
        list("/v1/pools/ru/release", "100");
        let of = server.post(LEASE, &json!({"within": [100]}).to_string()).json()["leases"][0].clone();
        json!({"leases": [{"number": 100, "token": of["token"]}], "then": "done"})
    };
    assert_eq!(server.post("/v1/pools/ru/return", &lease.to_string()).status, 200);
    let call = waiting(&server, LEASE, &of_100);
    until_waiting(&server, 1);
    assert_eq!(server.call("POST", "/v1/pools/ru/rounds").status, 200);
    gets(call, 100, "a round");
}

#[test]
fn who_cannot_be_served_is_told_at_once() {
    let server = server("100");
    let lease = server.lease();
    let many: Vec<_> = (0..5).map(|_| waiting(&server, LEASE, &json!({"wait": 60}))).collect();
    until_waiting(&server, 5);
    assert_eq!(server.call("POST", "/v1/pools/ru/pause").status, 200);
    for call in many {
        let (answer, took) = call.join().unwrap();
        assert_eq!(answer.problem(), (409, "paused".to_owned()));
        assert!(took < Duration::from_secs(10));
    }
    assert_eq!(server.post(LEASE, "{\"wait\":60}").problem().1, "paused");
    server.call("POST", "/v1/pools/ru/resume");
    // A deletion that is refused ends no wait.
    let call = waiting(&server, LEASE, &json!({"wait": 60}));
    until_waiting(&server, 1);
    assert_eq!(server.call("DELETE", "/v1/pools/ru").problem().1, "in_use");
    assert_eq!(waiters(&server), 1);
    give_back(&server, &lease);
    assert_eq!(call.join().unwrap().0.status, 200);
    let call = waiting(&server, LEASE, &json!({"wait": 60}));
    until_waiting(&server, 1);
    assert_eq!(server.call("DELETE", "/v1/pools/ru?force=true").status, 200);
    assert_eq!(call.join().unwrap().0.problem(), (404, "pool_not_found".to_owned()));
}

#[test]
fn the_end_of_the_daemon_answers_those_who_wait() {
    let server = server("100");
    server.lease();
    let calls: Vec<_> = (0..3).map(|_| waiting(&server, LEASE, &json!({"wait": 60}))).collect();
    until_waiting(&server, 3);
    let begun = Instant::now();
    drop(server);
    for call in calls {
        assert_eq!(call.join().unwrap().0.problem(), (503, "not_ready".to_owned()));
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn a_pool_has_so_many_waiters() {
    let server = Server::with_pool("ttl=60&max_waiters=2", "100");
    assert_eq!(server.call("GET", "/v1/pools/ru").json()["settings"]["max_waiters"], 2);
    let lease = server.lease();
    let calls = [0, 1].map(|_| waiting(&server, LEASE, &json!({"wait": 60})));
    until_waiting(&server, 2);
    let refused = server.post(LEASE, "{\"wait\":60}");
    assert_eq!(refused.problem(), (503, "overloaded".to_owned()));
    assert_eq!(server.post(LEASE, "{}").problem().1, "exhausted", "who does not wait is not counted");
    let changed = server.send("PATCH", "/v1/pools/ru", "application/json", "{\"max_waiters\":3}");
    assert_eq!(changed.json()["settings"]["max_waiters"], 3);
    let third = waiting(&server, LEASE, &json!({"wait": 60}));
    until_waiting(&server, 3);
    give_back(&server, &lease);
    // One has the number before the server ends.
    until_waiting(&server, 2);
    drop(server);
    let mut answers: Vec<u16> =
        calls.into_iter().chain([third]).map(|call| call.join().unwrap().0.status).collect();
    answers.sort_unstable();
    assert_eq!(answers, [200, 503, 503]);
}

/// Sends a lease that waits, and reads nothing.
fn send_waiting(server: &Server) -> Client {
    let mut client = server.client();
    let request = format!(
        "POST {LEASE} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\n{{\"wait\":60}}"
    );
    client.connection.get_mut().write_all(request.as_bytes()).unwrap();
    client
}

#[test]
fn a_client_that_hangs_up_leaves_its_place() {
    let server = server("100");
    let lease = server.lease();
    let gone = send_waiting(&server);
    until_waiting(&server, 1);
    let half = send_waiting(&server);
    until_waiting(&server, 2);
    let stays = waiting(&server, LEASE, &json!({"wait": 60}));
    until_waiting(&server, 3);
    drop(gone);
    until_waiting(&server, 2);
    // Who only says that it sends nothing more is told that there is nothing.
    half.connection.get_ref().shutdown(Shutdown::Write).unwrap();
    let mut half = half;
    assert_eq!(
        crate::support::read_answer(&mut half.connection, false).problem(),
        (409, "exhausted".to_owned())
    );
    until_waiting(&server, 1);
    give_back(&server, &lease);
    assert_eq!(number(&stays.join().unwrap().0), 100);
}

#[test]
fn what_a_client_sends_while_it_waits_is_served_afterwards() {
    let server = server("100");
    let lease = server.lease();
    let mut client = send_waiting(&server);
    until_waiting(&server, 1);
    for part in ["GET /healthz HTTP/1.1\r\nho", "st: localhost\r\n\r\n"] {
        client.connection.get_mut().write_all(part.as_bytes()).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(waiters(&server), 1);
    give_back(&server, &lease);
    assert_eq!(number(&crate::support::read_answer(&mut client.connection, false)), 100);
    let health = crate::support::read_answer(&mut client.connection, false);
    assert_ne!(health.status, 409, "{health:?}");
    assert_eq!(client.call("GET", "/v1/pools/ru").unwrap().status, 200);
}

#[test]
fn the_first_of_several_pools_that_gets_a_number_serves() {
    let server = server("100");
    let other = server.send("PUT", "/v1/pools/b?ttl=60", "text/plain", "200\n");
    assert_eq!(other.status, 201);
    let lease = server.lease();
    let of_b = server.call("POST", "/v1/pools/b/lease").json()["leases"][0].clone();
    let body = json!({"pools": ["ru", "b"], "wait": 60});
    let call = waiting(&server, "/v1/lease", &body);
    until_waiting(&server, 1);
    assert_eq!(server.call("GET", "/v1/stats").json()["pools"]["b"]["waiters"], 1);
    server.call("POST", "/v1/pools/ru/pause");
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(waiters(&server), 1, "the other pool may still serve");
    let back = json!({"leases": [{"number": 200, "token": of_b["token"]}]}).to_string();
    assert_eq!(server.post("/v1/pools/b/return", &back).status, 200);
    let (answer, _) = call.join().unwrap();
    assert_eq!((&answer.json()["leases"][0]["pool"], number(&answer)), (&json!("b"), 200));
    until_waiting(&server, 0);
    let call = waiting(&server, "/v1/lease", &body);
    until_waiting(&server, 1);
    give_back(&server, &lease);
    server.call("POST", "/v1/pools/ru/resume");
    assert_eq!(number(&call.join().unwrap().0), 100);
    let call = waiting(&server, "/v1/lease", &body);
    until_waiting(&server, 1);
    for pool in ["ru", "b"] {
        server.call("POST", &format!("/v1/pools/{pool}/pause"));
    }
    assert_eq!(call.join().unwrap().0.problem().1, "paused");
}

#[test]
fn a_key_of_a_call_that_waits_is_under_way() {
    let server = server("100-101");
    let leases = [server.lease(), server.lease()];
    let with_key = |body: &'static str| {
        let mut client = server.client();
        std::thread::spawn(move || {
            let kind = "application/json\r\nidempotency-key: k1";
            client.send("POST", LEASE, kind, body.as_bytes()).unwrap()
        })
    };
    let first = with_key("{\"wait\":30}");
    until_waiting(&server, 1);
    let second = with_key("{\"wait\":30}");
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(waiters(&server), 1, "the repetition waits for the first call, not for a number");
    give_back(&server, &leases[0]);
    let (first, second) = (first.join().unwrap(), second.join().unwrap());
    assert_eq!((first.status, &first.body), (200, &second.body));
    give_back(&server, &leases[1]);
    assert_eq!(server.call("GET", "/v1/pools/ru").json()["available"], 1, "nothing was leased twice");
    // A repetition of a call that was served does not wait.
    server.lease();
    let others = waiting(&server, LEASE, &json!({"wait": 30}));
    until_waiting(&server, 1);
    let kind = "application/json\r\nidempotency-key: k1";
    let again = server.client().send("POST", LEASE, kind, b"{\"wait\":30}").unwrap();
    assert_eq!((again.status, number(&again)), (200, number(&first)));
    server.call("POST", "/v1/pools/ru/release?state=leased");
    assert_eq!(others.join().unwrap().0.status, 200);
    // A call that is given up leaves its key.
    while server.call("POST", LEASE).status == 200 {}
    let kind = "application/json\r\nidempotency-key: k2";
    let refused = server.client().send("POST", LEASE, kind, b"{\"wait\":1}").unwrap();
    assert_eq!(refused.problem().1, "exhausted");
    server.call("POST", "/v1/pools/ru/release?state=leased");
    assert_eq!(server.client().send("POST", LEASE, kind, b"{\"wait\":1}").unwrap().status, 200);
}

#[test]
fn calls_that_do_not_wait_starve_nobody() {
    const GREEDY: usize = 4;
    let server = server("100");
    let mut lease = server.lease();
    let call = waiting(&server, LEASE, &json!({"wait": 20}));
    until_waiting(&server, 1);
    // They take the number as soon as it is there, and hand it to the thread that returns it.
    let (stop, patience) = (Arc::new(AtomicBool::new(false)), Duration::from_secs(15));
    let greedy: Vec<_> = (0..GREEDY)
        .map(|_| {
            let (mut client, stop) = (server.client(), Arc::clone(&stop));
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let answer = client.call("POST", LEASE).unwrap();
                    if answer.status == 200 {
                        let of = answer.json()["leases"][0].clone();
                        let body =
                            json!({"leases": [{"number": of["number"], "token": of["token"]}]}).to_string();
                        client
                            .send("POST", "/v1/pools/ru/return", "application/json", body.as_bytes())
                            .unwrap();
                    }
                }
            })
        })
        .collect();
    give_back(&server, &lease);
    let begun = Instant::now();
    let (answer, _) = call.join().unwrap();
    assert_eq!(answer.status, 200, "starved for {:?}: {answer:?}", begun.elapsed());
    assert!(begun.elapsed() < patience);
    stop.store(true, Ordering::Relaxed);
    for thread in greedy {
        thread.join().unwrap();
    }
    let of = answer.json()["leases"][0].clone();
    lease = (of["number"].as_u64().unwrap(), of["token"].as_str().unwrap().to_owned());
    give_back(&server, &lease);
    assert_eq!(server.call("POST", LEASE).status, 200, "nobody has precedence any more");
}

/// Numbers of the pool of [`Storm`], in four tens.
const STORM_NUMBERS: std::ops::RangeInclusive<u64> = 1_000..=1_039;
const STORM_CALLERS: u64 = 120;
const STORM_TIME: Duration = Duration::from_secs(5);
/// For longer than this nobody waits while a number is available.
const STALL: Duration = Duration::from_secs(1);

/// Callers that wait, hang up, hold and return, and operators that pause, retire and add.
struct Storm {
    server: Server,
    ends: AtomicBool,
    held: Mutex<BTreeSet<u64>>,
    served: AtomicU32,
    refused: AtomicU32,
    hung_up: AtomicU32,
}

impl Storm {
    fn call(&self, random: &mut StdRng) {
        let mut client = self.server.client();
        let wait = random.random_range(1..4_u64);
        let body = match random.random_range(0..5_u64) {
            0 => json!({"wait": wait}),
            ten => json!({"wait": wait, "within": [format!("10{}", ten - 1)]}),
        };
        if random.random_range(0..6) == 0 {
            self.hung_up.fetch_add(1, Ordering::Relaxed);
            let body = body.to_string();
            let request = format!(
                "POST {LEASE} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            client.connection.get_mut().write_all(request.as_bytes()).unwrap();
            std::thread::sleep(Duration::from_millis(random.random_range(0..40)));
            return;
        }
        let begun = Instant::now();
        let answer = client.send("POST", LEASE, "application/json", body.to_string().as_bytes()).unwrap();
        if answer.status != 200 {
            self.refused.fetch_add(1, Ordering::Relaxed);
            let (_, code) = answer.problem();
            let is_over = code == "exhausted" && begun.elapsed() >= Duration::from_secs(wait);
            assert!(is_over || code == "paused", "after {:?} of {wait} s: {answer:?}", begun.elapsed());
            return;
        }
        self.served.fetch_add(1, Ordering::Relaxed);
        let number = number(&answer);
        let token = answer.json()["leases"][0]["token"].clone();
        assert!(self.held.lock().unwrap().insert(number), "{number} is leased twice");
        std::thread::sleep(Duration::from_millis(random.random_range(0..15)));
        self.held.lock().unwrap().remove(&number);
        let back = json!({"leases": [{"number": number, "token": token}]}).to_string();
        let returned =
            client.send("POST", "/v1/pools/ru/return", "application/json", back.as_bytes()).unwrap();
        assert_eq!(returned.status, 200, "{returned:?}");
    }

    fn operate(&self, random: &mut StdRng) {
        let some = random.random_range(STORM_NUMBERS).to_string();
        let act = |path: &str| self.server.send("POST", &format!("/v1/pools/ru/{path}"), "text/plain", &some);
        match random.random_range(0..14) {
            0 => drop(act("pause")),
            1..5 => drop(act("resume")),
            5..7 => drop(act("reinstate")),
            // It may be leased: who holds it returns it, and it stays retired.
            7 => drop(act("retire")),
            _ => std::thread::sleep(Duration::from_millis(30)),
        }
    }

    /// Fails if calls wait for long while numbers are available and none is leased.
    fn watch(&self) {
        let (mut since, mut seen) = (Instant::now(), 0);
        while !self.ends.load(Ordering::Relaxed) {
            let stats = self.server.call("GET", "/v1/stats").json()["pools"]["ru"].clone();
            let leases = stats["totals"]["leases"].as_u64().unwrap();
            let may_move = stats["paused"] == false
                && stats["waiters"].as_u64() > Some(0)
                && stats["available"].as_u64() > Some(STORM_NUMBERS.count() as u64 * 3 / 4);
            if leases != seen || !may_move {
                (since, seen) = (Instant::now(), leases);
            }
            assert!(since.elapsed() < STALL, "nobody is served: {stats}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn a_storm_of_callers_forgets_nobody() {
    let settings = "ttl=60&max_waiters=1000";
    let storm = Storm {
        server: Server::with_pool(settings, &format!("{}-{}", STORM_NUMBERS.start(), STORM_NUMBERS.end())),
        ends: AtomicBool::new(false),
        held: Mutex::default(),
        served: AtomicU32::new(0),
        refused: AtomicU32::new(0),
        hung_up: AtomicU32::new(0),
    };
    let (begun, storm) = (Instant::now(), &storm);
    // Numbers are scarce: most are held elsewhere.
    let kept = storm.server.post(LEASE, "{\"count\":30,\"ttl\":60}").json();
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..STORM_CALLERS)
            .map(|seed| {
                scope.spawn(move || {
                    let mut random = StdRng::seed_from_u64(seed);
                    while begun.elapsed() < STORM_TIME {
                        storm.call(&mut random);
                    }
                })
            })
            .collect();
        scope.spawn(move || storm.watch());
        let mut random = StdRng::seed_from_u64(4_711);
        while begun.elapsed() < STORM_TIME {
            storm.operate(&mut random);
        }
        for path in ["pause", "resume"] {
            storm.server.call("POST", &format!("/v1/pools/ru/{path}"));
        }
        let all = format!("first,last\n{},{}\n", STORM_NUMBERS.start(), STORM_NUMBERS.end());
        storm.server.send("POST", "/v1/pools/ru/reinstate", "text/csv", &all);
        for caller in callers {
            caller.join().unwrap();
        }
        storm.ends.store(true, Ordering::Relaxed);
    });
    let proof = |lease: &Value| json!({"number": lease["number"], "token": lease["token"]});
    let leases: Vec<_> = kept["leases"].as_array().unwrap().iter().map(proof).collect();
    storm.server.post("/v1/pools/ru/return", &json!({"leases": leases}).to_string());
    let (served, refused) = (storm.served.load(Ordering::Relaxed), storm.refused.load(Ordering::Relaxed));
    println!("{served} served, {refused} refused");
    assert!(served > 100 && refused > 0, "{served} served, {refused} refused");
    until_waiting(&storm.server, 0);
    let pool = storm.server.call("GET", "/v1/pools/ru").json();
    // A lease that was made while its client hung up lasts for its time.
    assert!(pool["leased"].as_u64() <= Some(storm.hung_up.load(Ordering::Relaxed).into()), "{pool}");
}

/// Waits for the signal of a call that waits.
fn until_given(signal: &Signal) {
    struct Unparked(std::thread::Thread);
    impl Wake for Unparked {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let (begun, waker) = (Instant::now(), Waker::from(Arc::new(Unparked(std::thread::current()))));
    while signal.poll_given(&Context::from_waker(&waker)).is_pending() {
        assert!(begun.elapsed() < Duration::from_secs(10), "no signal came");
        std::thread::park_timeout(Duration::from_millis(100));
    }
}

#[test]
fn who_loses_too_often_is_served_before_those_who_do_not_wait() {
    const LOSSES: usize = 3;
    let data = tempfile::tempdir().unwrap();
    let engine = Engine::open(&EngineConfig::new(data.path(), 2)).unwrap();
    let range =
        |first, last| NumberRange::new(Number::new(first).unwrap(), Number::new(last).unwrap()).unwrap();
    let ranges = [range(100, 101)];
    engine.create_pool(&"ru".parse().unwrap(), Settings::default(), NumberSource::Ranges(&ranges)).unwrap();
    let pool = engine.pool("ru").unwrap();
    let (mut greedy, mut patient, mut leases) = (engine.worker(), engine.worker(), Vec::new());
    let all = LeaseRequest { count: 1, ttl_seconds: None, within: None };
    let hundred = pool.within(&[range(100, 100)]);
    let of_100 = LeaseRequest { within: Some(&hundred), ..all };
    pool.lease(&mut greedy, &of_100, &mut leases).unwrap();
    let signal = Arc::<Signal>::default();
    let ticket = pool.join_line(Some([range(100, 100)].into()), &signal).unwrap();
    patient.set_patience(Patience::InLine);
    let give_back = |greedy: &mut allotd::engine::Worker, lease: &Lease| {
        let lease = LeaseRef { number: lease.number, token: Some(lease.token) };
        pool.return_lease(greedy, &ReturnItem { lease, then: NextState::Available, outcome: None }).unwrap();
    };
    for loss in 0..=LOSSES {
        // It is the first of its group, or was woken for the number that was returned.
        until_given(&signal);
        ticket.begin();
        let mut none = Vec::new();
        assert_eq!(pool.lease(&mut patient, &of_100, &mut none).unwrap_err(), LeaseError::Exhausted);
        assert!(!ticket.rest(), "loss {loss}");
        give_back(&mut greedy, &leases[0]);
        if loss < LOSSES {
            pool.lease(&mut greedy, &of_100, &mut leases).unwrap();
        }
    }
    let mut others = Vec::new();
    assert_eq!(pool.lease(&mut greedy, &of_100, &mut others).unwrap_err(), LeaseError::Exhausted);
    assert_eq!(
        pool.lease(&mut greedy, &LeaseRequest { count: 2, ..all }, &mut others).map(|_| others.len()),
        Ok(2)
    );
    for lease in &others {
        give_back(&mut greedy, lease);
    }
    until_given(&signal);
    ticket.begin();
    pool.lease(&mut patient, &of_100, &mut leases).unwrap();
    drop(ticket);
    give_back(&mut greedy, &leases[0]);
    assert!(pool.lease(&mut greedy, &of_100, &mut leases).is_ok(), "nobody has precedence any more");
}
