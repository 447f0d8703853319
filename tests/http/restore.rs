//! A CSV export puts the states back: `GET` it, `PUT` it, and nothing is lost.

use crate::support::daemon::{Daemon, allotd};
use crate::support::{Answer, Client, Server};
use serde_json::{Value, json};

fn export(client: &mut Client, pool: &str) -> String {
    let exported = client.get_as(&format!("/v1/pools/{pool}/numbers"), "text/csv").unwrap();
    assert_eq!(exported.status, 200);
    exported.body
}

fn put(client: &mut Client, pool: &str, csv: &str) -> Answer {
    client.send("PUT", &format!("/v1/pools/{pool}?order=lowest"), "text/csv", csv.as_bytes()).unwrap()
}

fn lease(client: &mut Client, pool: &str, count: u32) -> Vec<Value> {
    let leased =
        client.post(&format!("/v1/pools/{pool}/lease"), &json!({"count": count, "ttl": 3600})).unwrap();
    assert_eq!(leased.status, 200, "{leased:?}");
    leased.json()["leases"].as_array().unwrap().clone()
}

fn give_back(client: &mut Client, leases: &[Value], then: &Value) {
    let leases: Vec<Value> =
        leases.iter().map(|l| json!({"number": l["number"], "token": l["token"]})).collect();
    let body = json!({"leases": leases, "then": then});
    assert_eq!(client.post("/v1/pools/ru/return", &body).unwrap().status, 200);
}

/// A pool `ru` with numbers in every state, some of them leased more than once.
fn in_every_state(client: &mut Client) {
    assert_eq!(
        client
            .send("PUT", "/v1/pools/ru?order=lowest", "text/csv", b"first,last\n1000,1999\n")
            .unwrap()
            .status,
        201
    );
    for _ in 0..3 {
        let leases = lease(client, "ru", 10);
        give_back(client, &leases, &json!("available"));
    }
    for then in [json!({"rest": 7200}), json!("done"), json!("retired")] {
        let leases = lease(client, "ru", 20);
        give_back(client, &leases, &then);
    }
    lease(client, "ru", 20);
    assert_eq!(
        client.send("POST", "/v1/pools/ru/retire", "text/csv", b"first,last\n1990,1999\n").unwrap().status,
        200
    );
}

#[test]
fn an_export_puts_every_state_back() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let daemon = Daemon::start(&data);
    let mut client = daemon.client();
    in_every_state(&mut client);
    let exported = export(&mut client, "ru");
    assert!(
        [
            "1000,resting,4,2",
            "1020,done,1,\n",
            "1040,retired,1,\n",
            "1999,retired,0,\n",
            "1060,leased,1,2",
            "1100,available,0,\n"
        ]
        .iter()
        .all(|row| exported.contains(row)),
        "{exported}"
    );
    let expected = exported.replace("leased", "resting");
    let created = put(&mut client, "copy", &exported);
    assert_eq!((created.status, created.json()["numbers"].as_u64()), (201, Some(1000)), "{created:?}");
    assert_eq!(export(&mut client, "copy"), expected);

    // Unsorted, and with every row twice: of two rows of a number the later state counts.
    let mut rows: Vec<&str> = exported.lines().skip(1).collect();
    rows.reverse();
    let stale: Vec<String> =
        rows.iter().map(|row| format!("{},available,0,", row.split_once(',').unwrap().0)).collect();
    let rows: Vec<&str> = rows.into_iter().chain(stale.iter().map(String::as_str)).collect();
    let csv = format!("number,state,generation,until\n{}\n", rows.join("\n"));
    let created = put(&mut client, "twice", &csv).json();
    assert_eq!((&created["numbers"], &created["duplicates"]), (&json!(1000), &json!(1000)));
    assert_eq!(export(&mut client, "twice"), expected);

    // The counts, and what happens next: generations go on, done numbers come back in the next round.
    let counts = client.call("GET", "/v1/pools/copy").unwrap().json();
    let of = |state: &str| counts[state].as_u64().unwrap();
    assert_eq!(
        (of("available"), of("leased"), of("resting"), of("done"), of("retired")),
        (910, 0, 40, 20, 30)
    );
    assert_eq!(client.call("POST", "/v1/pools/copy/rounds").unwrap().json()["available"], 20);
    assert_eq!(lease(&mut client, "copy", 1)[0]["number"], 1020);
    assert_eq!(client.call("GET", "/v1/pools/copy/numbers/1020").unwrap().json()["generation"], 2);

    // Durable from the moment of the answer, and nothing for a check to find.
    daemon.kill();
    let checked = allotd().arg("check").arg(&data).output().unwrap();
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    let daemon = Daemon::start(&data);
    assert_eq!(export(&mut daemon.client(), "twice"), expected);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn bad_states_are_refused_with_their_line() {
    let server = Server::start();
    let put = |csv: &str, query: &str| {
        let csv = format!("number,state,generation,until\n5,available,0,\n{csv}");
        server.send("PUT", &format!("/v1/pools/ru{query}"), "text/csv", &csv)
    };
    for (row, what) in [
        ("7,barred,1,", "state"),
        ("7,,1,", "state"),
        ("7,available,,", "generation"),
        ("7,available,-1,", "generation"),
        ("7,available,67108864,", "generation"),
        ("7,leased,0,2026-11-27T14:18:43Z", "generation"),
        ("7,done,0,", "generation"),
        ("7,leased,1,", "until"),
        ("7,resting,1,tomorrow", "until"),
        ("7,resting,1,2087-11-27T14:18:43Z", "until"),
        ("7,retired,1,2026-11-27T14:18:43Z", "until"),
        ("7,resting,1", "until"),
        ("7-9,available,1,", "one number"),
    ] {
        let refused = put(row, "");
        assert_eq!(refused.problem(), (400, "bad_request".to_owned()), "{row}");
        assert!(refused.body.contains("line 3") && refused.body.contains(what), "{row}: {refused:?}");
    }
    let skipped = put("7,barred,1,\n8,retired,67108863,\n9,blocked,2,\n", "?on_invalid=skip").json();
    assert_eq!((&skipped["numbers"], &skipped["invalid"]), (&json!(3), &json!(1)));
    // Its list is not part of the file: it must not be leased.
    assert_eq!(server.call("GET", "/v1/pools/ru/numbers/9").json()["state"], "retired");
    assert_eq!(server.call("GET", "/v1/pools/ru/numbers/8").json()["generation"], 67_108_863);
}

#[test]
fn other_columns_are_no_states() {
    let server = Server::start();
    // A column that happens to be called state, as in an address.
    let created =
        server.send("PUT", "/v1/pools/us", "text/csv", "number,state\n12025550100,DC\n12125550100,NY\n");
    assert_eq!(created.status, 201, "{created:?}");
    // Numbers that the pool has keep their states; new ones get theirs.
    let csv = "number,state,generation,until\n12025550100,retired,3,\n12025550101,retired,3,\n";
    assert_eq!(server.send("POST", "/v1/pools/us/numbers", "text/csv", csv).json()["added"], 1);
    assert_eq!(server.call("GET", "/v1/pools/us").json()["available"], 2);
    assert_eq!(server.call("GET", "/v1/pools/us/numbers/12025550101").json()["generation"], 3);
}
