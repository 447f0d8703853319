//! A data directory of format 4, whose words count no attempts, becomes one of the present format at its first start.
//! It was written by allotd of that format, which was then killed: `tests/fixtures/data-format-4`, and what its pool
//! held in `data-format-4-leases.csv`. Never change either.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::support::Client;
use crate::support::daemon::{Daemon, allotd};
use flate2::read::GzDecoder;
use serde_json::{Value, json};

const POOL: &str = "/v1/pools/ru";

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// Copies a directory; what ends in `.gz` is unpacked.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &target);
        } else if path.extension().is_some_and(|kind| kind == "gz") {
            let mut content = GzDecoder::new(File::open(&path).unwrap());
            io::copy(&mut content, &mut File::create(target.with_extension("")).unwrap()).unwrap();
        } else {
            fs::write(&target, fs::read(&path).unwrap()).unwrap();
            fs::set_permissions(&target, Permissions::from_mode(0o600)).unwrap();
        }
    }
}

fn old_directory(dir: &Path) -> PathBuf {
    let data = dir.join("data");
    copy(&fixtures().join("data-format-4"), &data);
    data
}

/// Number, state, generation and token of the leases that the old daemon gave.
fn leases() -> Vec<(u64, String, u64, String)> {
    let rows = fs::read_to_string(fixtures().join("data-format-4-leases.csv")).unwrap();
    let row = |line: &str| {
        let fields: Vec<&str> = line.split(',').collect();
        (fields[0].parse().unwrap(), fields[1].into(), fields[2].parse().unwrap(), fields[3].into())
    };
    rows.lines().skip(1).map(row).collect()
}

fn shown(client: &mut Client, number: u64) -> Value {
    client.call("GET", &format!("{POOL}/numbers/{number}")).unwrap().json()
}

fn call(client: &mut Client, path: &str, body: &Value) -> Value {
    client.post(&format!("{POOL}{path}"), body).unwrap().json()
}

/// Each number is what it was, and each token does what it did.
fn is_as_before(client: &mut Client) {
    for (number, state, generation, token) in leases() {
        let shown = shown(client, number);
        assert_eq!(shown["generation"], generation, "{shown}");
        let held = json!([{"number": number, "token": token}]);
        if state == "leased" {
            // Its time may be over by now. Nobody has leased it since.
            let renewed = call(client, "/renew", &json!({"leases": held, "ttl": 3_600}));
            assert_eq!(renewed["results"][0]["result"], "renewed", "{number}: {renewed}");
        } else {
            assert_eq!(shown["state"], state.as_str(), "{shown}");
            let returned = call(client, "/return", &json!({"leases": held, "then": "retired"}));
            assert_eq!(returned["results"][0]["state"], state.as_str(), "{number}: {returned}");
        }
    }
}

fn check(data: &Path) {
    let checked = allotd().arg("check").arg(data).output().unwrap();
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
}

fn content(data: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    let mut dirs = vec![data.to_owned()];
    while let Some(dir) = dirs.pop() {
        for path in fs::read_dir(dir).unwrap().flatten().map(|entry| entry.path()) {
            if path.is_dir() { dirs.push(path) } else { files.push((path.clone(), fs::read(path).unwrap())) }
        }
    }
    files.sort();
    files
}

#[test]
fn an_old_directory_is_checked_as_it_is_and_upgraded_by_a_start() {
    let dir = tempfile::tempdir().unwrap();
    let data = old_directory(dir.path());
    let before = content(&data);
    check(&data);
    assert!(content(&data) == before, "a check changes nothing");
    let start = || Daemon::start_with(&data, &["--journal-file-mib", "2"]);
    let daemon = start();
    let mut client = daemon.client();
    is_as_before(&mut client);
    // Attempts count from here on.
    let change = json!({"attempts": {"max": 2, "then": "done"}});
    let body = serde_json::to_vec(&change).unwrap();
    assert_eq!(client.send("PATCH", POOL, "application/json", &body).unwrap().status, 200);
    let within = "79120000101";
    for expected in ["available", "done"] {
        let leased = call(&mut client, "/lease", &json!({"within": [within]}));
        let held = json!([{"number": leased["leases"][0]["number"], "token": leased["leases"][0]["token"]}]);
        let returned = call(&mut client, "/return", &json!({"leases": held}));
        assert_eq!(returned["results"][0]["state"], expected, "{leased}");
    }
    daemon.kill();
    check(&data);
    let daemon = start();
    let mut client = daemon.client();
    is_as_before(&mut client);
    assert_eq!(shown(&mut client, 79_120_000_101)["state"], "done");
    assert_eq!(daemon.stop(), Some(0));
    check(&data);
}

#[test]
fn an_upgrade_that_was_cut_off_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let data = old_directory(dir.path());
    let pool = data.join("pools/ru");
    let of = |kind: &str| pool.join(format!("0001.{kind}"));
    // Before the checksums were replaced: what there is of the new words means nothing.
    fs::write(of("upgraded"), "cut off").unwrap();
    let old_words = fs::read(of("words")).unwrap();
    check(&data);
    let daemon = Daemon::start(&data);
    is_as_before(&mut daemon.client());
    assert!(!of("upgraded").exists());
    assert_eq!(daemon.stop(), Some(0));
    // After it: the new words count, and are not renamed yet.
    fs::rename(of("words"), of("upgraded")).unwrap();
    fs::write(of("words"), &old_words).unwrap();
    check(&data);
    let daemon = Daemon::start(&data);
    is_as_before(&mut daemon.client());
    assert!(!of("upgraded").exists() && fs::read(of("words")).unwrap() != old_words);
    assert_eq!(daemon.stop(), Some(0));
    check(&data);
}
