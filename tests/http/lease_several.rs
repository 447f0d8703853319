//! One lease over several pools: the order of preference, what a refusal tells, and what a repetition gets.

use crate::support::daemon::{Daemon, allotd};
use crate::support::{Answer, Client, Server};
use serde_json::{Value, json};

/// The pools a (100 to 102), b (200 to 209) and c (300 to 309).
fn server() -> Server {
    let server = Server::start();
    for (pool, numbers) in
        [("a", "first,last\n100,102\n"), ("b", "first,last\n200,209\n"), ("c", "first,last\n300,309\n")]
    {
        let path = format!("/v1/pools/{pool}?order=lowest&ttl=60&ttl_max=600");
        assert_eq!(server.send("PUT", &path, "text/csv", numbers).status, 201);
    }
    server
}

fn lease(server: &Server, body: &Value) -> Answer {
    server.post("/v1/lease", &body.to_string())
}

fn with_key(client: &mut Client, key: &str, body: &Value) -> Answer {
    let kind = format!("application/json\r\nidempotency-key: {key}");
    client.send("POST", "/v1/lease", &kind, body.to_string().as_bytes()).unwrap()
}

/// Pool and number of each lease.
fn leased(answer: &Answer) -> Vec<(String, u64)> {
    let leases = answer.json()["leases"].as_array().unwrap_or_else(|| panic!("{}", answer.body)).clone();
    let one = |lease: &Value| (lease["pool"].as_str().unwrap().to_owned(), lease["number"].as_u64().unwrap());
    leases.iter().map(one).collect()
}

fn of(pool: &str, numbers: impl IntoIterator<Item = u64>) -> Vec<(String, u64)> {
    numbers.into_iter().map(|number| (pool.to_owned(), number)).collect()
}

#[test]
fn the_first_pool_that_has_a_number_gives_all_of_them() {
    let server = server();
    let body = json!({"pools": ["a", "b"], "count": 2, "ttl": 600});
    let first = lease(&server, &body);
    assert_eq!(leased(&first), of("a", 100..102));
    let one = &first.json()["leases"][0];
    let exact = format!(
        "{{\"leases\":[{{\"pool\":\"a\",\"number\":100,\"token\":{},\"generation\":1,\"expires_at\":{},\"expires_in\":600}},",
        one["token"], one["expires_at"]
    );
    assert!(first.body.starts_with(&exact), "{}", first.body);
    assert_eq!(leased(&lease(&server, &body)), of("a", [102]), "fewer, but of one pool");
    assert_eq!(leased(&lease(&server, &body)), of("b", 200..202));
    let within = json!({"pools": ["b", "c"], "within": ["30", "10"]});
    assert_eq!(leased(&lease(&server, &within)), of("c", [300]), "b has none within");
    let item = json!({"leases": [{"number": 100, "token": one["token"]}]}).to_string();
    assert_eq!(server.post("/v1/pools/a/return", &item).status, 200);
    assert_eq!(leased(&lease(&server, &body)), of("a", [100]));
    server.call("POST", "/v1/pools/b/pause");
    assert_eq!(leased(&lease(&server, &json!({"pools": ["b", "c"]}))), of("c", [301]), "b is paused");
}

#[test]
fn a_refusal_tells_the_counts_of_each_pool() {
    let server = server();
    lease(&server, &json!({"pools": ["a"], "count": 3}));
    server.call("POST", "/v1/pools/b/pause");
    let refused = lease(&server, &json!({"pools": ["a", "b"]}));
    assert_eq!(refused.problem(), (409, "exhausted".to_owned()));
    let problem = refused.json();
    let until = problem["next_available_at"].clone();
    assert!(until.is_string(), "{problem}");
    let a = json!({"pool": "a", "available": 0, "leased": 3, "resting": 0, "done": 0, "retired": 0, "blocked": 0, "closed": 0,
                   "paused": false, "next_available_at": until});
    let b = json!({"pool": "b", "available": 10, "leased": 0, "resting": 0, "done": 0, "retired": 0, "blocked": 0, "closed": 0,
                   "paused": true, "next_available_at": null});
    assert_eq!(problem["pools"], json!([a, b]));
    let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=61).contains(&seconds));
    let within = lease(&server, &json!({"pools": ["c", "a"], "within": ["9"]})).json();
    assert_eq!((&within["code"], &within["next_available_at"]), (&json!("exhausted"), &Value::Null));
    assert_eq!(lease(&server, &json!({"pools": ["b"]})).problem(), (409, "paused".to_owned()));
}

#[test]
fn what_is_wrong_is_refused_before_anything_is_leased() {
    let server = server();
    server.send("PATCH", "/v1/pools/b", "application/json", "{\"ttl_max\":500}");
    let many: Vec<String> = (0..65).map(|index| format!("p{index}")).collect();
    for (body, status, words) in [
        (json!({"pools": ["a", "nope"]}), 404, "There is no pool \"nope\""),
        (json!({"pools": ["a", "x\u{1b}/\""]}), 404, "There is no pool"),
        (json!({"pools": []}), 400, "pools has 0 names: give 1 to 64"),
        (json!({"pools": many}), 400, "pools has 65 names"),
        (json!({"pools": ["a", "b", "a"]}), 400, "pools has \"a\" twice"),
        (json!({"count": 1}), 400, "missing field `pools`"),
        (json!({"pools": ["a"], "pool": "b"}), 400, "unknown field `pool`"),
        (json!({"pools": ["a", "b"], "ttl": 600}), 400, "give 1 to 500, the ttl_max of the pool b"),
        (json!({"pools": ["a"], "count": 0}), 400, "for count an integer"),
        (json!({"pools": ["a"], "holder": "c-17"}), 400, "The pool a tracks no holders"),
    ] {
        let refused = lease(&server, &body);
        let code = if status == 404 { "pool_not_found" } else { "bad_request" };
        assert_eq!(refused.problem(), (status, code.to_owned()), "{body}: {}", refused.body);
        let detail = refused.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(words), "{body}: {detail}");
    }
    assert_eq!(server.call("GET", "/v1/lease").status, 405);
    assert_eq!(server.call("GET", "/v1/pools/a").json()["leased"], 0);
}

#[test]
fn a_repetition_gets_the_same_leases_whichever_pool_has_numbers_by_then() {
    let server = server();
    let mut client = server.client();
    let all = lease(&server, &json!({"pools": ["a"], "count": 3}));
    let body = json!({"pools": ["a", "b"], "count": 2});
    let first = with_key(&mut client, "order-1", &body);
    assert_eq!(leased(&first), of("b", 200..202));
    let item = |index: usize| json!({"number": 100 + index, "token": all.json()["leases"][index]["token"]});
    let back = json!({"leases": [item(0), item(1)]}).to_string();
    assert_eq!(server.post("/v1/pools/a/return", &back).status, 200);
    assert_eq!(with_key(&mut client, "order-1", &body).lasting(), first.lasting(), "a has numbers again");
    assert_eq!(with_key(&mut client, "order-1", &json!({"pools": ["b", "a"], "count": 2})).status, 422);
    assert_eq!(leased(&with_key(&mut client, "order-2", &body)), of("a", 100..102), "another key");
    // A pool's own keys are other keys.
    let kind = "application/json\r\nidempotency-key: order-1";
    let own = client.send("POST", "/v1/pools/b/lease", kind, b"{}").unwrap();
    assert_eq!((own.status, own.json()["leases"][0]["number"].as_u64()), (200, Some(202)));
    server.call("DELETE", "/v1/pools/b?force=true");
    assert_eq!(server.send("PUT", "/v1/pools/b", "text/csv", "first,last\n200,209\n").status, 201);
    let stale = with_key(&mut client, "order-1", &body);
    assert_eq!(stale.problem(), (409, "stale".to_owned()), "the pool of the leases is gone: {}", stale.body);
}

#[test]
fn a_restart_knows_the_pool_of_a_key_and_the_command_leases_from_several() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let daemon = Daemon::start(&data);
    let mut client = Client::connect(daemon.address).unwrap();
    for (pool, numbers) in [("a", "first,last\n100,100\n"), ("b", "first,last\n200,209\n")] {
        let path = format!("/v1/pools/{pool}?order=lowest");
        assert_eq!(client.send("PUT", &path, "text/csv", numbers.as_bytes()).unwrap().status, 201);
    }
    let command = |daemon: &Daemon| {
        let output = allotd().args(["lease", "a", "b", "--server", &daemon.url]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let line = command(&daemon);
    assert!(line.starts_with("100:") && line.ends_with("\ta\n"), "{line}");
    let body = json!({"pools": ["a", "b"]});
    let first = with_key(&mut client, "order-1", &body);
    assert_eq!(leased(&first), of("b", [200]));
    let token = line.split(['\t', ':']).nth(1).unwrap();
    let back = json!({"leases": [{"number": 100, "token": token}]});
    assert_eq!(client.post("/v1/pools/a/return", &back).unwrap().status, 200);
    // Killed: the key comes from the journal.
    drop(daemon);
    let daemon = Daemon::start(&data);
    let mut client = Client::connect(daemon.address).unwrap();
    assert_eq!(with_key(&mut client, "order-1", &body).lasting(), first.lasting());
    assert!(command(&daemon).ends_with("\ta\n"));
}
