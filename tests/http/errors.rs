//! What the API refuses, and how.

use crate::support::Server;
use allotd::http::limits::{Limits, MAX_JSON_BODY_BYTES};

#[test]
fn json_is_read_strictly() {
    // More items than there may be are more than the usual longest body has.
    let limits = Limits { json_body_bytes: MAX_JSON_BODY_BYTES, ..Limits::default() };
    let server = Server::start_with_limits(None, &[], limits);
    assert_eq!(
        server.send("PUT", "/v1/pools/ru?ttl=50&ttl_max=100", "text/csv", "first,last\n100,102\n").status,
        201
    );
    let item = "{\"number\":1,\"token\":\"AAAAAAAAAAA\"}";
    let many = format!("{{\"leases\":[{}{item}]}}", format!("{item},").repeat(65_536));
    for (call, body, named) in [
        ("lease", "{\"count\":0}", "count"),
        ("lease", "{\"count\":65537}", "count"),
        ("lease", "{\"count\":\"1\"}", "count"),
        ("lease", "{\"count\":1.5}", "count"),
        ("lease", "{\"ttl\":0}", "ttl"),
        ("lease", "{\"ttl\":101}", "ttl"),
        ("lease", "{\"within\":[]}", "within"),
        ("lease", "{\"within\":[\"x\"]}", "within"),
        ("lease", "{\"colour\":1}", "colour"),
        ("lease", "{\"holder\":\"c\"}", "tracks no holders"),
        ("lease", "{\"holder\":\"\"}", "1 to 128 bytes of printable text"),
        ("lease", "{\"wait\":61}", "for wait whole seconds from 0 to 60"),
        ("lease", "{} {}", "trailing"),
        ("lease", "{", "EOF"),
        ("lease", "[]", "refused"),
        ("lease", "\u{fffd}", "refused"),
        ("renew", "", "refused"),
        ("renew", "{}", "leases"),
        ("renew", "{\"leases\":[]}", "leases"),
        ("renew", "{\"leases\":[{\"number\":1}]}", "token"),
        ("renew", "{\"leases\":[{\"number\":-1,\"token\":\"a\"}]}", "number"),
        ("renew", "{\"leases\":[{\"number\":1,\"token\":2}]}", "token"),
        ("renew", many.as_str(), "leases"),
        ("return", "{\"leases\":[{\"number\":1,\"token\":\"a\",\"then\":\"never\"}]}", "never"),
        ("return", "{\"leases\":[{\"number\":1,\"token\":\"a\"}],\"outcome\":\"\"}", "outcome"),
        ("return", "{\"leases\":[{\"number\":1,\"token\":\"a\"}],\"then\":{\"rest\":4294967295}}", "then"),
    ] {
        let answer = server.post(&format!("/v1/pools/ru/{call}"), body);
        assert_eq!(answer.problem(), (400, "bad_request".into()), "{call}");
        assert!(answer.body.contains(named), "{named}: {}", answer.body);
    }
    assert_eq!(server.call("GET", "/v1/pools/ru").json()["available"], 3, "nothing was leased");
}

#[test]
fn paths_methods_and_queries_are_known_or_refused() {
    let server = Server::with_pool("", "100");
    for (method, path, status, code) in [
        ("GET", "/page/", 404, "not_found"),
        ("GET", "/page/none.js", 404, "not_found"),
        ("GET", "/?a=1", 400, "bad_request"),
        ("GET", "/v1/pools/", 404, "not_found"),
        ("POST", "/v1/pools/ru/holders/c/d/return", 404, "not_found"),
        ("POST", "/v1/pools/ru/holders/c/return", 400, "bad_request"),
        ("GET", "/v1/pools/ru/numbers/1/2", 404, "not_found"),
        ("POST", "/v1/pools/nope/lease", 404, "pool_not_found"),
        ("GET", "/v1/pools/ru/numbers/101", 404, "number_not_found"),
        ("GET", "/v1/pools/ru/numbers/x", 400, "bad_request"),
        ("GET", "/v1/stats?a=1", 400, "bad_request"),
        ("POST", "/v1/pools/ru/lease?count=2", 400, "bad_request"),
        ("GET", "/v1/pools/ru/numbers?state=sold", 400, "bad_request"),
        ("DELETE", "/v1/pools/ru?force=maybe", 400, "bad_request"),
    ] {
        assert_eq!(server.call(method, path).problem(), (status, code.into()), "{method} {path}");
    }
    for (method, path, allow) in [
        ("DELETE", "/v1/pools", "GET, HEAD"),
        ("POST", "/v1/pools/ru", "GET, HEAD, PUT, PATCH, DELETE"),
        ("GET", "/v1/pools/ru/lease", "POST"),
        ("PUT", "/v1/pools/ru/numbers", "GET, HEAD, POST"),
        ("POST", "/v1/pools/ru/numbers/100", "GET, HEAD"),
        ("POST", "/v1/stats", "GET, HEAD"),
        ("POST", "/", "GET, HEAD"),
    ] {
        let answer = server.call(method, path);
        assert_eq!(answer.problem(), (405, "method_not_allowed".into()), "{method} {path}");
        assert_eq!(answer.header("allow"), Some(allow));
    }
    let head = server.call("HEAD", "/v1/pools/ru");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert!(head.header("content-length").is_some());
}

#[test]
fn media_types_and_settings_are_checked() {
    let server = Server::with_pool("", "100");
    for (method, path, kind) in [
        ("POST", "/v1/pools/ru/lease", "application/x-www-form-urlencoded"),
        ("PATCH", "/v1/pools/ru", "text/plain"),
        ("PUT", "/v1/pools/a", "application/x-www-form-urlencoded"),
        ("POST", "/v1/pools/ru/numbers", "application/json"),
        ("POST", "/v1/pools/ru/retire", ""),
    ] {
        let answer = server.send(method, path, kind, "{}");
        assert_eq!(answer.problem(), (415, "unsupported_media_type".into()), "{method} {path}");
    }
    let form = server.send("PUT", "/v1/pools/a", "application/x-www-form-urlencoded", "1");
    assert!(form.body.contains("--data-binary"), "{}", form.body);
    for query in [
        "holders=yes",
        "max_per_holder=3",
        "holders=true&max_per_holder=0",
        "ttl=0",
        "ttl=x",
        "order=any",
        "on_expiry=gone",
        "colour=1",
        "ttl=1&ttl=2",
        "on_invalid=x",
        "region=XX",
    ] {
        let answer = server.send("PUT", &format!("/v1/pools/a?{query}"), "text/plain", "1");
        assert_eq!(answer.problem(), (400, "bad_request".into()), "{query}");
    }
    assert_eq!(server.send("PUT", "/v1/pools/.a", "text/plain", "1").problem().0, 400);
    for body in ["{\"ttl\":0}", "{\"colour\":1}", "[]", ""] {
        let answer = server.send("PATCH", "/v1/pools/ru", "application/json", body);
        assert_eq!(answer.problem(), (400, "bad_request".into()), "{body}");
    }
    let large = server.post("/v1/pools/ru/lease", &" ".repeat((1 << 20) + 1));
    assert_eq!(large.problem(), (413, "too_large".into()));
}
