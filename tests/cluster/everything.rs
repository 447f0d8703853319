//! A take-over keeps everything that is not in the words too: settings, rounds, pauses, notes, deletions, lists, zones,
//! keys, holders, numbers that were added one by one and merged.

use serde_json::{Value, json};

use super::checks::check_offline;
use super::etcd::{self, Etcd};
use super::members::Members;
use super::support::{Answer, Client, lasting, try_read_answer};

const FLAGS: [&str; 4] = ["--journal-file-mib", "2", "--cluster-ttl", "2"];
/// Enough additions that parts of the pool are merged.
const ADDITIONS: u64 = 6_000;

fn ok(answer: &Answer) -> Value {
    assert!(answer.status < 300, "{answer:?}");
    if answer.body.is_empty() { Value::Null } else { answer.json() }
}

fn send(client: &mut Client, method: &str, path: &str, content_type: &str, body: &str) -> Value {
    ok(&client.send(method, path, content_type, body.as_bytes()).unwrap())
}

fn lease(client: &mut Client, pool: &str, body: &Value, key: Option<&str>) -> Value {
    let (path, body) = (format!("/v1/pools/{pool}/lease"), body.to_string());
    let key = key.map(|key| format!("idempotency-key: {key}\r\n")).unwrap_or_default();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{key}content-length: {}\r\n\r\n{body}",
        body.len()
    );
    std::io::Write::write_all(client.connection.get_mut(), request.as_bytes()).unwrap();
    lasting(ok(&try_read_answer(&mut client.connection, false).unwrap())["leases"][0].clone())
}

/// What a pool shows, without what is measured.
fn shown(client: &mut Client, pool: &str) -> Value {
    let mut shown = ok(&client.call("GET", &format!("/v1/pools/{pool}")).unwrap());
    for measured in ["totals", "leases_per_second", "expiry_lateness_ms", "exhaustion_seconds", "events"] {
        shown.as_object_mut().unwrap().remove(measured);
    }
    shown
}

fn export(client: &mut Client, pool: &str) -> String {
    let answer = client.get_as(&format!("/v1/pools/{pool}/numbers"), "text/csv").unwrap();
    assert_eq!(answer.status, 200);
    answer.body
}

#[test]
fn a_take_over_keeps_everything() {
    if !etcd::is_installed() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let etcd = Etcd::start(1, directory.path());
    let mut members = Members::start(2, directory.path(), &etcd.urls(), &FLAGS);
    let first = members.wait_primary();
    let client = &mut members.client(first);
    let numbers = "first,last\n79120000000,79120000999\n";
    send(client, "PUT", "/v1/lists/optouts", "text/plain", "79120000005\n");
    send(client, "PUT", "/v1/pools/ru?ttl=900&holders=true", "text/csv", numbers);
    send(client, "PUT", "/v1/pools/gone", "text/csv", numbers);
    send(client, "PUT", "/v1/pools/growing?order=lowest", "text/plain", "1\n");
    send(client, "DELETE", "/v1/pools/gone", "text/plain", "");
    let settings = json!({"note": "Say hello", "blocked_by": ["optouts"], "outcomes": {"no": {"list": "optouts"}, "yes": "done"}});
    send(client, "PATCH", "/v1/pools/ru", "application/json", &settings.to_string());
    let held = lease(client, "ru", &json!({"holder": "anna", "ttl": 900}), None);
    let keyed = lease(client, "ru", &json!({"holder": "berta"}), Some("k1"));
    for (outcome, holder) in [("no", "carla"), ("yes", "dora")] {
        let lease = lease(client, "ru", &json!({"holder": holder}), None);
        let body =
            json!({"leases": [{"number": lease["number"], "token": lease["token"]}], "outcome": outcome});
        send(client, "POST", "/v1/pools/ru/return", "application/json", &body.to_string());
    }
    send(client, "POST", "/v1/pools/ru/rounds", "application/json", "");
    send(client, "POST", "/v1/lists/optouts/replace", "text/plain", "79120000007\n79120000008\n");
    send(client, "POST", "/v1/pools/ru/pause", "application/json", "");
    for number in 2..ADDITIONS {
        send(client, "POST", "/v1/pools/growing/numbers", "text/plain", &format!("{number}\n"));
        if number == ADDITIONS / 2 {
            send(
                client,
                "PATCH",
                "/v1/pools/growing",
                "application/json",
                &json!({"holders": true}).to_string(),
            );
        }
        if number % 50 == 0 {
            let body = if number < ADDITIONS / 2 {
                json!({"ttl": 900})
            } else {
                json!({"holder": "emil", "ttl": 900})
            };
            lease(client, "growing", &body, None);
        }
    }
    // Parts that are added get their columns of holders.
    send(client, "POST", "/v1/pools/ru/numbers", "text/csv", "first,last\n79130000000,79130000999\n");
    let list = |client: &mut Client| client.call("GET", "/v1/lists/optouts/numbers").unwrap().body;
    let holders = |client: &mut Client| {
        ["ru", "growing"].map(|pool| ok(&client.call("GET", &format!("/v1/pools/{pool}/holders")).unwrap()))
    };
    let note = |client: &mut Client| client.call("GET", "/v1/pools/ru/note").unwrap().body;
    let all = |client: &mut Client| {
        let pools = ["ru", "growing"].map(|pool| (shown(client, pool), export(client, pool)));
        (pools, list(client), holders(client), note(client))
    };
    let before = all(client);
    members.wait_whole();
    members.kill(first);
    let second = members.wait_primary();
    assert_ne!(second, first);
    let client = &mut members.client(second);
    let after = all(client);
    assert_eq!(before, after);
    assert_eq!(client.call("GET", "/v1/pools/gone").unwrap().status, 404);
    send(client, "POST", "/v1/pools/ru/resume", "application/json", "");
    // The key answers as before, and the lease is its holder's.
    assert_eq!(lease(client, "ru", &json!({"holder": "berta"}), Some("k1")), keyed);
    let renewal = json!({"leases": [{"number": held["number"], "token": held["token"]}], "ttl": 600});
    send(client, "POST", "/v1/pools/ru/renew", "application/json", &renewal.to_string());
    members.start_member(first);
    members.wait_whole();
    for index in 0..2 {
        assert_eq!(members.stop(index), Some(0));
        check_offline(&members.all[index].data);
    }
    // The log is kept short.
    assert!(etcd.count("/allotd/test/log/") < 2_000);
}
