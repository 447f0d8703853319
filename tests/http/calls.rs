//! Every call of the API over a real socket, and what exactly it answers.

use std::io::Write;

use crate::support::{Answer, Server, read_answer};
use serde_json::json;

#[test]
fn lease_renew_return() {
    let server = Server::with_pool("order=lowest&ttl=60", "100\n101\n102\n");
    let leased = server.call("POST", "/v1/pools/ru/lease");
    assert_eq!((leased.status, leased.header("content-type")), (200, Some("application/json")));
    let lease = &leased.json()["leases"][0];
    let (token, expires_at) = (lease["token"].as_str().unwrap(), lease["expires_at"].as_str().unwrap());
    assert_eq!((token.len(), expires_at.len(), &expires_at[19..]), (11, 20, "Z"));
    let exact = format!(
        "{{\"leases\":[{{\"number\":100,\"token\":\"{token}\",\"generation\":1,\"expires_at\":\"{expires_at}\",\"expires_in\":60}}]}}"
    );
    assert_eq!(leased.body, exact);

    let held = format!("\"leases\":[{{\"number\":100,\"token\":\"{token}\"}}]");
    let renewed = server.post("/v1/pools/ru/renew", &format!("{{{held},\"ttl\":600}}"));
    assert_eq!(renewed.status, 200);
    let until = renewed.json()["results"][0]["expires_at"].as_str().unwrap().to_owned();
    assert!(until.as_str() > expires_at);
    let exact = format!(
        "{{\"results\":[{{\"number\":100,\"result\":\"renewed\",\"expires_at\":\"{until}\",\"expires_in\":600}}]}}"
    );
    assert_eq!(renewed.body, exact);
    let seen = server.call("GET", "/v1/pools/ru/numbers/100");
    assert_eq!(
        seen.body,
        format!(
            "{{\"number\":100,\"state\":\"leased\",\"generation\":1,\"until\":\"{until}\",\"leasable\":false,\
             \"reasons\":[{{\"reason\":\"leased\",\"until\":\"{until}\"}}]}}"
        )
    );

    let returned = server.post("/v1/pools/ru/return", &format!("{{{held},\"then\":{{\"rest\":60}}}}"));
    let result = &returned.json()["results"][0];
    assert_eq!((result["result"].as_str(), result["state"].as_str()), (Some("returned"), Some("resting")));
    assert!(result["available_at"].is_string());
    assert_eq!(server.post("/v1/pools/ru/return", &format!("{{{held}}}")).status, 200, "twice is safe");
    assert_eq!(
        server.call("GET", "/v1/pools/ru/numbers/101").body,
        "{\"number\":101,\"state\":\"available\",\"generation\":0,\"leasable\":true,\"reasons\":[]}"
    );
}

#[test]
fn results_are_in_order_and_one_success_is_200() {
    let server = Server::with_pool("order=lowest", "100-105");
    let (number, token) = server.lease();
    let items = format!(
        "{{\"number\":999,\"token\":\"AAAAAAAAAAA\"}},{{\"number\":{number},\"token\":\"{token}\"}},{{\"number\":101,\"token\":\"no\"}}"
    );
    for (call, done) in [("renew", "renewed"), ("return", "returned")] {
        let answer = server.post(&format!("/v1/pools/ru/{call}"), &format!("{{\"leases\":[{items}]}}"));
        let results = answer.json()["results"].clone();
        let words: Vec<_> = (0..3).map(|i| results[i]["result"].as_str().unwrap()).collect();
        assert_eq!((answer.status, words), (200, vec!["unknown", done, "stale"]));
    }
    let stale = server.post("/v1/pools/ru/renew", "{\"leases\":[{\"number\":101,\"token\":\"no\"}]}");
    assert_eq!(stale.problem(), (409, "stale".to_owned()));
    assert_eq!(stale.json()["results"], json!([{"number": 101, "result": "stale"}]));
}

#[test]
fn outcomes_and_then_in_their_order() {
    let server = Server::with_pool("order=lowest&rest=30", "100-105");
    let changed =
        server.send("PATCH", "/v1/pools/ru", "application/json", "{\"outcomes\":{\"answered\":\"done\"}}");
    assert_eq!(changed.json()["settings"]["outcomes"], json!({"answered": "done"}));
    assert_eq!(changed.json()["settings"]["rest"], 30);
    for (words, own, state) in [
        ("", "", "resting"),
        (",\"outcome\":\"answered\"", "", "done"),
        (",\"outcome\":\"answered\"", ",\"then\":\"available\"", "available"),
        (",\"then\":\"retired\"", ",\"outcome\":\"answered\"", "done"),
        (",\"outcome\":\"answered\",\"then\":\"retired\"", "", "retired"),
    ] {
        let (number, token) = server.lease();
        let body = format!("{{\"leases\":[{{\"number\":{number},\"token\":\"{token}\"{own}}}]{words}}}");
        let answer = server.post("/v1/pools/ru/return", &body);
        assert_eq!(answer.json()["results"][0]["state"], state, "{body}: {}", answer.body);
    }
}

#[test]
fn lease_within_and_exhausted() {
    let server = Server::with_pool("ttl=60", "100-109\n200-209\n");
    let body = "{\"count\":50,\"within\":[\"20\",109,\"100-101\"]}";
    let leases = server.post("/v1/pools/ru/lease", body).json()["leases"].clone();
    let mut numbers: Vec<_> =
        leases.as_array().unwrap().iter().map(|l| l["number"].as_u64().unwrap()).collect();
    numbers.sort_unstable();
    let mut expected: Vec<u64> = vec![100, 101, 109];
    expected.extend(200..210);
    assert_eq!(numbers, expected);
    let nowhere = server.post("/v1/pools/ru/lease", "{\"within\":[\"9\"]}");
    assert_eq!(nowhere.problem(), (409, "exhausted".to_owned()));
    assert!(nowhere.body.contains("give others, or add numbers"), "{}", nowhere.body);
    let exhausted = server.post("/v1/pools/ru/lease", body);
    assert_eq!(exhausted.problem(), (409, "exhausted".to_owned()));
    let problem = exhausted.json();
    assert_eq!((&problem["available"], &problem["leased"]), (&json!(0), &json!(13)));
    assert!(problem["next_available_at"].is_string());
    let seconds: u64 = exhausted.header("retry-after").unwrap().parse().unwrap();
    // A lease ends on a whole second, so up to one more than its ttl.
    assert!((1..=61).contains(&seconds));
}

#[test]
fn pools_are_created_listed_and_deleted() {
    let server = Server::start();
    assert_eq!(server.call("GET", "/v1/pools").body, "{\"pools\":[]}");
    let created =
        server.send("PUT", "/v1/pools/ru?ttl=5&order=lowest", "text/csv", "first,last\n7,7\n5,6\n5,5\n");
    assert_eq!(created.body, "{\"pool\":\"ru\",\"numbers\":3,\"duplicates\":1,\"invalid\":0}");
    let shown = "{\"pool\":\"ru\",\"numbers\":3,\"available\":3,\"leased\":0,\"resting\":0,\"done\":0,\"retired\":0,\"blocked\":0,\"closed\":0,\
                 \"round\":1,\"paused\":false,\"settings\":{\"order\":\"lowest\",\"ttl\":5,\"ttl_max\":86400,\"rest\":0,\
                 \"on_expiry\":\"available\",\"outcomes\":{}}}";
    assert_eq!(server.call("GET", "/v1/pools/ru").body, shown);
    assert_eq!(server.call("GET", "/v1/pools").body, format!("{{\"pools\":[{shown}]}}"));
    assert_eq!(server.send("PUT", "/v1/pools/ru", "text/plain", "1").problem(), (409, "pool_exists".into()));
    server.lease();
    assert_eq!(server.call("DELETE", "/v1/pools/ru").problem(), (409, "in_use".into()));
    assert_eq!(server.call("DELETE", "/v1/pools/ru?force=true").status, 200);
    assert_eq!(server.call("GET", "/v1/pools/ru").problem(), (404, "pool_not_found".into()));
}

#[test]
fn a_bad_list_leaves_nothing_behind_and_skipping_reports() {
    let server = Server::start();
    let refused = server.send("PUT", "/v1/pools/ru", "text/plain", "5\nx\n");
    assert_eq!(refused.problem(), (400, "bad_request".into()));
    assert_eq!(server.call("GET", "/v1/pools").body, "{\"pools\":[]}");
    let skipped =
        server.send("PUT", "/v1/pools/ru?on_invalid=skip", "text/plain; charset=utf-8", "5\nx\n").json();
    assert_eq!((&skipped["numbers"], &skipped["invalid"]), (&json!(1), &json!(1)));
    assert_eq!(
        (&skipped["first_invalid"][0]["line"], &skipped["first_invalid"][0]["text"]),
        (&json!(2), &json!("x"))
    );
}

#[test]
fn add_retire_reinstate_pause_and_rounds() {
    let server = Server::with_pool("order=lowest", "100-102");
    let text = |path: &str, body: &str| server.send("POST", path, "text/plain", body);
    let added = text("/v1/pools/ru/numbers", "102\n103\n").json();
    assert_eq!((&added["added"], &added["existing"]), (&json!(1), &json!(1)));
    let retired = "{\"retired\":1,\"already\":0,\"unknown\":1,\"leased\":0,\"duplicates\":0,\"invalid\":0}";
    assert_eq!(text("/v1/pools/ru/retire?dry_run=true", "100\n999\n").body, retired);
    assert_eq!(text("/v1/pools/ru/retire", "100\n999\n").body, retired);
    assert_eq!(text("/v1/pools/ru/retire", "100").json()["already"], 1);
    assert_eq!(
        text("/v1/pools/ru/reinstate", "100\n101\n").body,
        "{\"reinstated\":1,\"already\":1,\"unknown\":0,\"duplicates\":0,\"invalid\":0}"
    );
    assert_eq!(server.call("POST", "/v1/pools/ru/pause").body, "{\"paused\":true}");
    assert_eq!(server.call("POST", "/v1/pools/ru/lease").problem(), (409, "paused".into()));
    assert_eq!(server.call("POST", "/v1/pools/ru/resume").body, "{\"paused\":false}");
    let (number, token) = server.lease();
    let body = format!("{{\"leases\":[{{\"number\":{number},\"token\":\"{token}\",\"then\":\"done\"}}]}}");
    assert_eq!(server.post("/v1/pools/ru/return", &body).json()["results"][0]["state"], "done");
    assert_eq!(server.call("POST", "/v1/pools/ru/rounds").body, "{\"round\":2,\"available\":1}");
}

#[test]
fn export_in_three_forms() {
    let server = Server::with_pool("order=lowest", "100-102");
    server.lease();
    assert_eq!(server.call("GET", "/v1/pools/ru/numbers?state=available").body, "101\n102\n");
    assert_eq!(server.call("GET", "/v1/pools/ru/numbers?within=100-101").body, "100\n101\n");
    let accept = |kind: &str| {
        use std::io::Write;
        let mut connection = server.connect();
        write!(
            connection.get_mut(),
            "GET /v1/pools/ru/numbers?state=available,done HTTP/1.1\r\nhost: localhost\r\naccept: {kind}\r\n\r\n"
        )
        .unwrap();
        crate::support::read_answer(&mut connection, false)
    };
    assert_eq!(
        accept("text/csv").body,
        "number,state,generation,until\n101,available,0,\n102,available,0,\n"
    );
    let set = accept("application/octet-stream");
    assert_eq!(set.header("content-type"), Some("application/octet-stream"));
    assert!(!set.body.is_empty());
    assert_eq!(accept("image/png").problem(), (400, "bad_request".into()));
}

#[test]
fn stats_count_calls_by_status() {
    let server = Server::with_pool("", "100");
    server.lease();
    server.call("POST", "/v1/pools/ru/lease");
    let stats = server.call("GET", "/v1/stats").json();
    assert_eq!(stats["requests"]["lease"]["by_status"], json!({"200": 1, "409": 1}));
    assert_eq!(
        (&stats["version"], &stats["durability"]),
        (&json!(env!("CARGO_PKG_VERSION")), &json!("sync"))
    );
    assert_eq!(
        (&stats["pools"]["ru"]["leased"], &stats["pools"]["ru"]["totals"]["leases"]),
        (&json!(1), &json!(1))
    );
    assert!(stats["requests"]["lease"]["latency_us"]["p99_9"].as_f64().unwrap() > 0.0);
    assert!(stats["memory"]["resident_bytes"].as_u64().unwrap() > 100_000);
    assert_eq!(server.call("GET", "/healthz").status, 200);
    assert_eq!(server.call("GET", "/readyz").body, "{\"status\":\"ready\"}");
}

/// A lease with a key, on a connection of its own.
fn lease_once(server: &Server, key: &str, body: &str) -> Answer {
    let mut connection = server.connect();
    let request = format!(
        "POST /v1/pools/ru/lease HTTP/1.1\r\nhost: localhost\r\nidempotency-key: {key}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    connection.get_mut().write_all(request.as_bytes()).unwrap();
    read_answer(&mut connection, false)
}

#[test]
fn a_repeated_lease_with_a_key_is_the_same_lease() {
    let server = Server::with_pool("order=lowest", "100-199");
    let first = lease_once(&server, "order-7", "{\"count\":3}");
    assert_eq!((first.status, &first.json()["leases"][2]["number"]), (200, &102.into()));
    let again = lease_once(&server, "order-7", "{\"count\":3}");
    assert_eq!((again.status, again.lasting()), (200, first.lasting()));
    let other = lease_once(&server, "order-7", "{\"count\":4}");
    assert_eq!(other.problem(), (422, "idempotency_mismatch".to_owned()));
    assert_ne!(lease_once(&server, "order-8", "{\"count\":3}").lasting(), first.lasting());
    let plain = lease_once(&server, "order-9", "");
    assert_eq!(lease_once(&server, "order-9", "").lasting(), plain.lasting());
    assert_eq!(server.call("GET", "/v1/pools/ru").json()["leased"], 7);
    for key in ["", &"k".repeat(129)] {
        assert_eq!(lease_once(&server, key, "").problem(), (400, "bad_request".to_owned()));
    }
    // After its time the key means nothing any more.
    let short = lease_once(&server, "short", "{\"ttl\":1}");
    std::thread::sleep(std::time::Duration::from_millis(2_100));
    assert_ne!(lease_once(&server, "short", "{\"ttl\":1}").lasting(), short.lasting());
}

#[test]
fn sixteen_callers_with_one_key_get_one_lease() {
    let server = Server::with_pool("", "100-199");
    let answers: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..16).map(|_| scope.spawn(|| lease_once(&server, "same", "").body)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!(server.call("GET", "/v1/pools/ru").json()["leased"], 1);
}

#[test]
fn a_lease_of_many_is_made_in_parts_and_is_one() {
    let server = Server::with_pool("order=lowest", "100000-169999");
    for expected in [65_536, 4_464] {
        let leased = server.post("/v1/pools/ru/lease", "{\"count\":65536}").json();
        let numbers: std::collections::BTreeSet<u64> = leased["leases"]
            .as_array()
            .unwrap()
            .iter()
            .map(|lease| lease["number"].as_u64().unwrap())
            .collect();
        assert_eq!(numbers.len(), expected);
    }
    assert_eq!(
        server.post("/v1/pools/ru/lease", "{\"count\":65536}").problem(),
        (409, "exhausted".to_owned())
    );
}

#[test]
fn renewals_and_returns_of_many_are_made_in_parts_and_are_one() {
    const MANY: usize = 10_000;
    let limits = allotd::http::limits::Limits { json_body_bytes: 8 << 20, ..Default::default() };
    let server = Server::start_with_limits(None, &[], limits);
    assert_eq!(server.send("PUT", "/v1/pools/ru?order=lowest", "text/plain", "100000-119999").status, 201);
    let leased = server.post("/v1/pools/ru/lease", &format!("{{\"count\":{MANY}}}")).json();
    let items: Vec<_> = leased["leases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|lease| json!({"number": lease["number"], "token": lease["token"]}))
        .collect();
    for (call, result) in
        [("renew", "renewed"), ("return", "returned"), ("return", "returned"), ("renew", "stale")]
    {
        let answer = server.post(&format!("/v1/pools/ru/{call}"), &json!({"leases": items}).to_string());
        assert_eq!(answer.status, if result == "stale" { 409 } else { 200 }, "{call}");
        let answer = answer.json();
        let results = answer["results"].as_array().unwrap();
        assert_eq!(results.len(), MANY);
        for (found, item) in results.iter().zip(&items) {
            assert_eq!((&found["number"], found["result"].as_str().unwrap()), (&item["number"], result));
        }
    }
    // A mistake in the last item is found before the first is returned.
    let leased = server.post("/v1/pools/ru/lease", "{\"count\":5000}").json();
    let mut items = leased["leases"].as_array().unwrap().clone();
    for item in &mut items {
        *item = json!({"number": item["number"], "token": item["token"]});
    }
    items.last_mut().unwrap()["outcome"] = json!("");
    assert_eq!(server.post("/v1/pools/ru/return", &json!({"leases": items}).to_string()).problem().0, 400);
    assert_eq!(server.call("GET", "/v1/pools/ru").json()["leased"], 5_000);
}
