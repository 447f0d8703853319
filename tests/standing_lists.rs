//! Lists over HTTP and by the commands, and the real daemon killed right after it has confirmed a change of one.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::daemon::{Daemon, allotd, one_line_failure};
use support::{Client, Server, ranges_csv};

fn send(client: &mut Client, method: &str, path: &str, body: &str) -> Value {
    let answer = if body.is_empty() {
        client.send(method, path, "text/plain", b"").unwrap()
    } else {
        client.send(method, path, "text/csv", ranges_csv(body).as_bytes()).unwrap()
    };
    assert!(answer.status < 300, "{method} {path}: {}", answer.body);
    answer.json()
}

/// Numbers, one per line.
fn lines(numbers: impl Iterator<Item = u64>) -> String {
    numbers.flat_map(|number| [number.to_string(), "\n".to_owned()]).collect()
}

/// All numbers that the pool still leases.
fn leased(client: &mut Client, pool: &str) -> Vec<u64> {
    let path = format!("/v1/pools/{pool}/lease");
    let answer = client.post(&path, &json!({"count": 65_536})).unwrap();
    let leases = answer.json()["leases"].as_array().cloned().unwrap_or_default();
    let mut numbers: Vec<_> = leases.iter().map(|lease| lease["number"].as_u64().unwrap()).collect();
    numbers.sort_unstable();
    numbers
}

/// Each kind of change is confirmed, then the process is gone at once.
#[test]
fn a_kill_after_the_reply_undoes_nothing() {
    for durability in ["sync", "interval", "none"] {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let start = || Daemon::start_with(&data, &["--durability", durability, "--journal-file-mib", "2"]);
        let restart = |daemon: Daemon| {
            daemon.kill();
            start()
        };
        let mut daemon = start();
        let mut client = daemon.client();
        send(&mut client, "PUT", "/v1/lists/optouts", "");
        daemon = restart(daemon);
        client = daemon.client();
        send(&mut client, "PUT", "/v1/pools/ru?order=lowest&blocked_by=optouts", "1-100");
        send(&mut client, "PUT", "/v1/pools/other?order=lowest&blocked_by=optouts", "1-100");
        let lease = client.call("POST", "/v1/pools/ru/lease").unwrap().json()["leases"][0].clone();
        let held = json!([{"number": 1, "token": lease["token"]}]);
        let body = json!({"leases": held, "then": {"list": "optouts"}});
        let returned = client.post("/v1/pools/ru/return", &body).unwrap();
        assert_eq!(returned.json()["results"][0]["state"], "blocked", "{}", returned.body);
        daemon = restart(daemon);
        client = daemon.client();
        let shown = client.call("GET", "/v1/pools/other/numbers/1").unwrap().json();
        assert_eq!((&shown["state"], &shown["blocked_by"]), (&json!("blocked"), &json!(["optouts"])));
        send(&mut client, "POST", "/v1/lists/optouts/numbers", "10-19");
        daemon = restart(daemon);
        client = daemon.client();
        send(&mut client, "POST", "/v1/lists/optouts/remove", "12");
        daemon = restart(daemon);
        client = daemon.client();
        assert_eq!(client.call("GET", "/v1/lists/optouts").unwrap().json()["numbers"], 10);
        let blocked = |number: &u64| *number == 1 || *number != 12 && (10..20).contains(number);
        let expected: Vec<u64> = (1..=100).filter(|number| !blocked(number)).collect();
        assert_eq!(leased(&mut client, "other"), expected, "{durability}");
        // Written anew, and then one more that goes through the journal.
        let many = lines((0..70_000).map(|n| 2 * n + 50));
        send(&mut client, "POST", "/v1/lists/optouts/replace", &many);
        send(&mut client, "POST", "/v1/lists/optouts/numbers", "3");
        daemon = restart(daemon);
        client = daemon.client();
        let expected: Vec<u64> = (1..=100).filter(|n| *n != 3 && (*n < 50 || n % 2 == 1)).collect();
        assert_eq!(leased(&mut client, "ru"), expected, "{durability}");
        assert_eq!(daemon.stop(), Some(0));
        let checked = allotd().arg("check").arg(&data).output().unwrap();
        assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    }
}

/// A confirmation waits for two groups of the journal, not for other callers or the next second.
#[test]
fn confirmations_come_soon() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(&dir.path().join("data"));
    let mut client = daemon.client();
    send(&mut client, "PUT", "/v1/lists/optouts", "");
    send(&mut client, "PUT", "/v1/pools/ru?order=lowest&blocked_by=optouts", "1-100");
    let started = Instant::now();
    for _ in 0..50 {
        let lease = client.call("POST", "/v1/pools/ru/lease").unwrap().json()["leases"][0].clone();
        let held = json!([{"number": lease["number"], "token": lease["token"]}]);
        let body = json!({"leases": held, "then": {"list": "optouts"}});
        assert_eq!(client.post("/v1/pools/ru/return", &body).unwrap().status, 200);
    }
    // Well below 50 times the second after which the journal writes the time.
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert_eq!(client.call("GET", "/v1/lists/optouts").unwrap().json()["numbers"], 50);
}

#[test]
fn a_list_is_exported_as_it_was_given() {
    let server = Server::start();
    let numbers = lines((1..=40_000).map(|n| n * 3));
    server.send("PUT", "/v1/lists/x", "text/plain", &numbers);
    server.send("POST", "/v1/lists/x/remove", "text/plain", "3\n120000\n");
    server.send("POST", "/v1/lists/x/numbers", "text/plain", "4\n5\n");
    let text = server.call("GET", "/v1/lists/x/numbers");
    let expected = numbers.replacen("3\n", "4\n5\n", 1).replace("120000\n", "");
    assert_eq!((text.status, text.body == expected), (200, true));
    let set = server.client().get_as("/v1/lists/x/numbers", "application/octet-stream").unwrap();
    assert_eq!(set.header("content-type"), Some("application/octet-stream"));
    let csv = server.client().get_as("/v1/lists/x/numbers", "text/csv").unwrap();
    let copied = server.send("PUT", "/v1/lists/y", "text/csv", &csv.body);
    assert_eq!(copied.json()["numbers"], 40_000);
    for (method, path, code) in [
        ("PUT", "/v1/lists/x", "list_exists"),
        ("PUT", "/v1/lists/-x", "bad_request"),
        ("GET", "/v1/lists/z", "list_not_found"),
        ("POST", "/v1/lists/z/numbers", "list_not_found"),
    ] {
        assert_eq!(server.send(method, path, "text/plain", "1").problem().1, code, "{method} {path}");
    }
}

fn file(dir: &Path, name: &str, content: &str) -> String {
    let path = dir.join(name);
    fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn the_commands_tell_what_they_do() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(&dir.path().join("data"));
    let (few, many) =
        (file(dir.path(), "few.txt", "3\n4\n"), file(dir.path(), "many.csv", "first,last\n1,10\n"));
    one_line_failure(
        &daemon.run(&["pool", "create", "ru", &many, "--blocked-by", "optouts"]),
        1,
        "no list optouts",
    );
    daemon.ok(&["list", "create", "optouts"]);
    daemon.ok(&["list", "create", "national", &few]);
    daemon.ok(&["pool", "create", "ru", &many, "--blocked-by", "optouts,national"]);
    assert!(daemon.ok(&["list", "add", "optouts", &few, "--dry-run", "--json"]).contains("\"added\":2"));
    assert!(daemon.ok(&["list", "show"]).contains("optouts"));
    daemon.ok(&["list", "replace", "optouts", &few]);
    assert!(daemon.ok(&["list", "show", "optouts"]).contains("\noptouts        2  ru\n"));
    assert!(daemon.ok(&["list", "number", "optouts", "3"]).contains("yes"));
    let number = daemon.ok(&["pool", "number", "ru", "3"]);
    assert!(number.contains("blocked") && number.contains("optouts"), "{number}");
    daemon.ok(&["pool", "set", "ru", "--blocked-by", "national", "--outcome", "no=list:optouts"]);
    one_line_failure(&daemon.run(&["list", "delete", "optouts"]), 1, "used by ru");
    one_line_failure(&daemon.run(&["list", "show", "a/b"]), 2, "not a name of a list");
    daemon.ok(&["list", "remove", "national", &few]);
    assert_eq!(daemon.ok(&["list", "export", "optouts"]), "3\n4\n");
    assert!(daemon.ok(&["pool", "show", "ru"]).contains("blocked"));
    daemon.ok(&["pool", "set", "ru", "--blocked-by", "", "--outcome", "no=done"]);
    daemon.ok(&["list", "delete", "optouts"]);
}
