//! A full disk: a small file system of its own, filled by the test.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::support::daemon::{Daemon, allotd};
use crate::support::small_disk::SmallDisk;
use crate::support::{Answer, Client};
use serde_json::json;

const FILE_SYSTEM_BYTES: u64 = 32 << 20;
/// All files of the journal fit well into it.
const SMALL_JOURNAL: [&str; 2] = ["--journal-file-mib", "2"];
/// More than the file system holds, at eight bytes per number.
const TOO_MANY: &str = "79120000000-79129999999\n";

/// What there is of pools, and in the making: the journal makes its files when there is space.
fn kept(data: &Path) -> Vec<PathBuf> {
    [paths(&data.join("pools")), paths(&data.join("staging"))].concat()
}

/// The paths of all files and directories below one, sorted.
fn paths(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.append(&mut paths(&path));
        }
        found.push(path);
    }
    found.sort();
    found
}

fn storage_full(answer: &Answer) {
    assert_eq!(answer.problem(), (507, "storage_full".to_owned()));
    assert!(answer.body.contains("free some space"), "{}", answer.body);
}

/// A bitmap of every second number: two bytes per number, as arrays and bitmaps.
fn roaring(numbers: u64) -> Vec<u8> {
    let set: roaring::RoaringTreemap = (0..numbers).map(|index| 79_120_000_000 + index * 2).collect();
    let mut bytes = Vec::new();
    set.serialize_into(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_full_disk_is_507_and_leaves_nothing_half_made() {
    let Some(disk) = SmallDisk::mount(FILE_SYSTEM_BYTES) else { return };
    let data = disk.path.join("data");
    let daemon = Daemon::start_with(&data, &SMALL_JOURNAL);
    let mut client = daemon.client();
    let created =
        client.send("PUT", "/v1/pools/ru?order=lowest", "text/csv", b"first,last\n100,199\n").unwrap();
    assert_eq!(created.status, 201);
    let before = kept(&data);

    // Too large for the disk: at the words.
    storage_full(&client.send("PUT", "/v1/pools/a", "text/plain", TOO_MANY.as_bytes()).unwrap());
    assert_eq!(kept(&data), before);
    storage_full(&client.send("POST", "/v1/pools/ru/numbers", "text/plain", TOO_MANY.as_bytes()).unwrap());
    assert_eq!(kept(&data), before);

    // Full already: at the upload, at the set or at the manifest, depending on how much is left.
    let bitmap = roaring(100_000);
    for spare in [0, 4_096, 8_192, 12_288, 65_536] {
        let ballast = disk.fill(spare);
        let list = "first,last\n200,9999999\n";
        storage_full(&client.send("PUT", "/v1/pools/a", "text/csv", list.as_bytes()).unwrap());
        storage_full(&client.send("POST", "/v1/pools/ru/numbers", "text/csv", list.as_bytes()).unwrap());
        for (method, path) in [("PUT", "/v1/pools/a"), ("POST", "/v1/pools/ru/numbers")] {
            storage_full(&client.send(method, path, "application/octet-stream", &bitmap).unwrap());
        }
        assert_eq!(kept(&data), before, "{spare} bytes left");
        let leased = client.call("POST", "/v1/pools/ru/lease").unwrap();
        assert_eq!(leased.status, 200, "leases need no space: {leased:?}");
        fs::remove_file(ballast).unwrap();
    }
    let ballast = disk.fill(0);
    storage_full(&client.send("PATCH", "/v1/pools/ru", "application/json", b"{\"ttl\":7}").unwrap());
    assert_ne!(client.call("GET", "/v1/pools/ru").unwrap().json()["settings"]["ttl"], 7);
    assert_eq!(kept(&data), before);
    fs::remove_file(ballast).unwrap();

    // With space again, all of it works.
    let created = client.send("PUT", "/v1/pools/a", "application/octet-stream", &bitmap).unwrap();
    assert_eq!((created.status, created.json()["numbers"].as_u64()), (201, Some(100_000)));
    let added = client.send("POST", "/v1/pools/ru/numbers", "text/csv", b"first,last\n200,299\n").unwrap();
    assert_eq!(added.json()["added"], 100);
    assert_eq!(daemon.stop(), Some(0));
    let checked = allotd().arg("check").arg(&data).output().unwrap();
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
}

#[test]
fn an_upload_that_fills_the_disk_is_507_to_a_client_that_sends_all_of_it() {
    let Some(disk) = SmallDisk::mount(FILE_SYSTEM_BYTES) else { return };
    let data = disk.path.join("data");
    let daemon = Daemon::start_with(&data, &SMALL_JOURNAL);
    let mut client = daemon.client();
    assert_eq!(client.send("PUT", "/v1/pools/ru", "text/csv", b"first,last\n100,199\n").unwrap().status, 201);
    let before = kept(&data);
    let list = b"79120000000\n".repeat(3 << 20);
    storage_full(&client.send("PUT", "/v1/pools/a", "text/plain", &list).unwrap());
    assert_eq!(kept(&data), before);
    assert_eq!(client.call("POST", "/v1/pools/ru/lease").unwrap().status, 200);
    // Its space is free again.
    let list = b"79120000000\n".repeat(1 << 20);
    assert_eq!(client.send("PUT", "/v1/pools/a", "text/plain", &list).unwrap().status, 201);
    assert_eq!(daemon.stop(), Some(0));
}

/// In bytes: of the files that a start makes, the journal's alone are larger.
const ROOM_FOR_ALL_BUT_THE_JOURNAL: u64 = 2 << 20;

#[test]
fn a_daemon_that_finds_a_full_disk_says_so() {
    let Some(disk) = SmallDisk::mount(FILE_SYSTEM_BYTES) else { return };
    let data = disk.path.join("data");
    fs::create_dir(&data).unwrap();
    let start = |room: u64| {
        disk.fill(room);
        let mut command = allotd();
        command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(&data);
        let output = command.output().unwrap();
        crate::support::daemon::one_line_failure(&output, 1, "No space left");
        output
    };
    start(0);
    let output = start(ROOM_FOR_ALL_BUT_THE_JOURNAL);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("needs 128 MiB there") && said.contains("--journal-file-mib"), "{said}");
    let mut command = allotd();
    command.args(["serve", "--check", "--listen", "127.0.0.1:0", "--data"]).arg(&data);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("fault   space") && said.contains("needs 128 MiB"), "{said}");
    fs::remove_file(disk.path.join("ballast")).unwrap();
    assert_eq!(Daemon::start_with(&data, &SMALL_JOURNAL).stop(), Some(0), "with space again it starts");
}

/// A reader of a daemon whose journal is full waits no longer.
const READ_PATIENCE: Duration = Duration::from_secs(3);
/// Leases that end while the journal is full: more records than its reserve holds.
const ENDING: u64 = 100_000;
const ENDING_TTL_SECONDS: u64 = 8;

fn impatient(daemon: &Daemon) -> Client {
    let client = daemon.client();
    client.connection.get_ref().set_read_timeout(Some(READ_PATIENCE)).unwrap();
    client
}

/// A daemon with a small journal and one pool, and one key that a checkpoint has to store.
fn start_with_a_key(data: &Path) -> (Daemon, Client) {
    let daemon = Daemon::start_with(data, &["--journal-file-mib", "2", "--workers", "2"]);
    let mut client = daemon.client();
    let created = client.send("PUT", "/v1/pools/ru?order=lowest", "text/plain", b"100000-399999\n").unwrap();
    assert_eq!(created.status, 201, "{created:?}");
    let key = "POST /v1/pools/ru/lease HTTP/1.1\r\nhost: localhost\r\nidempotency-key: k\r\n\r\n";
    std::io::Write::write_all(client.connection.get_mut(), key.as_bytes()).unwrap();
    assert_eq!(crate::support::read_answer(&mut client.connection, false).status, 200);
    (daemon, client)
}

/// Leases until the journal is full: a checkpoint has no space for its file of keys.
fn fill_journal(client: &mut Client) {
    let began = Instant::now();
    loop {
        let leased = client.post("/v1/pools/ru/lease", &json!({"count": 1_000, "ttl": 1})).unwrap();
        if leased.status == 507 {
            return storage_full(&leased);
        }
        assert!([200, 409].contains(&leased.status), "{leased:?}");
        assert!(began.elapsed() < Duration::from_secs(60), "the journal is not full");
    }
}

#[test]
fn a_full_journal_answers_reads_and_ends() {
    let Some(disk) = SmallDisk::mount(24 << 20) else { return };
    let data = disk.path.join("data");
    let (daemon, mut client) = start_with_a_key(&data);
    for _ in 0..ENDING / 50_000 {
        let ending = json!({"count": 50_000, "ttl": ENDING_TTL_SECONDS});
        assert_eq!(client.post("/v1/pools/ru/lease", &ending).unwrap().status, 200);
    }
    let ending_at = Instant::now() + Duration::from_secs(ENDING_TTL_SECONDS + 1);
    let ballast = disk.fill(0);
    fill_journal(&mut client);
    while Instant::now() < ending_at + Duration::from_secs(6) {
        for path in ["/healthz", "/readyz", "/v1/pools/ru", "/v1/pools/ru/numbers/100050", "/v1/stats"] {
            let began = Instant::now();
            let answer = impatient(&daemon).call("GET", path);
            let answer = answer.unwrap_or_else(|error| panic!("{path} after {:?}: {error}", began.elapsed()));
            // A load balancer sends the callers elsewhere.
            let expected = if path == "/readyz" { 507 } else { 200 };
            assert_eq!(answer.status, expected, "{path}: {answer:?}");
        }
        let leased = impatient(&daemon).call("POST", "/v1/pools/ru/lease").unwrap();
        storage_full(&leased);
        std::thread::sleep(Duration::from_millis(200));
    }
    // Nothing more can be written, and it ends all the same.
    daemon.terminate();
    let began = Instant::now();
    assert!(daemon.wait().is_some(), "it does not end");
    assert!(began.elapsed() < Duration::from_secs(15), "it took {:?} to end", began.elapsed());
    fs::remove_file(ballast).unwrap();
    let daemon = Daemon::start_with(&data, &["--journal-file-mib", "2"]);
    let leased = daemon.client().call("POST", "/v1/pools/ru/lease").unwrap();
    assert_eq!(leased.status, 200, "with space again it works: {leased:?}");
    assert_eq!(daemon.stop(), Some(0));
    let checked = allotd().arg("check").arg(&data).output().unwrap();
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
}

/// Whether the daemon says everywhere that its disk is full.
fn is_full(client: &mut Client) -> bool {
    let ready = client.call("GET", "/readyz").unwrap().status;
    let state = client.call("GET", "/v1/stats").unwrap().json()["state"] == "storage_full";
    let metrics = client.call("GET", "/metrics").unwrap().body;
    let metric =
        metrics.lines().any(|line| line == "allotd_storage_full 1" || line == "allotd_storage_full 1.0");
    assert_eq!((ready, state), (if metric { 507 } else { 200 }, metric));
    metric
}

/// With large batches a file is full before the checkpoint of the other has ended: each time it gives one back,
/// changes could be accepted for a moment.
#[test]
fn a_full_disk_is_one_state_until_there_is_space() {
    let Some(disk) = SmallDisk::mount(48 << 20) else { return };
    let data = disk.path.join("data");
    let daemon = Daemon::start_with(&data, &["--journal-file-mib", "2", "--workers", "2"]);
    let mut client = daemon.client();
    let created =
        client.send("PUT", "/v1/pools/ru?order=lowest", "text/plain", b"1000000-2199999\n").unwrap();
    assert_eq!(created.status, 201, "{created:?}");
    let ballast = disk.fill(0);
    let began = Instant::now();
    while client.post("/v1/pools/ru/lease", &json!({"count": 50_000, "ttl": 1})).unwrap().status != 507 {
        assert!(began.elapsed() < Duration::from_secs(60), "the journal is never full");
    }
    let full_at = Instant::now();
    while full_at.elapsed() < Duration::from_secs(5) {
        assert!(is_full(&mut client));
        storage_full(&client.post("/v1/pools/ru/lease", &json!({"count": 1})).unwrap());
        std::thread::sleep(Duration::from_millis(50));
    }
    fs::remove_file(ballast).unwrap();
    let began = Instant::now();
    // By one call: the others, asked after it, may be told of the space already.
    while client.call("GET", "/readyz").unwrap().status != 200 {
        assert!(began.elapsed() < Duration::from_secs(10), "it does not see the space");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(!is_full(&mut client));
    assert_ne!(client.post("/v1/pools/ru/lease", &json!({"count": 1})).unwrap().status, 507);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_full_journal_takes_changes_again_when_there_is_space() {
    let Some(disk) = SmallDisk::mount(24 << 20) else { return };
    let data = disk.path.join("data");
    let (daemon, mut client) = start_with_a_key(&data);
    let ballast = disk.fill(0);
    fill_journal(&mut client);
    fs::remove_file(ballast).unwrap();
    let began = Instant::now();
    while client.call("POST", "/v1/pools/ru/lease").unwrap().status != 200 {
        assert!(began.elapsed() < Duration::from_secs(10), "it takes no changes");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(daemon.stop(), Some(0));
    let checked = allotd().arg("check").arg(&data).output().unwrap();
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
}
