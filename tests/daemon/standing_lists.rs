//! Lists over HTTP and by the commands, and the real daemon killed right after it has confirmed a change of one.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::daemon::{Daemon, allotd, one_line_failure};
use crate::support::{Client, Server, ranges_csv};
use serde_json::{Value, json};

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

#[test]
fn a_number_says_all_that_keeps_it_back() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(&dir.path().join("data"));
    let mut client = daemon.client();
    send(&mut client, "PUT", "/v1/lists/optouts", "");
    send(&mut client, "PUT", "/v1/pools/ru?order=lowest&blocked_by=optouts", "1-9");
    let leases = client.post("/v1/pools/ru/lease", &json!({"count": 2, "ttl": 600})).unwrap().json();
    let second = json!({"number": 2, "token": leases["leases"][1]["token"]});
    let body = json!({"leases": [second], "then": {"rest": 100}});
    let until =
        client.post("/v1/pools/ru/return", &body).unwrap().json()["results"][0]["available_at"].clone();
    let why = |client: &mut Client, number: u64| {
        let shown = client.call("GET", &format!("/v1/pools/ru/numbers/{number}")).unwrap().json();
        (shown["leasable"].clone(), shown["reasons"].clone())
    };
    assert_eq!(why(&mut client, 2), (json!(false), json!([{"reason": "resting", "until": until}])));
    assert_eq!(why(&mut client, 3), (json!(true), json!([])));
    assert_eq!(daemon.ok(&["pool", "why", "ru", "3"]), "3 can be leased from ru\n");
    send(&mut client, "POST", "/v1/lists/optouts/numbers", "1-1");
    let patch = |client: &mut Client, body: &Value| {
        let answer = client.send("PATCH", "/v1/pools/ru", "application/json", body.to_string().as_bytes());
        assert_eq!(answer.unwrap().status, 200);
    };
    // Open on one day of the week that is not today, in its own time.
    let today = jiff::tz::TimeZone::UTC.to_datetime(jiff::Timestamp::now()).date();
    let day = today.checked_add(jiff::Span::new().days(3)).unwrap();
    let name = day.strftime("%a").to_string().to_lowercase();
    let rule = json!({"days": name, "from": "09:30", "to": "12:00"});
    patch(&mut client, &json!({"hours": {"rules": [rule], "zone": "Etc/UTC"}}));
    let opens = format!("{day}T09:30:00Z");
    assert_eq!(client.call("POST", "/v1/pools/ru/pause").unwrap().status, 200);
    let (leasable, reasons) = why(&mut client, 1);
    let expected = json!([
        {"reason": "leased", "until": leases["leases"][0]["expires_at"]},
        {"reason": "blocked", "lists": ["optouts"]},
        {"reason": "closed", "until": opens},
        {"reason": "paused"},
    ]);
    assert_eq!((leasable, reasons), (json!(false), expected));
    let told = daemon.ok(&["pool", "why", "ru", "1"]);
    for words in
        ["1 cannot be leased from ru:\n", "someone holds it until", "on optouts", &opens, "resume ru"]
    {
        assert!(told.contains(words), "{words} is not in\n{told}");
    }
    assert_eq!(client.call("POST", "/v1/pools/ru/resume").unwrap().status, 200);
    // What a lease is refused with says the same.
    let refused = client.call("POST", "/v1/pools/ru/lease").unwrap();
    assert_eq!(refused.problem(), (409, "exhausted".to_owned()));
    let refused = refused.json();
    assert_eq!((&refused["available"], &refused["closed"]), (&json!(0), &json!(7)), "{refused}");
    assert_eq!((&refused["next_open_at"], &refused["next_available_at"]), (&json!(opens), &Value::Null));
    assert!(refused["detail"].as_str().unwrap().contains(&opens), "{refused}");
    let several = client.post("/v1/lease", &json!({"pools": ["ru"]})).unwrap().json();
    assert_eq!((&several["next_open_at"], &several["pools"][0]["closed"]), (&json!(opens), &json!(7)));
    let whole = json!({"days": "mon-sun", "from": "00:00", "to": "24:00"});
    patch(&mut client, &json!({"hours": {"rules": [whole], "zone": "Etc/UTC"}}));
    assert_eq!(why(&mut client, 3), (json!(true), json!([])));
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
    assert!(daemon.ok(&["list", "show", "optouts"]).contains("\noptouts        2  20"));
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

#[test]
fn a_wrong_parameter_is_refused_though_there_is_no_list_to_read() {
    let server = Server::start();
    for query in [
        "length=x",
        "region=%C3%80",
        "country_code=-1",
        "format=x",
        "format=roaring&region=RU",
        "header=maybe",
    ] {
        let answer = server.call("PUT", &format!("/v1/lists/new?{query}"));
        assert_eq!(answer.status, 400, "{query}: {}", answer.body);
    }
    assert_eq!(server.call("GET", "/v1/lists/new").status, 404);
    assert_eq!(server.call("PUT", "/v1/lists/new?region=RU&length=11").status, 201);
}
