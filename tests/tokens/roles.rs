//! Roles × calls × pools.

use serde_json::Value;

use super::{Caller, Guarded};

/// Calls by name: method, path with {} for the pool, content type and body. None changes a pool that it may
/// name: a call that is let in is answered, or refused for its own reasons.
const CALLS: [(&str, &str, &str, &str, &str); 20] = [
    ("lease", "POST", "/v1/pools/{}/lease", "application/json", "{}"),
    ("plain_lease", "POST", "/v1/pools/{}/lease", "", ""),
    (
        "renew",
        "POST",
        "/v1/pools/{}/renew",
        "application/json",
        "{\"leases\":[{\"number\":1,\"token\":\"x\"}]}",
    ),
    (
        "return",
        "POST",
        "/v1/pools/{}/return",
        "application/json",
        "{\"leases\":[{\"number\":1,\"token\":\"x\"}]}",
    ),
    ("show_pool", "GET", "/v1/pools/{}", "", ""),
    ("list_pools", "GET", "/v1/pools", "", ""),
    ("stats", "GET", "/v1/stats", "", ""),
    ("metrics", "GET", "/metrics", "", ""),
    ("map", "GET", "/v1/pools/{}/map", "", ""),
    ("export", "GET", "/v1/pools/{}/numbers", "", ""),
    ("lookup", "GET", "/v1/pools/{}/numbers/1000", "", ""),
    ("change_pool", "PATCH", "/v1/pools/{}", "application/json", "{}"),
    ("add_numbers", "POST", "/v1/pools/{}/numbers", "text/plain", "1000"),
    ("retire", "POST", "/v1/pools/{}/retire?dry_run=true", "text/plain", "1000"),
    ("reinstate", "POST", "/v1/pools/{}/reinstate?dry_run=true", "text/plain", "1000"),
    ("pause", "POST", "/v1/pools/{}/pause?x=1", "", ""),
    ("resume", "POST", "/v1/pools/{}/resume?x=1", "", ""),
    ("start_round", "POST", "/v1/pools/{}/rounds?x=1", "", ""),
    ("create_pool", "PUT", "/v1/pools/{}?x=1", "text/plain", "1000"),
    ("delete_pool", "DELETE", "/v1/pools/{}?force=x", "", ""),
];

const CLIENT: &str = "lease plain_lease renew return show_pool";
const VIEWER: &str = "show_pool list_pools stats metrics map";
const NUMBERS: &str = "export lookup";
const OPERATE: &str = "change_pool add_numbers retire reinstate pause resume start_round";
const MANAGE: &str = "create_pool delete_pool backup";

fn check(guarded: &Guarded, token: &str, role: &str, allowed: &str) {
    let may = |call: &str| allowed.split(' ').any(|one| one == call);
    for (call, method, path, content_type, body) in CALLS {
        // In the scope; in it and not there; outside and there; outside and not there.
        for pool in ["ru", "ru-none", "de", "de-none"] {
            // A connection each: one whose body was not read is closed.
            let answer = guarded.caller(token).send(method, &path.replace("{}", pool), content_type, body);
            let what = format!("{role}: {call} of {pool}: {answer:?}");
            if !may(call) {
                assert_eq!(answer.problem(), (403, "forbidden".to_owned()), "{what}");
            } else if !path.contains("{}") || pool == "ru" {
                assert!(!matches!(answer.status, 401 | 403 | 404 | 429 | 500..), "{what}");
            } else if call == "create_pool" && pool.starts_with("de") {
                assert_eq!(answer.problem(), (403, "forbidden".to_owned()), "{what}");
            } else if pool.starts_with("de") {
                assert_eq!(answer.problem(), (404, "pool_not_found".to_owned()), "{what}");
            } else {
                // A query that is wrong may be found before the pool is looked for.
                assert!(matches!(answer.status, 400 | 404), "{what}");
            }
        }
    }
    let mut caller = guarded.caller(token);
    let backup = caller.post("/v1/backup", "{\"name\":\"/\"}");
    assert_eq!(backup.problem().0, 403, "a backup has pools that it does not see");
    let mut caller = guarded.caller(token);
    assert_eq!(caller.call("GET", "/openapi.json").status, 200);
    assert_eq!(caller.call("GET", "/nothing").problem(), (404, "not_found".to_owned()));
}

#[test]
fn each_role_may_make_its_calls_on_its_pools() {
    let all = format!("{CLIENT} {VIEWER} {NUMBERS} {OPERATE}");
    let table = [
        ("client", &["--role", "client", "--pools", "ru*"][..], CLIENT.to_owned()),
        ("viewer", &["--role", "viewer", "--pools", "ru*"], VIEWER.to_owned()),
        (
            "reader",
            &["--role", "viewer", "--numbers", "--pools", "ru,ru-none"],
            format!("{VIEWER} {NUMBERS}"),
        ),
        ("operator", &["--role", "operator", "--pools", "ru*"], all.clone()),
        ("admin", &["--role", "admin", "--pools", "ru*"], format!("{all} {MANAGE}")),
    ];
    let principals: Vec<_> = table.iter().map(|(name, flags, _)| (*name, *flags)).collect();
    let (guarded, tokens) = Guarded::start(&[], &principals);
    for ((role, _, allowed), token) in table.iter().zip(&tokens) {
        check(&guarded, token, role, allowed);
    }
    // Who sees all pools may make a backup.
    assert_eq!(guarded.root().post("/v1/backup", "{\"name\":\"b\"}").status, 200);
    assert_eq!(guarded.root().call("DELETE", "/v1/pools/de").status, 200);
}

#[test]
fn a_pool_outside_is_like_one_that_is_not_there() {
    let (guarded, tokens) = Guarded::start(&[], &[("shop", &["--role", "client", "--pools", "ru*"])]);
    let mut shop = guarded.caller(&tokens[0]);
    let bodies: Vec<_> = ["de", "de-none", "ru-none"]
        .map(|pool| shop.call("POST", &format!("/v1/pools/{pool}/lease")))
        .iter()
        .map(|answer| (answer.status, answer.body.clone()))
        .collect();
    assert!(bodies[0].0 == 404 && bodies.iter().all(|body| *body == bodies[0]), "{bodies:?}");
}

#[test]
fn lists_have_only_the_pools_of_the_scope() {
    let viewer: (&str, &[&str]) = ("board", &["--role", "viewer", "--pools", "ru*"]);
    let (guarded, tokens) = Guarded::start(&[], &[viewer]);
    let mut board = guarded.caller(&tokens[0]);
    let pools = board.call("GET", "/v1/pools").json()["pools"].clone();
    assert_eq!((pools.as_array().unwrap().len(), &pools[0]["pool"]), (1, &"ru".into()));
    let stats = board.call("GET", "/v1/stats").json();
    assert_eq!(stats["pools"].as_object().unwrap().keys().collect::<Vec<_>>(), ["ru"]);
    assert_eq!(stats["principals"].as_object().unwrap().keys().collect::<Vec<_>>(), ["board"]);
    // The map shows no single numbers.
    assert_eq!(board.call("GET", "/v1/pools/ru/map?within=1000").problem(), (403, "forbidden".to_owned()));
    assert_eq!(board.call("GET", "/v1/pools/ru/map?buckets=1000").json()["bucket_width"], 100);
    assert_eq!(guarded.root().call("GET", "/v1/pools/ru/map?buckets=1000").json()["bucket_width"], 1);
    let metrics = board.call("GET", "/metrics").body;
    assert!(metrics.contains("pool=\"ru\"") && !metrics.contains("pool=\"de\""), "{metrics}");
    assert!(metrics.contains("allotd_principal_requests_total{principal=\"board\"}"), "{metrics}");
    assert!(!metrics.contains("root"), "{metrics}");
    let all = guarded.stats();
    assert_eq!(all["pools"].as_object().unwrap().len(), 2);
    assert_eq!(all["principals"]["board"]["requests"], 5);
}

#[test]
fn the_audit_log_names_principals_and_shows_each_what_concerns_its_pools() {
    let (guarded, tokens) = Guarded::start(
        &[],
        &[
            ("ops", &["--role", "operator", "--pools", "ru", "--expires", "2d"]),
            ("board", &["--role", "viewer", "--pools", "de"]),
            ("shop", &["--role", "client", "--pools", "*"]),
        ],
    );
    let [ops, board, shop] = &tokens[..] else { unreachable!() };
    assert_eq!(guarded.caller(ops).call("POST", "/v1/pools/ru/pause?reason=check").status, 200);
    // Who may not is no change: the log has it, and nobody fills the file.
    assert_eq!(guarded.caller(shop).call("POST", "/v1/pools/ru/resume").status, 403);
    let calls = |caller: &mut Caller| -> Vec<(String, String)> {
        let answer = caller.call("GET", "/v1/audit");
        assert_eq!(answer.status, 200, "{answer:?}");
        let text = |entry: &Value, name: &str| entry[name].as_str().unwrap().to_owned();
        let entries = answer.json()["entries"].as_array().unwrap().clone();
        entries.iter().map(|entry| (text(entry, "call"), text(entry, "principal"))).collect()
    };
    let pair = |call: &str, who: &str| (call.to_owned(), who.to_owned());
    let created = pair("create_pool", "root");
    assert_eq!(calls(&mut guarded.root()), [pair("pause", "ops"), created.clone(), created.clone()]);
    assert_eq!(calls(&mut guarded.caller(ops)), [pair("pause", "ops"), created.clone()]);
    assert_eq!(calls(&mut guarded.caller(board)), [created]);
    assert_eq!(guarded.caller(shop).call("GET", "/v1/audit").status, 403);
    let principals = guarded.stats()["principals"].clone();
    assert!(principals["ops"]["ends_at"].is_string() && principals["shop"].get("ends_at").is_none());
    let metrics = guarded.root().call("GET", "/metrics").body;
    let ends: Vec<_> = metrics.lines().filter(|line| line.starts_with("allotd_principal_ends_")).collect();
    assert!(ends.len() == 1 && ends[0].contains("principal=\"ops\""), "{ends:?}");
}
