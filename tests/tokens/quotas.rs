//! What a token may use.

use serde_json::Value;

use super::{Caller, Guarded};

/// A daemon, and a caller whose client token has these limits.
fn limited(limits: &[&str]) -> (Guarded, Caller) {
    let flags = [&["--role", "client", "--pools", "ru*"], limits].concat();
    let (guarded, tokens) = Guarded::start(&[], &[("shop", &flags)]);
    let caller = guarded.caller(&tokens[0]);
    (guarded, caller)
}

fn count(answer: &super::Answer) -> usize {
    answer.json()["leases"].as_array().map_or(0, Vec::len)
}

#[test]
fn a_call_may_not_ask_for_more_than_its_caller_may_have() {
    let limits = ["--max-count", "3", "--max-ttl", "100", "--max-body-bytes", "200"];
    let (guarded, mut shop) = limited(&limits);
    for (body, words) in [("{\"count\":4}", "may lease 3 numbers"), ("{\"ttl\":101}", "may last 100")] {
        let answer = shop.post("/v1/pools/ru/lease", body);
        assert_eq!(answer.problem(), (403, "forbidden".to_owned()), "{answer:?}");
        assert!(answer.body.contains(words), "{answer:?}");
    }
    let leased = shop.post("/v1/pools/ru/lease", "{\"count\":3,\"ttl\":100}");
    assert_eq!(count(&leased), 3);
    // Without a ttl it is the shorter one: the pool's is an hour.
    let plain = shop.lease().json();
    let until = plain["leases"][0]["expires_at"].as_str().unwrap();
    let until = humantime::parse_rfc3339(until).unwrap();
    let left = until.duration_since(std::time::SystemTime::now()).unwrap().as_secs();
    assert!((90..=101).contains(&left), "{left}");
    let item = |lease: &Value| format!("{{\"number\":{},\"token\":{}}}", lease["number"], lease["token"]);
    let renew = |more: &str| format!("{{\"leases\":[{}]{more}}}", item(&plain["leases"][0]));
    assert_eq!(shop.post("/v1/pools/ru/renew", &renew(",\"ttl\":101")).status, 403);
    assert_eq!(shop.post("/v1/pools/ru/renew", &renew(",\"ttl\":100")).status, 200);
    assert_eq!(shop.post("/v1/pools/ru/renew", &renew("")).status, 200);

    // Bodies, with and without a length.
    let large = format!("{{\"within\":[{}\"1\"]}}", "\"1\",".repeat(60));
    assert_eq!(shop.post("/v1/pools/ru/lease", &large).problem().0, 413);
    let header = shop.header.clone();
    shop.header.push_str("Transfer-Encoding: chunked\r\n");
    let mut chunked = guarded.with_header(&header);
    let head = format!(
        "POST /v1/pools/ru/lease HTTP/1.1\r\nhost: localhost\r\n{header}content-type: application/json\r\n\
         transfer-encoding: chunked\r\n\r\n{:x}\r\n{large}\r\n0\r\n\r\n",
        large.len()
    );
    std::io::Write::write_all(chunked.client.connection.get_mut(), head.as_bytes()).unwrap();
    assert_eq!(super::support::read_answer(&mut chunked.client.connection, false).status, 413);
}

#[test]
fn a_stolen_token_poisons_no_pool() {
    let (guarded, mut shop) = limited(&[]);
    let changed = guarded.root().send(
        "PATCH",
        "/v1/pools/ru",
        "application/json",
        "{\"outcomes\":{\"invalid\":\"retired\",\"answered\":\"done\"}}",
    );
    assert_eq!(changed.status, 200, "{changed:?}");
    let leased = shop.lease();
    let refused = shop.give_back(&leased, "retired");
    assert_eq!(refused.problem(), (403, "forbidden".to_owned()));
    assert!(refused.body.contains("may_retire"), "{refused:?}");
    let lease = leased.json()["leases"][0].clone();
    let by_outcome = format!(
        "{{\"leases\":[{{\"number\":{},\"token\":{},\"outcome\":\"invalid\"}}]}}",
        lease["number"], lease["token"]
    );
    assert_eq!(shop.post("/v1/pools/ru/return", &by_outcome).status, 403);
    assert_eq!(guarded.stats()["pools"]["ru"]["retired"], 0);
    assert_eq!(shop.post("/v1/pools/ru/return", &by_outcome.replace("invalid", "answered")).status, 200);

    let (guarded, mut shop) = limited(&["--may-retire", "true"]);
    let leased = shop.lease();
    assert_eq!(shop.give_back(&leased, "retired").status, 200);
    assert_eq!(guarded.stats()["pools"]["ru"]["retired"], 1);
}

#[test]
fn a_stolen_token_drains_no_pool() {
    let limits = ["--max-live-leases", "10", "--max-ttl", "4"];
    let (guarded, mut shop) = limited(&limits);
    assert_eq!(count(&shop.post("/v1/pools/ru/lease", "{\"count\":7}")), 7);
    let last = shop.post("/v1/pools/ru/lease", "{\"count\":3}");
    assert_eq!(count(&last), 3);
    let refused = shop.lease();
    assert_eq!(refused.problem(), (429, "quota_exceeded".to_owned()));
    let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=5).contains(&seconds), "{refused:?}");
    assert_eq!(shop.post("/v1/pools/ru/lease", "{\"count\":11}").status, 403, "there may never be as many");
    // On another connection too.
    let header = shop.header.clone();
    assert_eq!(guarded.with_header(&header).lease().status, 429);
    // Returns make room, each once.
    assert_eq!(shop.give_back(&last, "available").status, 200);
    assert_eq!(shop.give_back(&last, "available").status, 200);
    assert_eq!(count(&shop.post("/v1/pools/ru/lease", "{\"count\":4}")), 0);
    let kept = shop.post("/v1/pools/ru/lease", "{\"count\":3}");
    assert_eq!(count(&kept), 3);
    // A renewed lease still counts when its first end has passed.
    let leases = kept.json()["leases"].clone();
    let items: Vec<_> = leases
        .as_array()
        .unwrap()
        .iter()
        .map(|lease| serde_json::json!({ "number": lease["number"], "token": lease["token"] }))
        .collect();
    let renew = serde_json::json!({ "leases": items, "ttl": 4 }).to_string();
    for _ in 0..3 {
        std::thread::sleep(std::time::Duration::from_secs(2));
        assert_eq!(shop.post("/v1/pools/ru/renew", &renew).status, 200);
    }
    assert_eq!(count(&shop.post("/v1/pools/ru/lease", "{\"count\":8}")), 0);
    assert_eq!(count(&shop.post("/v1/pools/ru/lease", "{\"count\":7}")), 7);
    // An exchange of the tokens file forgets nothing.
    guarded.exchange(&guarded.tokens_file().replace("max_ttl = 4", "max_ttl = 400"));
    assert_eq!(shop.lease().status, 429);
}

#[test]
fn rates_are_limited_and_say_when_to_try_again() {
    let (_guarded, mut shop) = limited(&["--requests-per-second", "5"]);
    let answers: Vec<_> = (0..12).map(|_| shop.lease()).collect();
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status == 429).collect();
    assert!((5..=7).contains(&refused.len()), "{}", refused.len());
    assert_eq!(refused[0].header("retry-after"), Some("1"));
    let (_guarded, mut shop) = limited(&["--numbers-per-second", "50"]);
    assert_eq!(count(&shop.post("/v1/pools/ru/lease", "{\"count\":200}")), 200);
    let refused = shop.lease();
    assert_eq!(refused.problem(), (429, "quota_exceeded".to_owned()));
    let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((2..=4).contains(&seconds), "{seconds}");
    // What was not leased is not counted.
    let (_guarded, mut shop) = limited(&["--numbers-per-second", "50"]);
    for _ in 0..20 {
        let refused = shop.post("/v1/pools/ru/lease", "{\"count\":40,\"within\":[\"7\"]}");
        assert_eq!(refused.problem().1, "exhausted");
    }
}

#[test]
fn connections_are_limited() {
    let (guarded, mut one) = limited(&["--max-connections", "2"]);
    let header = one.header.clone();
    let mut other = guarded.with_header(&header);
    let mut third = guarded.with_header(&header);
    assert_eq!((one.lease().status, other.lease().status), (200, 200));
    assert_eq!(third.lease().problem(), (429, "quota_exceeded".to_owned()));
    assert_eq!(guarded.root().call("GET", "/v1/stats").status, 200);
    drop(one);
    let started = std::time::Instant::now();
    while third.lease().status == 429 {
        assert!(started.elapsed().as_secs() < super::support::PATIENCE_SECONDS);
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    // A connection counts as one of whom it was used by last.
    let root = format!("Authorization: Bearer {}\r\n", guarded.root);
    third.header = root;
    assert_eq!(third.lease().status, 200);
    assert_eq!(guarded.with_header(&header).lease().status, 200);
}

#[test]
fn keys_belong_to_their_caller_and_have_a_share() {
    let client = ["--role", "client", "--pools", "*"];
    let few = [&client[..], &["--max-keyed-leases", "2"]].concat();
    let tight = [&client[..], &["--max-live-leases", "1", "--max-ttl", "60"]].concat();
    let principals: [(&str, &[&str]); 3] = [("one", &client), ("few", &few), ("tight", &tight)];
    let (guarded, tokens) = Guarded::start(&[], &principals);
    let mut callers: Vec<_> = tokens.iter().map(|token| guarded.caller(token)).collect();
    let first: Vec<_> = callers.iter_mut().map(|caller| caller.lease_once("order-7", "{}")).collect();
    assert!(first.iter().all(|answer| answer.status == 200), "{first:?}");
    assert!(first[0].body != first[1].body && first[1].body != first[2].body, "{first:?}");
    // A repetition is told of its own, though its caller may lease no more.
    for (caller, first) in callers.iter_mut().zip(&first) {
        assert_eq!(caller.lease_once("order-7", "{}").lasting(), first.lasting());
    }
    assert_eq!(callers[2].lease_once("order-8", "{}").problem(), (429, "quota_exceeded".to_owned()));
    assert_eq!(callers[1].lease_once("order-8", "{\"count\":1}").status, 200);
    assert_eq!(callers[1].lease_once("order-9", "{}").problem(), (429, "quota_exceeded".to_owned()));
    assert_eq!(callers[0].lease_once("order-9", "{}").status, 200);
    let stats = guarded.stats();
    assert_eq!(stats["principals"]["few"]["leases"], 2);
    assert_eq!(
        stats["principals"]["tight"],
        serde_json::json!({ "requests": 3, "refusals": 1, "leases": 1 })
    );
}

#[test]
fn a_lease_over_several_pools_is_within_the_scope_and_the_limits() {
    let limits = ["--max-count", "3", "--max-ttl", "100", "--max-live-leases", "4"];
    let client = |pools: &'static str| [&["--role", "client", "--pools", pools], &limits[..]].concat();
    let (shop, till) = (client("ru*"), client("*"));
    let viewer = ["--role", "viewer", "--pools", "*"];
    let (guarded, tokens) = Guarded::start(&[], &[("shop", &shop), ("till", &till), ("viewer", &viewer)]);
    let mut callers: Vec<_> = tokens.iter().map(|token| guarded.caller(token)).collect();
    let second = guarded.root().send("PUT", "/v1/pools/ru2", "text/csv", "first,last\n5000,5009\n");
    assert_eq!(second.status, 201);
    // A pool that the caller does not see does not exist.
    let hidden = callers[0].post("/v1/lease", "{\"pools\":[\"ru\",\"de\"]}");
    assert_eq!(hidden.problem(), (404, "pool_not_found".to_owned()));
    let absent = callers[0].post("/v1/lease", "{\"pools\":[\"ru\",\"fr\"]}");
    assert_eq!(hidden.body.replace("de\\\"", "fr\\\""), absent.body);
    assert_eq!(callers[1].post("/v1/lease", "{\"pools\":[\"de\",\"ru\"]}").json()["leases"][0]["pool"], "de");
    assert_eq!(callers[2].post("/v1/lease", "{\"pools\":[\"ru\"]}").problem().0, 403);
    // The limits of a call.
    for (more, words) in [("\"count\":4", "may lease 3 numbers"), ("\"ttl\":101", "may last 100")] {
        let answer = callers[0].post("/v1/lease", &format!("{{\"pools\":[\"ru\",\"ru2\"],{more}}}"));
        assert_eq!(answer.problem(), (403, "forbidden".to_owned()), "{answer:?}");
        assert!(answer.body.contains(words), "{answer:?}");
    }
    // Keys belong to their caller, and a repetition takes nothing of the limits.
    let body = "{\"pools\":[\"ru\",\"ru2\"],\"count\":3}";
    let first: Vec<_> =
        callers[..2].iter_mut().map(|caller| caller.post_once("/v1/lease", "order-7", body)).collect();
    assert!(first.iter().all(|answer| count(answer) == 3) && first[0].body != first[1].body);
    for (caller, first) in callers.iter_mut().zip(&first) {
        assert_eq!(caller.post_once("/v1/lease", "order-7", body).lasting(), first.lasting());
        assert_eq!(
            caller.lease_once("order-7", "{\"count\":2}").problem().0,
            429,
            "a key of the pool's call"
        );
    }
    let until = first[0].json()["leases"][0]["expires_at"].as_str().unwrap().to_owned();
    let until = humantime::parse_rfc3339(&until).unwrap();
    let left = until.duration_since(std::time::SystemTime::now()).unwrap().as_secs();
    assert!((80..=101).contains(&left), "without a ttl it is the shorter one: {left}");
    // The live leases of the caller.
    assert_eq!(callers[0].post("/v1/lease", body).problem(), (429, "quota_exceeded".to_owned()));
    assert_eq!(count(&callers[0].post("/v1/lease", "{\"pools\":[\"ru2\"]}")), 1);
    assert_eq!(callers[0].post("/v1/lease", "{\"pools\":[\"ru2\"]}").problem().0, 429);
}
