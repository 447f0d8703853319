//! Answers of a running daemon, each compared with what the document says of its call and status.

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::document::{Document, Operation};
use crate::support::{Answer, Client, Server, ranges_csv};

/// A client that checks what it sends and gets.
struct Checked {
    document: Document,
    client: RefCell<Client>,
    /// Operations and statuses that were seen.
    seen: RefCell<BTreeSet<String>>,
}

impl Checked {
    fn new(server: &Server) -> Self {
        let client = RefCell::new(server.client());
        Self { document: Document::load(), client, seen: RefCell::default() }
    }

    fn operation(&self, method: &str, path: &str) -> Operation<'_> {
        let bare = path.split('?').next().unwrap();
        let fits = |template: &str| {
            let (ours, parts) = (bare.split('/').count(), template.split('/').count());
            ours == parts
                && bare.split('/').zip(template.split('/')).all(|(a, b)| a == b || b.starts_with('{'))
        };
        let found = self.document.operations().find(|o| o.method == method && fits(o.path));
        found.unwrap_or_else(|| panic!("{method} {path} is not in the document"))
    }

    /// Checks an answer, and returns its body.
    fn check(&self, method: &str, path: &str, status: u16, answer: &Answer) -> Value {
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
        let operation = self.operation(method, path);
        let responses = operation.responses();
        let Some((_, response)) = responses.iter().find(|(known, _)| *known == status.to_string()) else {
            panic!("{method} {path} answers {status}, which is not in the document: {}", answer.body);
        };
        self.seen.borrow_mut().insert(format!("{method} {} {status}", operation.path));
        let media_type = answer.header("content-type").unwrap().split(';').next().unwrap();
        let documented = self.document.at(&format!("{response}/content"));
        assert!(documented.get(media_type).is_some(), "{method} {path}: {media_type} is not in the document");
        let followed = self.document.follow(response.clone());
        for header in ["retry-after", "allow"] {
            let headers = self.document.at(&followed).get("headers").and_then(Value::as_object);
            let named = headers.is_some_and(|all| all.keys().any(|name| name.eq_ignore_ascii_case(header)));
            assert!(
                named || answer.header(header).is_none(),
                "{method} {path}: {header} is not in the document"
            );
        }
        if !media_type.ends_with("json") || media_type.ends_with("ndjson") {
            return Value::String(answer.body.clone());
        }
        let schema = self.document.media_type(response, media_type).unwrap();
        let value = answer.json();
        self.document.check(&schema, &value).unwrap_or_else(|why| panic!("{method} {path}: {why}"));
        value
    }

    fn call(&self, method: &str, path: &str, status: u16) -> Value {
        let answer = self.client.borrow_mut().call(method, path).unwrap();
        self.check(method, path, status, &answer)
    }

    /// With a body of JSON. What the daemon takes must fit the document's schema, too.
    fn json(&self, method: &str, path: &str, body: &Value, status: u16) -> Value {
        let fits = self.document.check(&self.operation(method, path).json_request().unwrap(), body);
        assert!(status >= 300 || fits.is_ok(), "{method} {path} takes {body}: {fits:?}");
        let text = body.to_string();
        let answer =
            self.client.borrow_mut().send(method, path, "application/json", text.as_bytes()).unwrap();
        self.check(method, path, status, &answer)
    }

    /// With a list of numbers.
    fn list(&self, method: &str, path: &str, body: &str, status: u16) -> Value {
        let answer =
            self.client.borrow_mut().send(method, path, "text/csv", ranges_csv(body).as_bytes()).unwrap();
        self.check(method, path, status, &answer)
    }

    fn get_as(&self, path: &str, accept: &str) -> Value {
        let answer = self.client.borrow_mut().get_as(path, accept).unwrap();
        assert!(answer.header("content-type").unwrap().starts_with(accept));
        self.check("GET", path, 200, &answer)
    }
}

#[test]
fn answers_of_every_call_are_as_the_document_says() {
    let server = Server::with_events();
    let checked = Checked::new(&server);
    pools(&checked);
    events(&checked);
    leases(&checked);
    lists(&checked);
    standing_lists(&checked);
    daemon(&checked);
    of_another_site(&checked);
    checked.call("DELETE", "/v1/pools/ru?force=true", 200);
    let seen = checked.seen.borrow();
    // The members of a cluster answer those of clusters: tests/cluster.
    let alone = checked.document.operations().filter(|operation| !operation.path.starts_with("/v1/cluster"));
    for operation in alone {
        let success = operation.responses()[0].0.clone();
        let name = format!("{} {} {success}", operation.method, operation.path);
        assert!(success.starts_with('2') && seen.contains(&name), "{name} was not seen");
    }
}

fn events(checked: &Checked) {
    checked.list("PUT", "/v1/pools/told?ttl=60", "1-9\n", 201);
    checked.json("POST", "/v1/pools/told/lease", &json!({}), 200);
    for kind in ["application/x-ndjson", "text/event-stream"] {
        let Value::String(text) = checked.get_as("/v1/pools/told/events?wait=9", kind) else {
            panic!("{kind}")
        };
        assert!(text.contains("\"event\":\"leased\""), "{text}");
    }
    let gone = checked.call("GET", "/v1/pools/told/events?from=1", 410);
    assert!(gone["oldest"].as_u64().unwrap() > 1);
    checked.call("GET", "/v1/pools/told/events?limit=0", 400);
    checked.call("GET", "/v1/pools/nope/events", 404);
    checked.call("DELETE", "/v1/pools/told?force=true", 200);
    let server = Server::with_pool("", "100");
    let without = Checked::new(&server);
    without.call("GET", "/v1/pools/ru/events", 409);
}

fn pools(checked: &Checked) {
    let invalid =
        checked.list("PUT", "/v1/pools/ru?order=lowest&ttl=60&on_invalid=skip", "100-199\n100\nx\n", 201);
    assert_eq!((&invalid["numbers"], &invalid["first_invalid"][0]["line"]), (&json!(100), &json!(4)));
    checked.list("PUT", "/v1/pools/whole?on_expiry=rest:9", "1-9\n", 201);
    checked.list("PUT", "/v1/pools/ru", "1", 409);
    checked.list("PUT", "/v1/pools/bad", "x", 400);
    checked.json("PATCH", "/v1/pools/ru", &json!({"ttl": 0}), 400);
    let rules =
        json!({"answered": "done", "no_answer": {"rest": 14400}, "gone": "retired", "busy": "available"});
    let change = json!({"order": "lowest", "ttl": 50, "ttl_max": 500, "rest": 0, "on_expiry": {"rest": 1}, "outcomes": rules});
    checked.json("PATCH", "/v1/pools/ru", &change, 200);
    checked.json("PATCH", "/v1/pools/nope", &change, 404);
    checked.call("GET", "/v1/pools/ru/note", 404);
    checked.json("PATCH", "/v1/pools/ru", &json!({"note": "Ask for *five* minutes."}), 200);
    checked.call("GET", "/v1/pools/ru/note", 200);
    checked.call("GET", "/v1/pools", 200);
    checked.call("GET", "/v1/pools/ru", 200);
    checked.call("GET", "/v1/pools/nope", 404);
    checked.call("DELETE", "/v1/pools/nope", 404);
    checked.call("DELETE", "/v1/pools/whole", 200);
    checked.call("DELETE", "/v1/pools/ru?force=perhaps", 400);
}

fn standing_lists(checked: &Checked) {
    checked.call("PUT", "/v1/lists/optouts", 201);
    checked.call("PUT", "/v1/lists/optouts", 409);
    checked.list("PUT", "/v1/lists/national?on_invalid=skip", "150-160\nx\n", 201);
    checked.list("PUT", "/v1/lists/bad", "x", 400);
    checked.list("PUT", "/v1/pools/listed?blocked_by=optouts,national&order=lowest", "100-199", 201);
    checked.list("PUT", "/v1/pools/other?blocked_by=nope", "100-199", 404);
    checked.json("PATCH", "/v1/pools/listed", &json!({"blocked_by": ["nope"]}), 404);
    checked.json("PATCH", "/v1/pools/listed", &json!({"on_expiry": {"list": "optouts"}}), 400);
    let rules = json!({"blocked_by": ["national", "optouts"], "outcomes": {"no": {"list": "optouts"}}});
    checked.json("PATCH", "/v1/pools/listed", &rules, 200);
    let leases = checked.json("POST", "/v1/pools/listed/lease", &json!({"count": 3}), 200);
    let body = json!({"leases": held(&leases, 0..1), "outcome": "no"});
    let returned = checked.json("POST", "/v1/pools/listed/return", &body, 200);
    assert_eq!(returned["results"][0]["state"], "blocked");
    let body = json!({"leases": held(&leases, 1..2), "then": {"list": "nope"}});
    checked.json("POST", "/v1/pools/listed/return", &body, 404);
    let shown = checked.call("GET", "/v1/pools/listed/numbers/100", 200);
    assert_eq!((&shown["state"], &shown["blocked_by"]), (&json!("blocked"), &json!(["optouts"])));
    for dry_run in ["?dry_run=true", ""] {
        let added = checked.list("POST", &format!("/v1/lists/optouts/numbers{dry_run}"), "100-102\n", 200);
        let effect = json!([{"pool": "listed", "blocked": 2, "unblocked": 0, "leased": 2}]);
        assert_eq!((&added["added"], &added["existing"], &added["pools"]), (&json!(2), &json!(1), &effect));
    }
    let body = json!({"leases": held(&leases, 1..3)});
    let renewed = checked.json("POST", "/v1/pools/listed/renew", &body, 409);
    assert_eq!(renewed["results"][0]["result"], "blocked");
    let removed = checked.list("POST", "/v1/lists/optouts/remove", "100\n999\n", 200);
    assert_eq!((&removed["removed"], &removed["unknown"]), (&json!(1), &json!(1)));
    let replaced = checked.list("POST", "/v1/lists/national/replace", "160-170\n", 200);
    assert_eq!((&replaced["added"], &replaced["removed"]), (&json!(10), &json!(10)));
    checked.list("POST", "/v1/lists/nope/replace", "1", 404);
    checked.list("POST", "/v1/lists/national/remove", "x", 400);
    checked.call("GET", "/v1/lists", 200);
    let list = checked.call("GET", "/v1/lists/national", 200);
    assert_eq!((&list["numbers"], &list["pools"]), (&json!(11), &json!(["listed"])));
    checked.call("GET", "/v1/lists/nope", 404);
    let text = checked.call("GET", "/v1/lists/optouts/numbers", 200);
    assert_eq!(text, "101\n102\n");
    assert_eq!(checked.get_as("/v1/lists/optouts/numbers", "text/csv"), "number\n101\n102\n");
    let shown = checked.call("GET", "/v1/lists/optouts/numbers/102", 200);
    assert_eq!(shown, json!({"number": 102, "list": "optouts", "listed": true}));
    checked.call("GET", "/v1/lists/optouts/numbers/x", 400);
    checked.call("DELETE", "/v1/lists/optouts", 409);
    checked.call("DELETE", "/v1/pools/listed?force=true", 200);
    checked.call("DELETE", "/v1/lists/optouts", 200);
    checked.call("DELETE", "/v1/lists/optouts", 404);
}

/// A list of the held of these leases, and of some that are not.
fn held(leases: &Value, range: std::ops::Range<usize>) -> Value {
    let one = |lease: &Value| json!({"number": lease["number"], "token": lease["token"]});
    leases["leases"].as_array().unwrap()[range].iter().map(one).collect()
}

fn leases(checked: &Checked) {
    const LEASE: &str = "/v1/pools/ru/lease";
    const RETURN: &str = "/v1/pools/ru/return";
    checked.call("POST", LEASE, 200);
    let within = json!({"count": 6, "ttl": 100, "within": ["11", "120-129", 130]});
    let leases = checked.json("POST", LEASE, &within, 200);
    for (body, status) in
        [(json!({"count": 65537}), 400), (json!({"ttl": 501}), 400), (json!({"within": ["5"]}), 409)]
    {
        checked.json("POST", LEASE, &body, status);
    }
    let large =
        checked.client.borrow_mut().send("POST", LEASE, "application/json", &vec![b' '; (1 << 20) + 1]);
    checked.check("POST", LEASE, 413, &large.unwrap());
    let form = checked.client.borrow_mut().send("POST", LEASE, "text/html", b"x");
    checked.check("POST", LEASE, 415, &form.unwrap());
    checked.json("POST", "/v1/pools/ru/renew", &json!({"leases": held(&leases, 0..6), "ttl": 200}), 200);
    let wrong = json!({"number": 111, "token": "AAAAAAAAAAA"});
    let unknown = json!({"number": 7, "token": "AAAAAAAAAAA"});
    let mixed = json!([held(&leases, 0..1)[0], wrong, unknown]);
    checked.json("POST", "/v1/pools/ru/renew", &json!({"leases": mixed}), 200);
    checked.json("POST", "/v1/pools/ru/renew", &json!({"leases": [wrong, unknown]}), 409);
    checked.json("POST", "/v1/pools/ru/renew", &json!({"leases": []}), 400);
    checked.json("POST", RETURN, &json!({"leases": [wrong, unknown]}), 409);
    for (index, how) in [
        json!({"outcome": "answered"}),
        json!({"outcome": "no_answer"}),
        json!({"then": "retired"}),
        json!({"then": {"rest": 10}}),
    ]
    .into_iter()
    .enumerate()
    {
        let mut body = how;
        body["leases"] = held(&leases, index..index + 1);
        checked.json("POST", RETURN, &body, 200);
    }
    let mut own = held(&leases, 4..5);
    own[0]["outcome"] = "busy".into();
    own[0]["then"] = "available".into();
    checked.json("POST", RETURN, &json!({"leases": own, "then": "done", "outcome": "gone"}), 200);
    keyed(checked);
    one_lease(checked);
    several_pools(checked);
    holders(checked);
    checked.call("POST", "/v1/pools/ru/pause", 200);
    checked.call("POST", LEASE, 409);
    checked.call("POST", "/v1/pools/ru/resume", 200);
    checked.call("POST", "/v1/pools/ru/rounds", 200);
    checked.call("DELETE", "/v1/pools/ru", 409);
    checked.json("POST", LEASE, &json!({"count": 65536}), 200);
    let exhausted = checked.call("POST", LEASE, 409);
    assert_eq!(exhausted["code"], "exhausted");
    let stats = checked.call("GET", "/v1/stats", 200);
    assert!(stats["pools"]["ru"]["next_available_at"].is_string(), "{stats}");
}

/// Who holds what.
fn holders(checked: &Checked) {
    const LEASE: &str = "/v1/pools/ru/lease";
    checked.json("POST", LEASE, &json!({"holder": "c-17"}), 400);
    checked.call("GET", "/v1/pools/ru/holders", 400);
    let limits = json!({"holders": true, "max_per_holder": 9, "first_per_holder": 2});
    checked.json("PATCH", "/v1/pools/ru", &limits, 200);
    checked.json("PATCH", "/v1/pools/ru", &json!({"max_per_holder": 0}), 400);
    let leases = checked.json("POST", LEASE, &json!({"holder": "c-17", "count": 2}), 200);
    checked.json("POST", LEASE, &json!({"holder": "c-17"}), 429);
    checked.json("POST", LEASE, &json!({"holder": ""}), 400);
    checked.call("GET", &format!("/v1/pools/ru/numbers/{}", leases["leases"][0]["number"]), 200);
    checked.call("GET", "/v1/pools/ru/holders", 200);
    checked.call("GET", "/v1/pools/ru/holders?top=0", 400);
    checked.call("GET", "/v1/pools/nope/holders", 404);
    assert_eq!(checked.call("GET", "/v1/pools/ru/holders/c-17", 200)["leased"], 2);
    checked.call("GET", "/v1/pools/ru/holders/%0A", 400);
    let all = "/v1/pools/ru/holders/c-17/return";
    checked.json("POST", all, &json!({"then": {"list": "nope"}}), 404);
    checked.json("POST", all, &json!({"outcome": ""}), 400);
    assert_eq!(checked.json("POST", all, &json!({"outcome": "busy"}), 200), json!({"returned": 2}));
    checked.call("POST", "/v1/pools/ru/release?holder=c-17", 200);
    let none = json!({"max_per_holder": null, "first_per_holder": null});
    checked.json("PATCH", "/v1/pools/ru", &none, 200);
}

/// Of several pools.
fn several_pools(checked: &Checked) {
    checked.list("PUT", "/v1/pools/few", "1\n", 201);
    let lease = |pools: &[&str], status| checked.json("POST", "/v1/lease", &json!({"pools": pools}), status);
    lease(&["few", "ru"], 200);
    assert_eq!(lease(&["few", "ru"], 200)["leases"][0]["pool"], "ru");
    lease(&["few"], 409);
    checked.call("POST", "/v1/pools/few/pause", 200);
    lease(&["few"], 409);
    lease(&["few", "nope"], 404);
    lease(&[], 400);
    checked.call("DELETE", "/v1/pools/few?force=true", 200);
}

/// The header `Lease-Token`.
fn one_lease(checked: &Checked) {
    let lease = checked.call("POST", "/v1/pools/ru/lease", 200)["leases"][0].clone();
    let send = |path: &str, token: &str| {
        let kind = format!("text/plain\r\nlease-token: {token}");
        checked.client.borrow_mut().send("POST", path, &kind, b"").unwrap()
    };
    let token = lease["token"].as_str().unwrap();
    for (number, call, token, status) in [
        (lease["number"].clone(), "renew?ttl=70", token, 200),
        (lease["number"].clone(), "renew", "AAAAAAAAAAA", 409),
        (lease["number"].clone(), "return", "no", 400),
        (json!(7), "return", token, 404),
        (lease["number"].clone(), "return?outcome=no_answer", token, 200),
    ] {
        let path = format!("/v1/pools/ru/numbers/{number}/{call}");
        checked.check("POST", &path, status, &send(&path, token));
    }
}

/// The header `Idempotency-Key`.
fn keyed(checked: &Checked) {
    let send = |body: &str| {
        let mut client = checked.client.borrow_mut();
        let kind = "application/json\r\nidempotency-key: order-4711";
        client.send("POST", "/v1/pools/ru/lease", kind, body.as_bytes()).unwrap()
    };
    let first = checked.check("POST", "/v1/pools/ru/lease", 200, &send("{}"));
    assert_eq!(checked.check("POST", "/v1/pools/ru/lease", 200, &send("{}")), first);
    checked.check("POST", "/v1/pools/ru/lease", 422, &send("{\"count\":2}"));
}

fn lists(checked: &Checked) {
    checked.list("POST", "/v1/pools/ru/numbers", "300-309\n100\n", 200);
    checked.list("POST", "/v1/pools/ru/numbers?on_invalid=skip", "310\nx\n", 200);
    checked.json_as_list("POST", "/v1/pools/ru/numbers", 415);
    checked.list("PUT", "/v1/pools/preview?dry_run=true", "100\n", 200);
    for action in ["retire?dry_run=true", "retire", "reinstate", "retire"] {
        checked.list("POST", &format!("/v1/pools/ru/{action}"), "300-301\n999\n", 200);
    }
    checked.list("POST", "/v1/pools/ru/retire", "x", 400);
    checked.list("POST", "/v1/pools/ru/release", "300-301\n999\n", 200);
    checked.call("POST", "/v1/pools/ru/release?state=leased,resting&within=10&dry_run=true", 200);
    checked.call("POST", "/v1/pools/ru/release", 400);
    checked.call("POST", "/v1/pools/nope/release?state=leased", 404);
    for (number, status) in [("300", 200), ("100", 200), ("302", 200), ("7", 404), ("x", 400)] {
        checked.call("GET", &format!("/v1/pools/ru/numbers/{number}"), status);
    }
    checked.call("GET", "/v1/pools/nope/numbers/1", 404);
    for kind in ["text/plain", "text/csv", "application/octet-stream"] {
        checked.get_as("/v1/pools/ru/numbers?state=available,resting&within=30", kind);
    }
    checked.call("GET", "/v1/pools/ru/numbers?state=sold", 400);
    hours(checked);
    checked.call("GET", "/v1/pools/ru/map?buckets=4", 200);
    checked.call("GET", "/v1/pools/ru/map?within=12", 200);
    checked.call("GET", "/v1/pools/ru/map?within=999", 200);
    checked.call("GET", "/v1/pools/ru/map?buckets=4097", 400);
}

/// Hours and time zones.
fn hours(checked: &Checked) {
    let send = |kind: &str, path: &str, body: &str, status: u16| {
        let answer = checked.client.borrow_mut().send("PUT", path, kind, body.as_bytes()).unwrap();
        checked.check("PUT", path, status, &answer);
    };
    let zones = "/v1/pools/ru/zones";
    checked.call("GET", zones, 404);
    checked.call("GET", "/v1/pools/ru/hours", 404);
    send("text/csv", zones, "prefix,zones\n1,Europe/Moscow\n", 200);
    send("text/csv", zones, "prefix,zones\n1,Moscow\n", 400);
    send("application/json", zones, "{}", 415);
    send("text/csv", "/v1/pools/ru/zones?builtin=phone", "", 200);
    checked.get_as(zones, "text/csv");
    let rules = json!([{"days": "mon-sun", "from": "09:00", "to": "21:00"}]);
    let hours = json!({"rules": rules, "closed": ["2026-12-25"], "zone": "Europe/Moscow"});
    checked.json("PATCH", "/v1/pools/ru", &json!({ "hours": hours }), 200);
    checked.json("PATCH", "/v1/pools/ru", &json!({"hours": {"rules": [], "zone": "Moscow"}}), 400);
    checked.call("GET", "/v1/pools/ru/hours", 200);
    checked.call("GET", "/v1/pools/ru/hours?at=2026-11-27T06:00:00Z", 200);
    checked.call("GET", "/v1/pools/ru/hours?at=now", 400);
    checked.json("PATCH", "/v1/pools/ru", &json!({"hours": {"rules": []}}), 200);
    let exhausted = checked.call("POST", "/v1/pools/ru/lease", 409);
    assert!(exhausted["closed"].is_u64() && exhausted["next_open_at"].is_null(), "{exhausted}");
    checked.json("PATCH", "/v1/pools/ru", &json!({"hours": null}), 200);
    checked.call("DELETE", zones, 200);
}

/// From a web page of another site.
fn of_another_site(checked: &Checked) {
    let kind = "application/json\r\norigin: https://example.org";
    let mut client = checked.client.borrow_mut();
    let answer = client.send("POST", "/v1/pools/ru/lease", kind, b"{}").unwrap();
    checked.check("POST", "/v1/pools/ru/lease", 403, &answer);
}

fn daemon(checked: &Checked) {
    checked.json("POST", "/v1/backup", &json!({"name": "monday"}), 200);
    checked.json("POST", "/v1/backup", &json!({"name": "monday"}), 409);
    checked.json("POST", "/v1/backup", &json!({"keep": 1, "verify": true}), 200);
    checked.call("GET", "/v1/audit?limit=200", 200);
    checked.call("GET", "/v1/audit?limit=0", 400);
    checked.get_as("/metrics", "application/openmetrics-text");
    for path in ["/v1/stats", "/healthz", "/readyz", "/openapi.json", "/metrics", "/"] {
        checked.call("GET", path, 200);
        checked.call("GET", &format!("{path}?zz=1"), 400);
    }
}

impl Checked {
    fn json_as_list(&self, method: &str, path: &str, status: u16) {
        let answer = self.client.borrow_mut().send(method, path, "application/json", b"[1]").unwrap();
        self.check(method, path, status, &answer);
    }
}

#[test]
fn an_undocumented_field_is_a_fault() {
    let document = Document::load();
    let lease = json!({"number": 1, "token": "7G6aBo3cPv8", "generation": 1, "expires_at": "2026-11-27T14:22:58Z", "expires_in": 300});
    let schema = "/components/schemas/Leases";
    assert_eq!(document.check(schema, &json!({"leases": [lease]})), Ok(()));
    for (name, value) in [("colour", json!(1)), ("generation", json!(0)), ("expires_at", json!("soon"))] {
        let mut other = lease.clone();
        other[name] = value;
        assert!(document.check(schema, &json!({"leases": [other]})).is_err(), "{name}");
    }
    let problem = json!({"type": "about:blank", "title": "a", "status": 409, "code": "stale", "detail": "b"});
    assert_eq!(document.check("/components/schemas/Problem", &problem), Ok(()));
    let response = "/components/responses/PoolExists/content/application~1problem+json/schema";
    assert!(document.check(response, &problem).is_err(), "another code");
}
