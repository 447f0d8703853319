//! Holders: who leases, what a holder has, and ending all of it; limits; a restart and a kill.

use std::path::Path;

use crate::support::Server;
use crate::support::daemon::{Daemon, allotd};
use serde_json::{Value, json};

fn server(settings: &str, numbers: &str) -> Server {
    Server::with_pool(&format!("order=lowest&holders=true{settings}"), numbers)
}

fn lease(server: &Server, body: &Value) -> Value {
    server.post("/v1/pools/ru/lease", &body.to_string()).json()
}

fn items(leases: &Value) -> Value {
    let leases = leases["leases"].as_array().unwrap();
    leases.iter().map(|lease| json!({"number": lease["number"], "token": lease["token"]})).collect()
}

#[test]
fn a_holders_leases_are_listed_and_returned_together() {
    let server = server("&ttl=600", "100-119");
    let first = lease(&server, &json!({"holder": "c-17", "count": 3}));
    lease(&server, &json!({"holder": "Анна, \"2\"", "count": 2, "ttl": 60}));
    lease(&server, &json!({"count": 4}));
    let seen = server.call("GET", "/v1/pools/ru/numbers/101").json();
    assert_eq!((&seen["holder"], &seen["state"]), (&json!("c-17"), &json!("leased")));
    assert!(server.call("GET", "/v1/pools/ru/numbers/105").json().get("holder").is_none());
    assert_eq!(
        server.call("GET", "/v1/pools/ru/holders").body,
        "{\"count\":2,\"leased\":5,\"holders\":[{\"holder\":\"c-17\",\"leased\":3},\
         {\"holder\":\"Анна, \\\"2\\\"\",\"leased\":2}]}"
    );
    let top = server.call("GET", "/v1/pools/ru/holders?top=1").json();
    assert_eq!((top["count"].as_u64(), top["holders"].as_array().unwrap().len()), (Some(2), 1));
    let until = first["leases"][0]["expires_at"].as_str().unwrap();
    let line = |number: u64| format!("{{\"number\":{number},\"generation\":1,\"expires_at\":\"{until}\"}}");
    assert_eq!(
        server.call("GET", "/v1/pools/ru/holders/c%2d17").body,
        format!(
            "{{\"holder\":\"c-17\",\"leased\":3,\"leases\":[{},{},{}]}}",
            line(100),
            line(101),
            line(102)
        )
    );
    let csv = server.client().get_as("/v1/pools/ru/numbers?state=leased", "text/csv").unwrap().body;
    let rows: Vec<_> =
        csv.lines().map(|line| line.rsplit_once("Z,").map_or(line, |(_, name)| name)).collect();
    assert_eq!(rows[..2], ["number,state,generation,until,holder", "c-17"]);
    assert_eq!(rows[3..7], ["c-17", "\"Анна, \"\"2\"\"\"", "\"Анна, \"\"2\"\"\"", ""]);
    // One of them comes back by itself.
    let back = json!({"leases": [items(&first)[1]]}).to_string();
    assert_eq!(server.post("/v1/pools/ru/return", &back).status, 200);
    let all = server.post("/v1/pools/ru/holders/c-17/return", "{\"then\":{\"rest\":60}}");
    assert_eq!(all.body, "{\"returned\":2}");
    let pool = server.call("GET", "/v1/pools/ru").json();
    assert_eq!((&pool["leased"], &pool["resting"]), (&json!(6), &json!(2)));
    let again = server.post("/v1/pools/ru/holders/c-17/return", "");
    assert_eq!(again.body, "{\"returned\":0}");
    assert_eq!(
        server.call("GET", "/v1/pools/ru/holders/c-17").body,
        "{\"holder\":\"c-17\",\"leased\":0,\"leases\":[]}"
    );
    let anna = "/v1/pools/ru/holders/%D0%90%D0%BD%D0%BD%D0%B0%2C%20%222%22/return";
    assert_eq!(server.post(anna, "{\"outcome\":\"gone\"}").body, "{\"returned\":2}");
    let stats = server.call("GET", "/v1/stats").json();
    assert_eq!(stats["pools"]["ru"]["totals"]["returns"], 5);
}

#[test]
fn a_release_by_holder_makes_its_tokens_stale() {
    let server = server("", "100-109");
    let mine = lease(&server, &json!({"holder": "a", "count": 4}));
    lease(&server, &json!({"holder": "b", "count": 3}));
    let release = |query: &str| server.call("POST", &format!("/v1/pools/ru/release?holder=a{query}")).json();
    let expected = json!({"released": 4, "already": 0, "unknown": 0, "leased": 4});
    assert_eq!(release("&dry_run=true"), expected);
    assert_eq!(release(""), expected);
    assert_eq!(release("")["released"], 0);
    let renewed = server.post("/v1/pools/ru/renew", &json!({"leases": items(&mine)}).to_string());
    assert_eq!(renewed.problem().1, "stale");
    assert_eq!(server.call("GET", "/v1/pools/ru").json()["leased"], 3);
}

#[test]
fn limits_of_a_holder_are_kept() {
    let server = server("&max_per_holder=5&first_per_holder=2", "100-149");
    let first = lease(&server, &json!({"holder": "a", "count": 4}));
    assert_eq!(first["leases"].as_array().unwrap().len(), 2, "as many as it may have at first");
    let refused = server.post("/v1/pools/ru/lease", "{\"holder\":\"a\"}");
    assert_eq!(refused.problem(), (429, "quota_exceeded".to_owned()));
    assert!(refused.body.contains("may have 2 (the pool's first_per_holder)"), "{}", refused.body);
    assert!(refused.header("retry-after").is_some());
    let back = json!({"leases": [items(&first)[0]]}).to_string();
    assert_eq!(server.post("/v1/pools/ru/return", &back).status, 200);
    assert_eq!(lease(&server, &json!({"holder": "a", "count": 9}))["leases"].as_array().unwrap().len(), 4);
    let refused = server.post("/v1/pools/ru/lease", "{\"holder\":\"a\"}");
    assert!(
        refused.body.contains("has 5 leases, and may have 5 (the pool's max_per_holder)"),
        "{}",
        refused.body
    );
    let patch = |body: &str| server.send("PATCH", "/v1/pools/ru", "application/json", body);
    assert_eq!(patch("{\"max_per_holder\":null}").status, 200);
    assert_eq!(lease(&server, &json!({"holder": "a"}))["leases"].as_array().unwrap().len(), 1);
    let off = patch("{\"holders\":false}");
    assert!(
        off.status == 400 && off.body.contains("first_per_holder is for a pool that tracks"),
        "{}",
        off.body
    );
    let off = patch("{\"holders\":false,\"first_per_holder\":null}").json();
    assert!(off["settings"].get("holders").is_none(), "{off}");
    let refused = server.post("/v1/pools/ru/lease", "{\"holder\":\"a\"}");
    assert_eq!(refused.problem(), (400, "bad_request".to_owned()));
}

#[test]
fn a_pool_begins_to_track_holders_while_it_leases() {
    let server = Server::with_pool("order=lowest", "100-109\n");
    lease(&server, &json!({"count": 2}));
    for number in 200..230 {
        let added = server.send("POST", "/v1/pools/ru/numbers", "text/plain", &number.to_string());
        assert_eq!(added.json()["added"], 1);
    }
    let refused = server.call("GET", "/v1/pools/ru/holders");
    assert!(refused.status == 400 && refused.body.contains("tracks no holders"), "{}", refused.body);
    let on = server.send("PATCH", "/v1/pools/ru", "application/json", "{\"holders\":true}");
    assert_eq!(on.json()["settings"]["holders"], true);
    assert_eq!(lease(&server, &json!({"holder": "a", "count": 20}))["leases"].as_array().unwrap().len(), 20);
    for number in 300..320 {
        server.send("POST", "/v1/pools/ru/numbers", "text/plain", &number.to_string());
    }
    let within = json!({"holder": "a", "count": 20, "within": ["300-319"]});
    assert_eq!(lease(&server, &within)["leases"].as_array().unwrap().len(), 20);
    assert_eq!(server.call("GET", "/v1/pools/ru/holders/a").json()["leased"], 40);
    assert_eq!(server.post("/v1/pools/ru/holders/a/return", "{}").body, "{\"returned\":40}");
}

#[test]
fn a_key_covers_the_holder_and_repeats_although_the_holder_may_have_no_more() {
    let server = server("&max_per_holder=1", "100-109");
    let keyed = |body: &str| {
        server.send("POST", "/v1/pools/ru/lease", "application/json\r\nidempotency-key: k", body)
    };
    let first = keyed("{\"holder\":\"a\"}");
    assert_eq!((first.status, keyed("{\"holder\":\"a\"}").body), (200, first.body));
    assert_eq!(keyed("{\"holder\":\"b\"}").problem(), (422, "idempotency_mismatch".to_owned()));
    let several = json!({"pools": ["ru"], "holder": "a"}).to_string();
    assert_eq!(server.post("/v1/lease", &several).problem().1, "quota_exceeded");
    let several = json!({"pools": ["ru"], "holder": "b"}).to_string();
    assert_eq!(server.post("/v1/lease", &several).json()["leases"][0]["pool"], "ru");
    assert_eq!(server.call("GET", "/v1/pools/ru/holders").json()["leased"], 2);
}

#[test]
fn what_names_no_holder_is_refused_with_what_to_give() {
    let server = server("", "100-109");
    let long = "x".repeat(129);
    for holder in ["", "a\nb", "\u{7f}", "\u{85}", "\u{2028}", long.as_str()] {
        let refused = server.post("/v1/pools/ru/lease", &json!({ "holder": holder }).to_string());
        assert_eq!(refused.problem(), (400, "bad_request".to_owned()), "{holder:?}");
        assert!(refused.body.contains("1 to 128 bytes of printable text"), "{}", refused.body);
    }
    for (method, path, words) in [
        ("GET", "/v1/pools/ru/holders/", "1 to 128 bytes"),
        ("GET", "/v1/pools/ru/holders/a%0Ab", "1 to 128 bytes"),
        ("GET", "/v1/pools/ru/holders/%", "path is malformed"),
        ("GET", "/v1/pools/ru/holders/%ff", "path is malformed"),
        ("GET", "/v1/pools/ru/holders/a?top=2", "is not a parameter"),
        ("GET", "/v1/pools/ru/holders?top=0", "top is 0: give 1 to 1000"),
        ("GET", "/v1/pools/ru/holders?top=1001", "top is 1001"),
        ("GET", "/v1/pools/ru/holders?top=x", "how many holders"),
        ("POST", "/v1/pools/ru/release?holder=", "1 to 128 bytes"),
        ("POST", "/v1/pools/ru/release?holder=a&length=11", "length is for a list"),
    ] {
        let refused = server.call(method, path);
        assert_eq!(refused.problem(), (400, "bad_request".to_owned()), "{path}: {}", refused.body);
        let detail = refused.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(words), "{path}: {detail}");
    }
    for (body, words) in [
        ("{\"outcome\":\"\"}", "an outcome is named"),
        ("{\"then\":\"sold\"}", "unknown variant"),
        ("{\"leases\":[]}", "unknown field `leases`"),
        ("{\"then\":{\"list\":\"none\"}}", "none"),
    ] {
        lease(&server, &json!({"holder": "a"}));
        let refused = server.post("/v1/pools/ru/holders/a/return", body);
        assert!(refused.status >= 400 && refused.body.contains(words), "{body}: {}", refused.body);
    }
    assert_eq!(server.call("GET", "/v1/pools/ru/holders/nobody%20known").json()["leases"], json!([]));
    assert_eq!(server.call("DELETE", "/v1/pools/ru/holders/a").status, 405);
}

#[test]
fn holders_survive_kills_and_a_backup_has_them() {
    let data = tempfile::tempdir().unwrap();
    let long = "a holder whose name takes several records of the journal, as it is long";
    for durability in ["sync", "interval", "none"] {
        let dir = data.path().join(durability);
        let start = |dir: &Path| Daemon::start_with(dir, &["--durability", durability]);
        let daemon = start(&dir);
        let list = data.path().join("list.txt");
        std::fs::write(&list, "10000-10099").unwrap();
        let list = list.to_str().unwrap();
        daemon.ok(&["pool", "create", "ru", list, "--holders", "true", "--order", "lowest"]);
        let leases = |daemon: &Daemon, holder: &str, count: &str| {
            daemon.ok(&["lease", "ru", "--holder", holder, "--count", count, "--ttl", "3600"])
        };
        leases(&daemon, "c-17", "3");
        leases(&daemon, long, "4");
        let before = format!("4\t{long}\n3\tc-17\n");
        assert_eq!(daemon.ok(&["pool", "holders", "ru"]), before);
        daemon.kill();
        let daemon = start(&dir);
        assert_eq!(daemon.ok(&["pool", "holders", "ru"]), before, "{durability}");
        daemon.ok(&["backup", "--name", "b"]);
        leases(&daemon, "later", "1");
        let returned = daemon.ok(&["pool", "return-holder", "ru", "c-17", "--then", "rest:60"]);
        assert!(returned.contains('3'), "{returned}");
        daemon.kill();
        let daemon = start(&dir);
        assert_eq!(daemon.ok(&["pool", "holders", "ru"]), format!("4\t{long}\n1\tlater\n"), "{durability}");
        assert_eq!(daemon.ok(&["pool", "holders", "ru", "c-17"]), "");
        daemon.kill();
        let (backup, restored) = (dir.join("backups").join("b"), data.path().join(format!("{durability}-2")));
        for args in [vec!["check"], vec!["restore"]] {
            let mut command = allotd();
            command.args(&args).arg(&backup);
            if args == ["restore"] {
                command.arg(&restored);
            }
            let output = command.output().unwrap();
            assert!(output.status.success(), "{durability}: {output:?}");
        }
        let exported = allotd().arg("export").arg(&backup).arg("ru").output().unwrap();
        let csv = String::from_utf8(exported.stdout).unwrap();
        let held: Vec<_> =
            csv.lines().skip(1).take(8).map(|line| line.rsplit_once("Z,").map(|(_, who)| who)).collect();
        let quoted = format!("\"{long}\"");
        let quoted = Some(quoted.as_str());
        let mine = Some("c-17");
        assert_eq!(held, [mine, mine, mine, quoted, quoted, quoted, quoted, None], "{durability}");
        let daemon = start(&restored);
        assert_eq!(daemon.ok(&["pool", "holders", "ru"]), before, "{durability}");
        assert_eq!(daemon.ok(&["pool", "holders", "ru", long]).lines().count(), 4);
        assert_eq!(daemon.ok(&["pool", "release", "ru", "--holder", "c-17"]).lines().count(), 4);
        assert_eq!(daemon.stop(), Some(0));
        let checked = allotd().arg("check").arg(&restored).output().unwrap();
        assert!(checked.status.success(), "{durability}: {checked:?}");
    }
}

#[test]
fn a_column_that_was_damaged_stops_the_start_and_the_check_names_it() {
    let data = tempfile::tempdir().unwrap();
    let (dir, list) = (data.path().join("data"), data.path().join("list.txt"));
    std::fs::write(&list, "10000-10099").unwrap();
    let daemon = Daemon::start(&dir);
    daemon.ok(&["pool", "create", "ru", list.to_str().unwrap(), "--holders", "true"]);
    daemon.ok(&["lease", "ru", "--holder", "c-17", "--count", "5"]);
    assert_eq!(daemon.stop(), Some(0));
    let path = dir.join("pools/ru/0001.holders");
    let right = std::fs::read(&path).unwrap();
    let check = || allotd().arg("check").arg(&dir).output().unwrap();
    assert!(check().status.success());
    let mut wrong = right.clone();
    wrong[0] ^= 4;
    std::fs::write(&path, &wrong).unwrap();
    let checked = check();
    let text =
        String::from_utf8_lossy(&checked.stdout).into_owned() + &String::from_utf8_lossy(&checked.stderr);
    assert!(!checked.status.success() && text.contains("0001.holders"), "{text}");
    let mut serve = allotd();
    serve.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(&dir).stderr(std::process::Stdio::null());
    assert!(Daemon::spawn(serve).is_err());
    let daemon = Daemon::start_with(&dir, &["--recover-damaged"]);
    // The journal still has who held them.
    assert_eq!(daemon.ok(&["pool", "holders", "ru"]), "5\tc-17\n");
    assert_eq!(daemon.ok(&["lease", "ru", "--holder", "c-18", "--count", "2"]).lines().count(), 2);
    assert_eq!(daemon.ok(&["pool", "holders", "ru"]), "5\tc-17\n2\tc-18\n");
}
