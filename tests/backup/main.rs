//! Backups of the real daemon while it works, what is restored from them, and backups that are not whole.

#![allow(clippy::unwrap_used)]

mod history;
#[path = "../support/mod.rs"]
mod support;

use std::collections::HashMap;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use history::{History, Seen, Told};
use serde_json::{Value, json};
use support::Client;
use support::daemon::{Daemon, allotd, one_line_failure};
use support::small_disk::SmallDisk;

const CLIENTS: u64 = 3;
/// Enough that the journal's files fill up while the words are copied.
const NUMBERS: &str = "79120000000-79120999999\n";
/// Backups are made until one saw a journal file fill up, but not more than this.
const MAX_BACKUPS: usize = 20;
/// Numbers that are leased when the first backup begins.
const LEASED_BEFORE: u64 = 1_000;

fn allotd_ok(args: &[&str], paths: &[&Path]) -> String {
    let output = allotd().args(args).args(paths).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{args:?} {paths:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn restore(backup: &Path, target: &Path) -> Output {
    allotd().arg("restore").args([backup, target]).output().unwrap()
}

fn journal_files(backup: &Path) -> usize {
    fs::read_dir(backup.join("journal")).unwrap().count()
}

/// Works on another pool: it is created, extended, its rounds begin, it is deleted, repeatedly. Returns the
/// limits of its `ttl` that were set, and when.
fn operator(address: SocketAddr, stop: &AtomicBool) -> Vec<(SystemTime, u64)> {
    let mut client = Client::connect(address).unwrap();
    let mut told = Vec::new();
    let mut ok = |method: &str, path: &str, content_type: &str, body: &str| {
        let answer = client.send(method, path, content_type, body.as_bytes()).unwrap();
        assert!(answer.status < 300, "{answer:?}");
        answer.json()
    };
    for turn in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        ok("PUT", "/v1/pools/other", "text/csv", "first,last\n1,9999\n");
        ok("POST", "/v1/pools/other/numbers", "text/plain", "10000-19999\n");
        for _ in 0..5 {
            let leases = ok("POST", "/v1/pools/other/lease", "application/json", "{\"count\":100}");
            let items: Vec<Value> = leases["leases"].as_array().unwrap().clone();
            let leases: Vec<Value> = items
                .iter()
                .map(|lease| json!({"number": lease["number"], "token": lease["token"]}))
                .collect();
            let body = json!({"leases": leases, "then": "done"}).to_string();
            ok("POST", "/v1/pools/other/return", "application/json", &body);
            ok("POST", "/v1/pools/other/rounds", "application/json", "");
        }
        let ttl = 1_000 + turn;
        ok("PATCH", "/v1/pools/ru", "application/json", &json!({ "ttl": ttl }).to_string());
        told.push((SystemTime::now(), ttl));
        ok("DELETE", "/v1/pools/other?force=true", "application/json", "");
    }
    told
}

struct Made {
    path: PathBuf,
    /// All that was confirmed before must be in it.
    from: SystemTime,
}

/// Backups under load, and what was confirmed.
fn under_load(data: &Path, flags: &[&str], many: bool) -> (Vec<Made>, Vec<History>, Vec<(SystemTime, u64)>) {
    let daemon = Daemon::start_with(data, flags);
    let mut client = daemon.client();
    let created = client.send("PUT", "/v1/pools/ru?ttl_max=100000", "text/plain", NUMBERS.as_bytes());
    assert_eq!(created.unwrap().status, 201);
    let (stop, address) = (AtomicBool::new(false), daemon.address);
    let mut made = Vec::new();
    let (histories, settings) = std::thread::scope(|scope| {
        let stop = &stop;
        let clients: Vec<_> =
            (0..CLIENTS).map(|seed| scope.spawn(move || history::client(address, stop, seed))).collect();
        let operator = scope.spawn(move || operator(address, stop));
        // Else there may be nothing yet to look for.
        while client.call("GET", "/v1/pools/ru").unwrap().json()["leased"].as_u64() < Some(LEASED_BEFORE) {
            std::thread::yield_now();
        }
        while made.len() < 2 || (many && made.iter().all(|made: &Made| journal_files(&made.path) < 2)) {
            assert!(made.len() < MAX_BACKUPS, "no journal file filled up during a backup");
            let started = SystemTime::now();
            let answer = client.post("/v1/backup", &json!({ "name": format!("b{}", made.len()) })).unwrap();
            assert_eq!(answer.status, 200, "{answer:?}");
            let as_of = answer.json()["as_of"].as_str().unwrap().to_owned();
            let as_of = humantime::parse_rfc3339(&as_of).unwrap();
            // Without records each word is as it was at some moment of the backup.
            let from = if flags.contains(&"none") { started } else { as_of };
            made.push(Made {
                path: data.join("backups").join(answer.json()["backup"].as_str().unwrap()),
                from,
            });
        }
        stop.store(true, Ordering::Relaxed);
        let histories = clients.into_iter().map(|client| client.join().unwrap()).collect();
        (histories, operator.join().unwrap())
    });
    assert_eq!(daemon.stop(), Some(0));
    allotd_ok(&["check"], &[data]);
    (made, histories, settings)
}

/// Compares what was restored with what was confirmed: nothing is older than the backup says, or invented.
fn compare(restored: &Path, made: &Made, histories: &[History], settings: &[(SystemTime, u64)]) {
    let daemon = Daemon::start(restored);
    let mut client = daemon.client();
    let (mut least, mut most) = (HashMap::<u64, &Seen>::new(), HashMap::<u64, &Seen>::new());
    for told in histories.iter().flat_map(|history| &history.told) {
        raise(&mut most, told);
        if told.at < made.from {
            raise(&mut least, told);
        }
    }
    let export = client.get_as("/v1/pools/ru/numbers", "text/csv").unwrap().body;
    let new = Seen::default();
    let mut held = Vec::new();
    let mut rows = 0;
    for (number, seen) in export.lines().skip(1).map(Seen::of_row) {
        rows += 1;
        let least = least.get(&number).copied().unwrap_or(&new);
        let most = most.get(&number).copied().unwrap_or(&new);
        assert!(*least <= seen && seen <= *most, "{number}: {seen:?}, told {least:?}, then up to {most:?}");
        if seen.generation > 0 && !seen.returned {
            held.push((number, seen.generation));
        }
    }
    assert_eq!(rows, 1_000_000);
    let ttl = client.call("GET", "/v1/pools/ru").unwrap().json()["settings"]["ttl"].as_u64().unwrap();
    let least = settings.iter().rev().find(|(at, _)| *at < made.from).map_or(0, |(_, ttl)| *ttl);
    assert!(ttl >= least, "ttl is {ttl}, {least} was confirmed");
    held.truncate(1_000);
    let token = |lease: &(u64, u64)| {
        let token = histories.iter().find_map(|history| history.tokens.get(lease));
        json!({"number": lease.0, "token": token.unwrap()})
    };
    let leases: Vec<_> = held.iter().map(token).collect();
    let answer = client.post("/v1/pools/ru/renew", &json!({"leases": leases, "ttl": 99_000})).unwrap().json();
    let results = answer["results"].as_array().unwrap();
    assert!(!results.is_empty() && results.iter().all(|result| result["result"] == "renewed"), "{answer}");
    assert_eq!(daemon.stop(), Some(0));
}

fn raise<'a>(bounds: &mut HashMap<u64, &'a Seen>, told: &'a Told) {
    let bound = bounds.entry(told.number).or_insert(&told.seen);
    *bound = std::cmp::max(*bound, &told.seen);
}

fn back_up_restore_compare(flags: &[&str], many: bool) {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let (made, histories, settings) = under_load(&data, flags, many);
    let told: usize = histories.iter().map(|history| history.told.len()).sum();
    println!("{} backups, {told} changes told", made.len());
    for (index, made) in made.iter().rev().take(2).enumerate() {
        allotd_ok(&["check"], &[&made.path]);
        let restored = directory.path().join(format!("restored{index}"));
        allotd_ok(&["restore"], &[&made.path, &restored]);
        allotd_ok(&["check"], &[&restored]);
        compare(&restored, made, &histories, &settings);
        allotd_ok(&["check"], &[&made.path]);
    }
}

#[test]
fn all_that_was_confirmed_is_restored() {
    back_up_restore_compare(&["--durability", "sync", "--journal-file-mib", "2"], true);
}

#[test]
fn all_that_was_confirmed_is_restored_with_interval() {
    back_up_restore_compare(&["--durability", "interval", "--journal-file-mib", "2"], true);
}

#[test]
fn without_records_each_word_is_of_some_moment_of_the_backup() {
    back_up_restore_compare(&["--durability", "none", "--journal-file-mib", "2"], false);
}

/// A stopped daemon's directory with a backup `b` of a small pool.
fn small_backup(directory: &Path) -> PathBuf {
    let data = directory.join("data");
    let daemon = Daemon::start_with(&data, &["--journal-file-mib", "2"]);
    let mut client = daemon.client();
    assert_eq!(
        client.send("PUT", "/v1/pools/ru", "text/csv", b"first,last\n100,9999\n").unwrap().status,
        201
    );
    assert_eq!(client.post("/v1/pools/ru/lease", &json!({"count": 100})).unwrap().status, 200);
    assert!(daemon.ok(&["backup", "--name", "b"]).contains("backup    b"));
    assert_eq!(daemon.stop(), Some(0));
    data.join("backups/b")
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn a_backup_that_is_not_whole_is_refused_and_named() {
    let directory = tempfile::tempdir().unwrap();
    let backup = small_backup(directory.path());
    let target = directory.path().join("target");
    let refused = |words: &str| {
        one_line_failure(&restore(&backup, &target), 1, words);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing half-made");
        let checked = allotd().arg("check").arg(&backup).output().unwrap();
        assert_eq!(checked.status.code(), Some(1), "{checked:?}");
    };
    let all = files(&backup);
    assert_eq!(all.len(), 10);
    for path in all {
        let name = path.file_name().unwrap().to_str().unwrap();
        let content = fs::read(&path).unwrap();
        let mut changed = content.clone();
        changed[content.len() / 2] ^= 1;
        fs::write(&path, &changed).unwrap();
        refused(name);
        fs::write(&path, &content[1..]).unwrap();
        refused(name);
        fs::remove_file(&path).unwrap();
        if name == "BACKUP" {
            one_line_failure(&restore(&backup, &target), 1, "is not a backup");
        } else {
            refused(name);
        }
        fs::write(&path, &content).unwrap();
    }
    allotd_ok(&["restore"], &[&backup, &target]);
}

#[test]
fn a_target_that_is_not_empty_is_refused_and_left_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let backup = small_backup(directory.path());
    let data = directory.path().join("data");
    one_line_failure(&restore(&backup, &data), 1, "may be newer than the backup");
    let target = directory.path().join("target");
    fs::create_dir(&target).unwrap();
    fs::write(target.join("letter"), "dear").unwrap();
    one_line_failure(&restore(&backup, &target), 1, "not an empty directory");
    one_line_failure(&restore(&backup, &target.join("letter")), 1, "not an empty directory");
    assert_eq!(fs::read_to_string(target.join("letter")).unwrap(), "dear");
    fs::remove_file(target.join("letter")).unwrap();
    let interrupted = directory.path().join("target.restoring");
    fs::create_dir(&interrupted).unwrap();
    one_line_failure(&restore(&backup, &target), 1, "target.restoring is in the way");
    fs::remove_dir(&interrupted).unwrap();
    allotd_ok(&["restore"], &[&backup, &target]);
    allotd_ok(&["check"], &[&target]);
    one_line_failure(&restore(&directory.path().join("nothing"), &target), 1, "is not a backup");
    let served = allotd().args(["serve", "--data"]).arg(&backup).output().unwrap();
    one_line_failure(&served, 1, "allotd restore");
}

#[test]
fn names_and_turns() {
    let directory = tempfile::tempdir().unwrap();
    let backups = directory.path().join("elsewhere");
    let flags = ["--journal-file-mib", "2", "--backup-dir", backups.to_str().unwrap()];
    let daemon = Daemon::start_with(&directory.path().join("data"), &flags);
    let mut client = daemon.client();
    let made = client.call("POST", "/v1/backup").unwrap();
    assert_eq!((made.status, &made.json()["pools"], &made.json()["numbers"]), (200, &json!(0), &json!(0)));
    assert_eq!(client.post("/v1/backup", &json!({"name": "b"})).unwrap().status, 200);
    let again = client.post("/v1/backup", &json!({"name": "b"})).unwrap();
    assert_eq!(again.problem(), (409, "backup_exists".to_owned()));
    assert!(again.body.contains("already"), "{again:?}");
    for name in ["", ".", "..", ".b", "a/b", "ä", &"x".repeat(65)] {
        let refused = client.post("/v1/backup", &json!({ "name": name })).unwrap();
        assert_eq!(refused.problem(), (400, "bad_request".to_owned()), "{name}");
    }
    let unknown = client.post("/v1/backup", &json!({"label": "b"})).unwrap();
    assert_eq!(unknown.problem(), (400, "bad_request".to_owned()));
    assert_eq!(client.call("GET", "/v1/backup").unwrap().problem(), (405, "method_not_allowed".to_owned()));
    let lock = File::open(backups.join(".lock")).unwrap();
    lock.lock().unwrap();
    assert_eq!(client.call("POST", "/v1/backup").unwrap().problem(), (503, "overloaded".to_owned()));
    drop(lock);
    // What a daemon left that was killed.
    let unfinished = backups.join(".unfinished-c");
    fs::create_dir_all(unfinished.join("pools")).unwrap();
    assert_eq!(client.post("/v1/backup", &json!({"name": "c"})).unwrap().status, 200);
    assert!(!unfinished.exists());
    assert_eq!(daemon.stop(), Some(0));
    assert!(!directory.path().join("data/backups").exists());
}

#[test]
fn an_ending_daemon_gives_the_backup_up() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let daemon = Daemon::start_with(&data, &["--journal-file-mib", "2"]);
    let mut client = daemon.client();
    let list = "79120000000-79129999999\n";
    assert_eq!(client.send("PUT", "/v1/pools/ru", "text/plain", list.as_bytes()).unwrap().status, 201);
    std::thread::scope(|scope| {
        let answer = scope.spawn(|| client.post("/v1/backup", &json!({"name": "b"})));
        while !data.join("backups/.unfinished-b").exists() {
            assert!(!answer.is_finished(), "a backup of ten million numbers was not seen in the making");
            std::thread::sleep(Duration::from_micros(100));
        }
        daemon.terminate();
        let answer = answer.join().unwrap().unwrap();
        assert_eq!(answer.problem(), (503, "not_ready".to_owned()));
    });
    assert_eq!(daemon.wait(), Some(0));
    assert_eq!(files(&data.join("backups")), [data.join("backups/.lock")]);
    allotd_ok(&["check"], &[&data]);
}

#[test]
fn a_full_disk_leaves_nothing_half_made() {
    let Some(disk) = SmallDisk::mount(8 << 20) else { return };
    let directory = tempfile::tempdir().unwrap();
    let backups = disk.path.join("backups");
    let flags = ["--journal-file-mib", "2", "--backup-dir", backups.to_str().unwrap()];
    let daemon = Daemon::start_with(&directory.path().join("data"), &flags);
    let mut client = daemon.client();
    assert_eq!(
        client.send("PUT", "/v1/pools/ru", "text/csv", b"first,last\n1,100000\n").unwrap().status,
        201
    );
    for spare in [0, 4_096, 65_536, 500_000] {
        let ballast = disk.fill(spare);
        let refused = client.post("/v1/backup", &json!({"name": "b"})).unwrap();
        assert_eq!(refused.problem(), (507, "storage_full".to_owned()), "{spare} bytes left");
        assert!(files(&disk.path).iter().all(|path| path.ends_with(".lock") || *path == ballast));
        assert_eq!(client.call("POST", "/v1/pools/ru/lease").unwrap().status, 200);
        fs::remove_file(ballast).unwrap();
    }
    // The file system may take a moment to give back what the ballast took.
    let made = (0..50).any(|_| {
        let status = client.post("/v1/backup", &json!({"name": "b"})).unwrap().status;
        std::thread::sleep(Duration::from_millis(if status == 200 { 0 } else { 100 }));
        status == 200
    });
    assert!(made, "there is room again");
    assert_eq!(daemon.stop(), Some(0));
    let backup = directory.path().join("b");
    let copied = std::process::Command::new("cp").arg("-r").arg(backups.join("b")).arg(&backup).status();
    assert!(copied.unwrap().success());
    let ballast = disk.fill(500_000);
    let target = disk.path.join("target");
    one_line_failure(&restore(&backup, &target), 1, "is full");
    assert!(!target.exists() && !disk.path.join("target.restoring").exists());
    one_line_failure(&restore(&backup, &disk.path), 1, "not an empty directory");
    fs::remove_file(ballast).unwrap();
    allotd_ok(&["restore"], &[&backup, &target]);
    allotd_ok(&["check"], &[&target]);
}
