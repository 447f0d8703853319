//! `allotd export`: a pool of a backup, read offline: its states are those of the backup, whatever came later.

use std::path::{Path, PathBuf};

use crate::support::Server;
use crate::support::daemon::allotd;
use roaring::RoaringTreemap;
use serde_json::json;

/// Exit code, standard output, standard error.
fn export(args: &[&str]) -> (Option<i32>, String, String) {
    let output = allotd().arg("export").args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn backup(server: &Server, name: &str) -> PathBuf {
    let made = server.post("/v1/backup", &json!({ "name": name }).to_string());
    assert_eq!(made.status, 200, "{}", made.body);
    server.data.path().join("data/backups").join(name)
}

/// All numbers with their states, as the daemon has them.
fn csv(server: &Server) -> String {
    server.client().get_as("/v1/pools/ru/numbers", "text/csv").unwrap().body
}

/// A pool with numbers in every state, in a sorted segment and in one that grows.
fn server_with_states() -> Server {
    let server = Server::with_pool("order=lowest&ttl=3600&ttl_max=3600", "79120000000-79120000999\n5-9");
    for number in ["79130000007", "79130000003", "11"] {
        assert_eq!(server.send("POST", "/v1/pools/ru/numbers", "text/plain", number).status, 200);
    }
    let body = "{\"count\":20}";
    let leases = server.post("/v1/pools/ru/lease", body).json()["leases"].as_array().unwrap().clone();
    for (lease, then) in leases.iter().zip([json!({"rest": 3000}), json!("done"), json!("retired")]) {
        let item = json!({"number": lease["number"], "token": lease["token"], "then": then});
        server.post("/v1/pools/ru/return", &json!({ "leases": [item] }).to_string());
    }
    let states = csv(&server);
    for state in ["available", "leased", "resting", "done", "retired"] {
        assert!(states.contains(&format!(",{state},")), "{state}: {states}");
    }
    server
}

#[test]
fn a_csv_has_the_states_of_the_backup_whatever_came_later() {
    let server = server_with_states();
    let before = csv(&server);
    let dir = backup(&server, "monday");
    server.call("POST", "/v1/pools/ru/release?state=leased,resting");
    server.call("POST", "/v1/pools/ru/rounds");
    assert_ne!(csv(&server), before);
    let (code, out, error) = export(&[dir.to_str().unwrap(), "ru"]);
    assert_eq!((code, error.as_str()), (Some(0), ""));
    assert_eq!(out, before);
    let (_, again, _) = export(&[dir.to_str().unwrap(), "ru"]);
    assert_eq!(again, before, "reading changes nothing");
    assert!(allotd().arg("check").arg(&dir).output().unwrap().status.success());
    // A round that was started before a backup is open in it.
    let later = csv(&server);
    assert_eq!(export(&[backup(&server, "tuesday").to_str().unwrap(), "ru"]).1, later);
}

#[test]
fn what_a_list_of_the_backup_blocks_is_blocked() {
    let server = server_with_states();
    assert_eq!(server.send("PUT", "/v1/lists/optouts", "text/plain", "79120000000-79120000099").status, 201);
    assert_eq!(server.send("PUT", "/v1/lists/other", "text/plain", "79120000500").status, 201);
    assert_eq!(
        server.send("PATCH", "/v1/pools/ru", "application/json", "{\"blocked_by\":[\"optouts\"]}").status,
        200
    );
    for (call, number) in [("numbers", "79130000003"), ("remove", "79120000050")] {
        let path = format!("/v1/lists/optouts/{call}");
        assert_eq!(server.send("POST", &path, "text/plain", number).status, 200);
    }
    let (before, dir) = (csv(&server), backup(&server, "monday"));
    assert!(before.contains("79130000003,blocked,") && before.contains("79120000050,available,"), "{before}");
    server.send("POST", "/v1/lists/optouts/remove", "text/plain", "79120000000-79120000099");
    assert_ne!(csv(&server), before);
    let (code, out, error) = export(&[dir.to_str().unwrap(), "ru"]);
    assert_eq!((code, error.as_str()), (Some(0), ""));
    assert_eq!(out, before);
    let list = dir.join("lists/optouts/list.toml");
    std::fs::write(&list, "format = 1\n").unwrap();
    let (code, _, error) = export(&[dir.to_str().unwrap(), "ru"]);
    assert!(code == Some(1) && error.contains("lists/optouts/list.toml"), "{error}");
}

#[test]
fn a_roaring_file_per_state_has_its_numbers() {
    let server = server_with_states();
    let (before, backup) = (csv(&server), backup(&server, "monday"));
    let dir = server.data.path().join("sets");
    let (code, out, error) = export(&[backup.to_str().unwrap(), "ru", "--roaring", dir.to_str().unwrap()]);
    assert_eq!((code, error.as_str()), (Some(0), ""));
    let mut all = 0;
    for state in ["available", "leased", "resting", "done", "retired"] {
        let file = std::fs::File::open(dir.join(format!("{state}.roaring"))).unwrap();
        let set = RoaringTreemap::deserialize_from(file).unwrap();
        let rows = before.lines().filter(|row| row.contains(&format!(",{state},")));
        let expected: RoaringTreemap =
            rows.map(|row| row.split(',').next().unwrap().parse::<u64>().unwrap()).collect();
        assert_eq!(set, expected, "{state}");
        all += set.len();
        let shown = out.lines().find(|line| line.starts_with(state)).unwrap();
        assert_eq!(shown.split_whitespace().last().unwrap(), set.len().to_string().as_str(), "{out}");
    }
    assert_eq!(all, 1_008);
    assert!(out.starts_with("as of"), "{out}");
    let (code, _, error) = export(&[backup.to_str().unwrap(), "ru", "--roaring", dir.to_str().unwrap()]);
    assert!(code == Some(1) && error.contains("available.roaring"), "never over another: {error}");
}

#[test]
fn what_cannot_be_read_is_named() {
    let server = server_with_states();
    let dir = backup(&server, "monday");
    let refused = |dir: &Path, pool: &str, words: &str| {
        let (code, out, error) = export(&[dir.to_str().unwrap(), pool]);
        assert_eq!((code, out.as_str()), (Some(if words.contains("pool name") { 2 } else { 1 }), ""));
        assert!(error.contains(words) && error.lines().count() == 1, "{error}");
    };
    refused(&dir, "de", "has no pool \"de\": it has ru");
    refused(&dir, "../ru", "is not a pool name");
    refused(&server.data.path().join("data"), "ru", "is not a backup");
    let words = dir.join("pools/ru/0001.words");
    let mut bytes = std::fs::read(&words).unwrap();
    bytes[8] ^= 1;
    std::fs::write(&words, bytes).unwrap();
    refused(&dir, "ru", "0001.words");
}
