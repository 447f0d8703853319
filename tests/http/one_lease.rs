//! Renewing and returning one lease without a body: every answer, and every token that is not where it belongs.

use std::io::Write;

use crate::support::{Answer, Server, read_answer};

/// A POST without a body and with these header lines.
fn post(server: &Server, path: &str, headers: &str) -> Answer {
    let mut connection = server.connect();
    write!(connection.get_mut(), "POST {path} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n").unwrap();
    read_answer(&mut connection, false)
}

fn with_token(server: &Server, path: &str, token: &str) -> Answer {
    post(server, path, &format!("Lease-Token: {token}\r\n"))
}

fn counts(server: &Server, of: &str) -> u64 {
    server.call("GET", "/v1/pools/ru").json()[of].as_u64().unwrap()
}

#[test]
fn renew_and_return_answer_with_one_result_of_the_batch_calls() {
    let server = Server::with_pool("order=lowest&ttl=60&rest=30", "100-109");
    let (number, token) = server.lease();
    let path = format!("/v1/pools/ru/numbers/{number}");
    let renewed = with_token(&server, &format!("{path}/renew?ttl=600"), &token);
    assert_eq!((renewed.status, renewed.header("content-type")), (200, Some("application/json")));
    let items = format!("{{\"leases\":[{{\"number\":{number},\"token\":\"{token}\"}}]");
    let again = server.post("/v1/pools/ru/renew", &format!("{items}}}"));
    assert_eq!(renewed.lasting(), again.lasting()["results"][0], "the pool's ttl is shorter");
    assert_eq!(with_token(&server, &format!("{path}/renew"), &token).lasting(), renewed.lasting());

    let returned = with_token(&server, &format!("{path}/return"), &token);
    assert_eq!((returned.status, returned.json()["state"].as_str()), (200, Some("resting")));
    let again = server.post("/v1/pools/ru/return", &format!("{items},\"then\":\"done\"}}"));
    assert_eq!(format!("{{\"results\":[{}]}}", returned.body), again.body, "twice is safe");
    assert_eq!(with_token(&server, &format!("{path}/return?then=retired"), &token).body, returned.body);
    let stale = with_token(&server, &format!("{path}/renew"), &token);
    assert_eq!(stale.problem(), (409, "stale".to_owned()));
    assert_eq!(counts(&server, "resting"), 1);
}

#[test]
fn the_query_says_what_becomes_of_the_number() {
    let server = Server::with_pool("order=lowest", "100-109");
    let rules = "{\"outcomes\":{\"answered\":\"done\",\"no answer\":{\"rest\":60}}}";
    server.send("PATCH", "/v1/pools/ru", "application/json", rules);
    for (query, state) in [
        ("", "available"),
        ("?", "available"),
        ("?outcome=answered", "done"),
        ("?outcome=no+answer", "resting"),
        ("?outcome=unheard%20of", "available"),
        ("?then=rest:60", "resting"),
        ("?then=done", "done"),
        ("?outcome=answered&then=available", "available"),
        ("?then=retired", "retired"),
    ] {
        let (number, token) = server.lease();
        let answer = with_token(&server, &format!("/v1/pools/ru/numbers/{number}/return{query}"), &token);
        let expected = format!("{{\"number\":{number},\"result\":\"returned\",\"state\":\"{state}\"");
        assert!(answer.body.starts_with(&expected), "{query}: {}", answer.body);
        assert_eq!(answer.json()["available_at"].is_string(), state == "resting", "{query}");
    }
    let stats = server.call("GET", "/v1/stats").json()["pools"]["ru"]["totals"].clone();
    assert_eq!(stats["returns_by_outcome"]["answered"], 2, "{stats}");
}

#[test]
fn what_is_refused_says_what_to_do_and_changes_nothing() {
    let server = Server::with_pool("order=lowest&ttl_max=600", "100-109");
    let (number, token) = server.lease();
    let right = format!("lease-token: {token}\r\n");
    let own = format!("/v1/pools/ru/numbers/{number}");
    let of = |call: &str| format!("{own}/{call}");
    let refused: [(String, String, u16, &str, &str); 20] = [
        (of("return"), String::new(), 400, "bad_request", "in the header Lease-Token"),
        (of("renew"), "lease-token: abc\r\n".to_owned(), 400, "bad_request", "11 characters"),
        (of("return"), "lease-token:\r\n".to_owned(), 400, "bad_request", "11 characters"),
        (of("return"), format!("{right}{right}"), 400, "bad_request", "given twice"),
        (
            of("return"),
            format!("authorization: Bearer {token}\r\n"),
            400,
            "bad_request",
            "header authorization: give it in Lease-Token",
        ),
        (
            of("renew"),
            format!("token: {token}\r\n"),
            400,
            "bad_request",
            "header token: give it in Lease-Token",
        ),
        (
            of("return"),
            "authorization: Bearer of-something-else\r\n".to_owned(),
            400,
            "bad_request",
            "Give the token that came with the lease",
        ),
        (format!("{own}/return?token={token}"), right.clone(), 400, "bad_request", "give outcome, then"),
        (format!("{own}/renew?then=done"), right.clone(), 400, "bad_request", "give ttl"),
        (format!("{own}/renew?ttl=601"), right.clone(), 400, "bad_request", "give 1 to 600"),
        (format!("{own}/renew?ttl=0"), right.clone(), 400, "bad_request", "give 1 to 600"),
        (format!("{own}/renew?ttl=1h"), right.clone(), 400, "bad_request", "seconds"),
        (
            format!("{own}/return?then=tomorrow"),
            right.clone(),
            400,
            "bad_request",
            "available, rest:SECONDS, done, retired or list:NAME",
        ),
        (format!("{own}/return?outcome="), right.clone(), 400, "bad_request", "1 to 64 bytes"),
        (format!("{own}/return?then=rest:999999999"), right.clone(), 400, "bad_request", "316224000"),
        (
            "/v1/pools/ru/numbers/0100/return".to_owned(),
            right.clone(),
            400,
            "bad_request",
            "\"0100\" is not a number",
        ),
        ("/v1/pools/none/numbers/100/return".to_owned(), right.clone(), 404, "pool_not_found", "no pool"),
        (
            "/v1/pools/ru/numbers/999/return".to_owned(),
            right.clone(),
            404,
            "number_not_found",
            "999 is not in the pool ru",
        ),
        ("/v1/pools/ru/numbers/101/return".to_owned(), right.clone(), 409, "stale", "lease again"),
        (of("renew"), "lease-token: AAAAAAAAAAA\r\n".to_owned(), 409, "stale", "lease again"),
    ];
    for (path, headers, status, code, words) in refused {
        let answer = post(&server, &path, &headers);
        assert_eq!(answer.problem(), (status, code.to_owned()), "{path} {headers}: {}", answer.body);
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(words) && !detail.contains(&token), "{path} {headers}: {detail}");
    }
    assert_eq!(counts(&server, "leased"), 1);
    assert_eq!(with_token(&server, &of("return"), &token).status, 200);
}

#[test]
fn a_body_is_refused_unless_it_proves_to_be_empty() {
    let server = Server::with_pool("order=lowest", "100-109");
    let (number, token) = server.lease();
    let chunked = |chunks: &str| {
        let mut connection = server.connect();
        let head = format!("lease-token: {token}\r\ntransfer-encoding: chunked");
        write!(
            connection.get_mut(),
            "POST /v1/pools/ru/numbers/{number}/return HTTP/1.1\r\nhost: localhost\r\n{head}\r\n\r\n{chunks}"
        )
        .unwrap();
        read_answer(&mut connection, false)
    };
    let refused = chunked("2\r\n{}\r\n0\r\n\r\n");
    assert_eq!(refused.problem(), (400, "bad_request".to_owned()));
    assert!(refused.body.contains("This call has no body"), "{}", refused.body);
    assert_eq!(counts(&server, "leased"), 1);
    assert_eq!(chunked("0\r\n\r\n").json()["state"], "available");
    assert_eq!(server.call("GET", &format!("/v1/pools/ru/numbers/{number}/return")).status, 405);
    let stats = server.call("GET", "/v1/stats").json();
    assert_eq!(stats["requests"]["return"]["by_status"], serde_json::json!({"200": 1, "400": 1}));
}

#[test]
fn an_expiry_rule_makes_the_token_of_an_ended_lease_stale() {
    let server = Server::with_pool("order=lowest&ttl=1&on_expiry=done", "100-109");
    let (number, token) = server.lease();
    let until = || server.call("GET", &format!("/v1/pools/ru/numbers/{number}")).json();
    while until()["state"] == "leased" {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let renewed = with_token(&server, &format!("/v1/pools/ru/numbers/{number}/renew"), &token);
    assert_eq!(renewed.problem(), (409, "stale".to_owned()));
    let returned = with_token(&server, &format!("/v1/pools/ru/numbers/{number}/return"), &token);
    assert_eq!(returned.json()["state"], "done", "as after any other end");
}
