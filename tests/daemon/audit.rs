//! What operators change is in the audit log, and their reasons reach callers: by the real binary.

use std::fs;

use crate::support::logged::Logged;
use crate::support::{Answer, Client};
use rustix::process::Signal;
use serde_json::{Value, json};

fn change(client: &mut Client, method: &str, path: &str, body: &str, status: u16) -> Answer {
    let kind = if method == "PATCH" { "application/json" } else { "text/plain" };
    let answer = client.send(method, path, kind, body.as_bytes()).unwrap();
    assert_eq!(answer.status, status, "{answer:?}");
    answer
}

fn records(logged: &Logged, name: &str) -> Vec<Value> {
    let text = fs::read_to_string(logged.path(name)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn each_change_is_recorded_with_who_made_it_and_what_was_before() {
    let logged = Logged::start_with(&[], |command, directory| {
        command.arg("--audit-log").arg(directory.join("audit.log"));
    });
    let mut client = logged.daemon.client();
    change(&mut client, "PUT", "/v1/pools/ru", "100000-100099\n", 201);
    change(&mut client, "PATCH", "/v1/pools/ru", "{\"ttl\":60}", 200);
    change(&mut client, "PATCH", "/v1/pools/ru", "{\"ttl\":0}", 400);
    change(&mut client, "POST", "/v1/pools/ru/pause?reason=carrier%20is%20down", "", 200);
    change(&mut client, "PUT", "/v1/lists/optouts", "100001\n", 201);
    assert_eq!(client.call("GET", "/v1/pools/ru").unwrap().status, 200);
    // Nothing is changed by these.
    change(&mut client, "POST", "/v1/pools/ru/numbers?dry_run=true", "200000\n", 200);
    change(&mut client, "POST", "/v1/pools/ru/retire?dry_run=true", "100000\n", 200);
    change(&mut client, "POST", "/v1/pools/ru/release?dry_run=true", "100000\n", 200);
    change(&mut client, "POST", "/v1/lists/optouts/numbers?dry_run=true", "100002\n", 200);
    let records_so_far = records(&logged, "audit.log");
    let calls: Vec<_> = records_so_far.iter().map(|record| record["call"].as_str().unwrap()).collect();
    assert_eq!(calls, ["create_pool", "change_pool", "change_pool", "pause", "create_list"]);
    let [created, changed, refused, paused, listed] = &records_so_far[..] else { unreachable!() };
    assert_eq!((&created["pool"], &created["after"]["numbers"]), (&json!("ru"), &json!(100)));
    assert_eq!(changed["after"], json!({"ttl": 60}));
    assert!(
        changed["before"]["ttl"].as_u64().unwrap() > 60 && changed["before"].as_object().unwrap().len() == 1
    );
    assert_eq!((&refused["status"], &refused["code"]), (&json!(400), &json!("bad_request")));
    assert_eq!((&paused["before"], &paused["after"]), (&json!({"paused": false}), &json!({"paused": true})));
    assert_eq!(paused["reason"], "carrier is down");
    assert_eq!((&listed["list"], &listed["pool"]), (&json!("optouts"), &Value::Null));
    for record in &records_so_far {
        assert_eq!(record["listener"], logged.daemon.address.to_string());
        assert!(record["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{record}");
        assert!(
            record["request_id"].is_string() && record["at"].as_str().unwrap().ends_with('Z'),
            "{record}"
        );
    }
    let told = client.call("GET", "/v1/audit?limit=2").unwrap().json();
    assert_eq!(told["entries"], json!([listed, paused]));
    let shown = logged.daemon.ok(&["audit"]);
    assert!(shown.contains("carrier is down") && shown.contains("create_list"), "{shown}");

    // A file that was moved away is begun anew at a reload, and the last records are known after a restart.
    fs::rename(logged.path("audit.log"), logged.path("audit.1")).unwrap();
    logged.daemon.signal(Signal::HUP);
    logged.wait_for("reloaded", 1);
    assert!(logged.daemon.ok(&["pool", "resume", "ru"]).contains("no"));
    assert_eq!(records(&logged, "audit.log").len(), 1);
    assert_eq!(records(&logged, "audit.1").len(), 5);
}

#[test]
fn callers_are_told_why() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = crate::support::daemon::Daemon::start(directory.path());
    let mut client = daemon.client();
    change(&mut client, "PUT", "/v1/pools/ru", "100000-100099\n", 201);
    let lease = client.post("/v1/pools/ru/lease", &json!({"count": 1})).unwrap().json()["leases"][0].clone();
    let held = json!({"leases": [{"number": lease["number"], "token": lease["token"]}]});
    for bad in ["", "a%0ab"] {
        let path = format!("/v1/pools/ru/pause?reason={bad}");
        assert!(
            change(&mut client, "POST", &path, "", 400).body.contains("reason: give 1 to 256 characters")
        );
    }
    assert!(daemon.ok(&["pool", "pause", "ru", "--reason", "carrier is down"]).contains("yes"));
    assert_eq!(daemon.stop(), Some(0));
    let daemon = crate::support::daemon::Daemon::start(directory.path());
    let mut client = daemon.client();
    assert_eq!(client.call("GET", "/v1/pools/ru").unwrap().json()["pause_reason"], "carrier is down");
    // Without a body, with one, and with a key.
    let plain = client.call("POST", "/v1/pools/ru/lease").unwrap();
    let counted = client.post("/v1/pools/ru/lease", &json!({"count": 2})).unwrap();
    for refused in [plain, counted] {
        assert_eq!(refused.problem(), (409, "paused".to_owned()));
        assert_eq!(refused.json()["reason"], "carrier is down");
        assert!(refused.json()["detail"].as_str().unwrap().contains("(carrier is down)"), "{refused:?}");
    }
    change(&mut client, "POST", "/v1/pools/ru/resume", "", 200);
    assert_eq!(client.call("GET", "/v1/pools/ru").unwrap().json().get("pause_reason"), None);
    let list = directory.path().join("list.txt");
    fs::write(&list, lease["number"].to_string()).unwrap();
    let list = list.to_str().unwrap();
    assert!(
        daemon.ok(&["pool", "release", "ru", list, "--reason", "moved to pool b"]).contains("released    1")
    );
    for call in ["renew", "return"] {
        let stale = client.post(&format!("/v1/pools/ru/{call}"), &held).unwrap();
        assert_eq!(stale.problem(), (409, "stale".to_owned()));
        assert!(
            stale.body.contains("an operator released numbers of this pool: moved to pool b"),
            "{stale:?}"
        );
    }
}
