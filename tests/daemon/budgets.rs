//! What all callers together may use up: numbers, backups, the disk, the length of bodies. On the real daemon.

use std::io::Write;

use crate::support::daemon::Daemon;
use crate::support::small_disk::SmallDisk;
use crate::support::{Answer, ranges_csv, read_answer};

fn start(directory: &tempfile::TempDir, flags: &[&str]) -> Daemon {
    Daemon::start_with(&directory.path().join("data"), flags)
}

fn put(daemon: &Daemon, pool: &str, list: &str) -> Answer {
    let list = ranges_csv(list);
    daemon.client().send("PUT", &format!("/v1/pools/{pool}"), "text/csv", list.as_bytes()).unwrap()
}

fn add(daemon: &Daemon, pool: &str, list: &str) -> Answer {
    let list = ranges_csv(list);
    daemon.client().send("POST", &format!("/v1/pools/{pool}/numbers"), "text/csv", list.as_bytes()).unwrap()
}

#[track_caller]
fn is_beyond(answer: &Answer, setting: &str) {
    assert_eq!(answer.problem(), (507, "storage_full".to_owned()));
    assert!(answer.body.contains(setting), "{answer:?}");
}

#[test]
fn all_pools_together_have_at_most_so_many_numbers() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = start(&directory, &["--max-numbers", "300"]);
    assert_eq!(put(&daemon, "a", "100-299").status, 201);
    is_beyond(&put(&daemon, "b", "1000-1100"), "--max-numbers");
    assert_eq!(put(&daemon, "b", "1000-1099").status, 201);
    is_beyond(&add(&daemon, "b", "1"), "--max-numbers");
    // What is refused, or there already, takes nothing of the rest.
    assert_eq!(put(&daemon, "b", "1-9").status, 409);
    assert_eq!(daemon.client().call("DELETE", "/v1/pools/a").unwrap().status, 200);
    assert_eq!(add(&daemon, "b", "1000-1149").json()["added"], 50);
    assert_eq!(add(&daemon, "b", "1000-1149").json()["added"], 0);
    assert_eq!(add(&daemon, "b", "5000-5149").json()["added"], 150);
    is_beyond(&add(&daemon, "b", "1"), "--max-numbers");
    assert_eq!(daemon.stop(), Some(0));
    // It counts what it finds.
    let daemon = start(&directory, &["--max-numbers", "301"]);
    is_beyond(&add(&daemon, "b", "1-2"), "--max-numbers");
    assert_eq!(add(&daemon, "b", "1").json()["added"], 1);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn there_are_at_most_so_many_backups() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = start(&directory, &["--max-backups", "2"]);
    for name in ["a", "b"] {
        let body = format!("{{\"name\":\"{name}\"}}");
        let made = daemon.client().send("POST", "/v1/backup", "application/json", body.as_bytes()).unwrap();
        assert_eq!(made.status, 200, "{made:?}");
    }
    is_beyond(&daemon.client().call("POST", "/v1/backup").unwrap(), "--max-backups");
    std::fs::remove_dir_all(directory.path().join("data/backups/a")).unwrap();
    assert_eq!(daemon.client().call("POST", "/v1/backup").unwrap().status, 200);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_part_of_the_disk_is_kept_for_changes() {
    const DISK_BYTES: u64 = 64 << 20;
    let Some(disk) = SmallDisk::mount(DISK_BYTES) else { return };
    let daemon = Daemon::start_with(&disk.path.join("data"), &["--journal-file-mib", "2"]);
    assert_eq!(put(&daemon, "ru", "100-199").status, 201);
    // Four journal files, which are more than 5 %.
    let ballast = disk.fill((8 << 20) - (64 << 10));
    for refused in [
        put(&daemon, "by", "100-199"),
        add(&daemon, "ru", "200"),
        daemon.client().call("POST", "/v1/backup").unwrap(),
    ] {
        is_beyond(&refused, "free some space");
    }
    // What is there goes on.
    assert_eq!(daemon.client().call("POST", "/v1/pools/ru/lease").unwrap().status, 200);
    assert_eq!(daemon.client().call("POST", "/v1/pools/ru/pause").unwrap().status, 200);
    std::fs::remove_file(ballast).unwrap();
    assert_eq!(put(&daemon, "by", "100-199").status, 201);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn bodies_have_a_length_that_is_checked_before_anything_is_executed() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = start(&directory, &["--max-json", "2048", "--max-upload", "1000000"]);
    assert_eq!(put(&daemon, "ru", "100-199").status, 201);
    let lease = |body: &str, chunked: bool| {
        let mut client = daemon.client();
        let length = if chunked {
            "transfer-encoding: chunked".to_owned()
        } else {
            format!("content-length: {}", body.len())
        };
        let head = format!(
            "POST /v1/pools/ru/lease HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{length}\r\n\r\n"
        );
        client.connection.get_mut().write_all(head.as_bytes()).unwrap();
        let body = if chunked { format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()) } else { body.to_owned() };
        client.connection.get_mut().write_all(body.as_bytes()).unwrap();
        read_answer(&mut client.connection, false)
    };
    for chunked in [false, true] {
        assert_eq!(lease(&format!("{{{}}}", " ".repeat(2046)), chunked).status, 200);
        let refused = lease(&format!("{{{}}}", " ".repeat(2047)), chunked);
        assert_eq!(refused.problem(), (413, "too_large".to_owned()));
        assert!(refused.body.contains("--max-json"), "{refused:?}");
    }
    let line = "1234567890\n";
    let put_lines = |pool: &str, lines: usize| {
        let (path, list) = (format!("/v1/pools/{pool}"), line.repeat(lines));
        daemon.client().send("PUT", &path, "text/plain", list.as_bytes()).unwrap()
    };
    assert_eq!(put_lines("by", 1_000_000 / line.len()).status, 201);
    let refused = put_lines("kz", 1_000_000 / line.len() + 1);
    assert_eq!(refused.problem(), (413, "too_large".to_owned()));
    assert!(refused.body.contains("--max-upload"), "{refused:?}");
    let mut client = daemon.client();
    let head = "PUT /v1/pools/kz HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n";
    client.connection.get_mut().write_all(head.as_bytes()).unwrap();
    let part = line.repeat(10_000);
    for _ in 0..10 {
        write!(client.connection.get_mut(), "{:x}\r\n{part}\r\n", part.len()).unwrap();
    }
    client.connection.get_mut().write_all(b"0\r\n\r\n").unwrap();
    assert_eq!(read_answer(&mut client.connection, false).problem(), (413, "too_large".to_owned()));
    assert_eq!(daemon.client().call("GET", "/v1/pools/kz").unwrap().status, 404);
    let staging = directory.path().join("data/staging");
    assert_eq!(std::fs::read_dir(staging).unwrap().count(), 0);
}
