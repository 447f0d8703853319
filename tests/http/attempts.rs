//! `attempts` over HTTP and by the commands: what follows the last one, when counting begins anew, what is refused.

use std::thread;
use std::time::{Duration, Instant};

use crate::support::daemon::Daemon;
use crate::support::{Answer, Server};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(20);

fn set(server: &Server, attempts: &Value) -> Answer {
    server.send("PATCH", "/v1/pools/ru", "application/json", &json!({"attempts": attempts}).to_string())
}

/// Leases one number and returns it: its state then.
fn attempt(server: &Server, then: &Value) -> Value {
    let (number, token) = server.lease();
    let body = json!({"leases": [{"number": number, "token": token}], "then": then});
    server.post("/v1/pools/ru/return", &body.to_string()).json()["results"][0]["state"].clone()
}

/// The states after a lease and its return, several times.
fn attempts(server: &Server, times: usize) -> Vec<Value> {
    (0..times).map(|_| attempt(server, &json!("available"))).collect()
}

fn state(server: &Server, number: u64) -> Value {
    server.call("GET", &format!("/v1/pools/ru/numbers/{number}")).json()["state"].clone()
}

fn wait_for(server: &Server, number: u64, expected: &str) {
    let started = Instant::now();
    while state(server, number) != expected {
        assert!(started.elapsed() < PATIENCE, "{number} is {}, not {expected}", state(server, number));
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_last_attempt_of_a_round_ends_otherwise() {
    let server = Server::with_pool("order=lowest&attempts=3:done", "7");
    let shown = server.call("GET", "/v1/pools/ru").json();
    assert_eq!(shown["settings"]["attempts"], json!({"max": 3, "then": "done"}));
    assert_eq!(attempts(&server, 3), ["available", "available", "done"]);
    assert_eq!(server.call("POST", "/v1/pools/ru/lease").problem(), (409, "exhausted".to_owned()));
    server.call("POST", "/v1/pools/ru/rounds");
    assert_eq!(attempts(&server, 3), ["available", "available", "done"], "anew in each round");
    // What does not come back anyway is as it was.
    server.call("POST", "/v1/pools/ru/rounds");
    assert_eq!(attempts(&server, 2), ["available", "available"]);
    assert_eq!(attempt(&server, &json!("retired")), "retired");
    server.send("POST", "/v1/pools/ru/reinstate", "text/plain", "7");
    assert_eq!(attempts(&server, 3), ["available", "available", "done"], "anew by an operator");
}

#[test]
fn a_number_tells_its_attempts_of_the_round() {
    let server = Server::with_pool("order=lowest", "7");
    let told = || server.call("GET", "/v1/pools/ru/numbers/7").json()["attempts"].clone();
    attempts(&server, 1);
    assert_eq!(told(), Value::Null, "nothing limits them");
    assert_eq!(set(&server, &json!({"max": 3, "then": "done"})).status, 200);
    assert_eq!(told(), 0, "counting begins with the limit");
    attempts(&server, 1);
    let (number, token) = server.lease();
    assert_eq!(told(), 2, "the lease is one");
    let lease = json!({"leases": [{"number": number, "token": token}]});
    server.post("/v1/pools/ru/return", &lease.to_string());
    attempts(&server, 1);
    assert_eq!((told(), state(&server, 7)), (json!(3), json!("done")));
    server.call("POST", "/v1/pools/ru/rounds");
    assert_eq!(told(), 0, "anew in each round");
    assert_eq!(set(&server, &Value::Null).status, 200);
    assert_eq!(told(), Value::Null);
}

#[test]
fn a_lease_that_began_before_the_round_is_none_of_its_attempts() {
    let server = Server::with_pool("order=lowest&attempts=2:retired", "7");
    assert_eq!(attempts(&server, 1), ["available"]);
    let (number, token) = server.lease();
    server.call("POST", "/v1/pools/ru/rounds");
    let body = json!({"leases": [{"number": number, "token": token}]});
    let returned = server.post("/v1/pools/ru/return", &body.to_string()).json();
    assert_eq!(returned["results"][0]["state"], "available", "{returned}");
    assert_eq!(attempts(&server, 2), ["available", "retired"]);
}

#[test]
fn a_limit_counts_from_when_it_is_set() {
    let server = Server::with_pool("order=lowest", "7");
    assert_eq!(attempts(&server, 4), ["available"; 4]);
    assert_eq!(set(&server, &json!({"max": 2, "then": {"rest": 9000}})).status, 200);
    assert_eq!(attempts(&server, 2), ["available", "resting"]);
    // Changed, it counts on; removed and set again, anew.
    server.send("POST", "/v1/pools/ru/release", "text/plain", "7");
    assert_eq!(set(&server, &json!({"max": 3, "then": "done"})).status, 200);
    assert_eq!(attempts(&server, 1), ["done"]);
    let removed = set(&server, &Value::Null);
    assert!(!removed.body.contains("attempts"), "{}", removed.body);
    server.call("POST", "/v1/pools/ru/rounds");
    assert_eq!(attempts(&server, 4), ["available"; 4]);
    set(&server, &json!({"max": 1, "then": "done"}));
    assert_eq!(attempts(&server, 1), ["done"]);
}

#[test]
fn leases_that_expire_are_attempts_and_a_list_is_for_all_pools() {
    let server = Server::with_pool("order=lowest&ttl=1", "7-8");
    server.call("PUT", "/v1/lists/tired");
    server.send("PUT", "/v1/pools/other?order=lowest&blocked_by=tired", "text/plain", "7\n8\n");
    assert_eq!(set(&server, &json!({"max": 1, "then": {"list": "tired"}})).status, 200);
    let within = |number: u64| json!({"within": [number.to_string()]}).to_string();
    // By a return, which is told only when no pool leases the number any more.
    let (_, token) = server.lease();
    let body = json!({"leases": [{"number": 7, "token": token}]});
    assert_eq!(server.post("/v1/pools/ru/return", &body.to_string()).status, 200);
    assert_eq!(server.post("/v1/pools/other/lease", &within(7)).problem().0, 409);
    // By its time.
    assert_eq!(server.post("/v1/pools/ru/lease", &within(8)).status, 200);
    let started = Instant::now();
    while server.call("GET", "/v1/lists/tired").json()["numbers"] != 2 {
        assert!(started.elapsed() < PATIENCE);
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(server.post("/v1/pools/other/lease", &within(8)).problem().0, 409);
    // The list is in use by this setting alone, too.
    server.send("PATCH", "/v1/pools/other", "application/json", "{\"blocked_by\":[]}");
    assert_eq!(server.call("DELETE", "/v1/lists/tired").problem(), (409, "list_in_use".to_owned()));
    let unknown = set(&server, &json!({"max": 1, "then": {"list": "nope"}}));
    assert_eq!(unknown.problem(), (404, "list_not_found".to_owned()));
    // And by another rule.
    set(&server, &json!({"max": 2, "then": "done"}));
    server.post("/v1/pools/ru/lease", &within(7));
    wait_for(&server, 7, "done");
}

#[test]
fn what_cannot_be_is_refused_with_what_to_give() {
    let server = Server::with_pool("order=lowest", "7");
    for (attempts, words) in [
        (json!({"max": 0, "then": "done"}), "max is 0: give 1 to 15"),
        (json!({"max": 16, "then": "done"}), "max is 16: give 1 to 15"),
        (json!({"max": 3, "then": "available"}), "give rest:SECONDS, done, retired or list:NAME"),
        (json!({"max": 3, "then": {"rest": 0}}), "give rest:SECONDS, done, retired or list:NAME"),
        (json!({"max": 3, "then": {"rest": 400_000_000}}), "attempts is 400000000 seconds"),
        (json!({"max": 3}), "missing field `then`"),
        (json!({"max": 3, "then": "done", "per": "day"}), "unknown field `per`"),
    ] {
        let refused = set(&server, &attempts);
        assert_eq!(refused.problem(), (400, "bad_request".to_owned()), "{attempts}");
        assert!(refused.body.contains(words), "{words}: {}", refused.body);
    }
    let refused = server.send("PUT", "/v1/pools/x?attempts=3", "text/plain", "7");
    assert_eq!(refused.problem(), (400, "bad_request".to_owned()));
    assert!(refused.body.contains("MAX:THEN"), "{}", refused.body);
}

#[test]
fn the_commands_know_them() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(&dir.path().join("data"));
    let numbers = dir.path().join("numbers.txt");
    std::fs::write(&numbers, "7\n8\n").unwrap();
    let numbers = numbers.to_str().unwrap();
    daemon.ok(&["pool", "create", "ru", numbers, "--attempts", "3:rest:60"]);
    assert!(daemon.ok(&["pool", "show", "ru"]).contains("3, then rest:60"));
    let shown = daemon.ok(&["pool", "set", "ru", "--attempts", "2:done"]);
    assert!(shown.contains("2, then done"), "{shown}");
    let shown = daemon.ok(&["pool", "set", "ru", "--attempts", "none"]);
    assert!(!shown.contains("attempts"), "{shown}");
    let refused = daemon.run(&["pool", "set", "ru", "--attempts", "16:done"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("give 1 to 15"), "{refused:?}");
}

#[test]
fn the_last_attempts_of_a_holder_end_as_others_do() {
    let server = Server::with_pool("order=lowest&holders=true&attempts=2:done", "7-8");
    server.send("PUT", "/v1/lists/tried", "text/plain", "");
    let lease = || server.post("/v1/pools/ru/lease", "{\"count\":2,\"holder\":\"c-17\"}");
    let give_back = || server.post("/v1/pools/ru/holders/c-17/return", "{}").body;
    let states = || [7, 8].map(|number| state(&server, number));
    for expected in ["available", "done"] {
        assert_eq!(lease().status, 200);
        assert_eq!(
            (give_back(), states()),
            ("{\"returned\":2}".to_owned(), [json!(expected), json!(expected)])
        );
    }
    // The generations go on above the largest of the pool: the column of holders has them too.
    server.call("POST", "/v1/pools/ru/rounds");
    assert_eq!(set(&server, &json!({"max": 1, "then": {"list": "tried"}})).status, 200);
    let answer = server.send("PATCH", "/v1/pools/ru", "application/json", "{\"blocked_by\":[\"tried\"]}");
    assert_eq!(answer.status, 200);
    let leased = lease().json();
    assert_eq!(leased["leases"][1]["generation"], 3);
    let held = server.call("GET", "/v1/pools/ru/holders/c-17").json();
    assert_eq!((&held["leased"], &held["leases"][1]["generation"]), (&json!(2), &json!(3)));
    assert_eq!(
        (give_back(), states()),
        ("{\"returned\":2}".to_owned(), [json!("blocked"), json!("blocked")])
    );
    assert_eq!(server.call("GET", "/v1/lists/tried").json()["numbers"], 2);
}

#[test]
fn numbers_that_come_back_after_their_last_attempt_end_a_wait() {
    let server = Server::with_pool("order=lowest&ttl=600&attempts=1:rest:1", "7");
    server.send("PUT", "/v1/lists/tried", "text/plain", "");
    let wait = |between: &dyn Fn()| {
        let mut client = server.client();
        let call = thread::spawn(move || {
            client.send("POST", "/v1/pools/ru/lease", "application/json", b"{\"wait\":20,\"ttl\":1}")
        });
        let begun = Instant::now();
        let waits = || server.call("GET", "/v1/stats").json()["pools"]["ru"]["waiters"] == 1;
        while !waits() && !call.is_finished() {
            thread::sleep(Duration::from_millis(2));
        }
        between();
        let answer = call.join().unwrap().unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(begun.elapsed() < PATIENCE / 2);
    };
    assert_eq!(attempt(&server, &json!("available")), "resting");
    let settings = json!({"attempts": {"max": 1, "then": {"list": "tried"}}, "blocked_by": ["tried"]});
    let answer = server.send("PATCH", "/v1/pools/ru", "application/json", &settings.to_string());
    assert_eq!(answer.status, 200, "{answer:?}");
    wait(&|| ());
    // The lease of that call ends by itself, and its number goes onto a list that blocks the pool.
    wait_for(&server, 7, "blocked");
    wait(&|| assert_eq!(server.send("POST", "/v1/lists/tried/remove", "text/plain", "7").status, 200));
}
