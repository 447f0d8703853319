//! Headers that keep answers from foreign pages, from guesses and from caches.

use std::io::Write;

use crate::support::{Answer, Server, read_answer};

fn call(server: &Server, method: &str, path: &str, header: &str) -> Answer {
    let mut connection = server.connect();
    write!(connection.get_mut(), "{method} {path} HTTP/1.1\r\nhost: localhost\r\n{header}\r\n").unwrap();
    read_answer(&mut connection, method == "HEAD")
}

#[track_caller]
fn is_protected(answer: &Answer, cache: &str) {
    let found = ["x-content-type-options", "cross-origin-resource-policy", "cache-control"].map(|name| {
        let values: Vec<_> = answer.headers.iter().filter(|(other, _)| other == name).collect();
        assert!(values.len() < 2, "{name} stands twice: {answer:?}");
        answer.header(name)
    });
    assert_eq!(found, [Some("nosniff"), Some("same-origin"), Some(cache)], "{answer:?}");
}

#[test]
fn every_answer_that_a_browser_can_get_is_protected() {
    let server = Server::with_pool("", "100-199");
    for (method, path, status) in [
        ("GET", "/v1/pools", 200),
        ("GET", "/v1/pools/ru", 200),
        ("GET", "/v1/pools/ru/numbers", 200),
        ("HEAD", "/v1/pools/ru/numbers", 200),
        ("GET", "/v1/pools/ru/map", 200),
        ("GET", "/v1/stats", 200),
        ("GET", "/metrics", 200),
        ("GET", "/openapi.json", 200),
        ("GET", "/healthz", 200),
        ("GET", "/readyz", 200),
        ("GET", "/nowhere", 404),
        ("POST", "/v1/pools/nope/lease", 404),
        ("DELETE", "/v1/backup", 405),
        ("POST", "/v1/pools/ru/renew", 400),
        ("POST", "/v1/pools/ru/pause", 200),
        ("POST", "/v1/pools/ru/lease", 409),
        ("POST", "/v1/pools/ru/resume", 200),
    ] {
        let answer = call(&server, method, path, "");
        assert_eq!(answer.status, status, "{method} {path}");
        is_protected(&answer, "no-store");
    }
    for path in ["/", "/page/page.js"] {
        is_protected(&call(&server, "GET", path, ""), "no-cache");
    }
    for header in ["origin: http://localhost\r\n", "sec-fetch-site: same-origin\r\n"] {
        let leased = call(&server, "POST", "/v1/pools/ru/lease", header);
        assert_eq!(leased.status, 200, "{leased:?}");
        is_protected(&leased, "no-store");
    }
    is_protected(&call(&server, "POST", "/v1/pools/ru/lease", "origin: http://evil.test\r\n"), "no-store");
    is_protected(&server.post("/v1/pools/ru/lease", "{\"count\":2}"), "no-store");
    is_protected(&call(&server, "GET", "/healthz", "expect: x\r\n"), "no-store");
    // No browser sends a POST without these: see docs/security.md.
    let leased = call(&server, "POST", "/v1/pools/ru/lease", "");
    assert_eq!((leased.status, leased.header("cache-control")), (200, None));
}
