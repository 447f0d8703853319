//! What one client can make the daemon keep in memory is bounded. On the real daemon, whose memory the system
//! reports.

use std::fmt::Write as _;
use std::io::Write;
use std::time::Duration;

use crate::support::daemon::Daemon;
use crate::support::http2::{
    END_HEADERS, END_STREAM, HEADERS, Http2, INITIAL_WINDOW_SIZE, WINDOW_UPDATE, frame, request,
};
use crate::support::{ranges_csv, slow_reader};

const KIB_BYTES: u64 = 1_024;
const MIB: u64 = 1 << 20;
/// Numbers of a pool whose export is 48 MB.
const EXPORTED: &str = "79000000000-79003999999\n";
/// How long the daemon is given to keep too much.
const WHILE: Duration = Duration::from_millis(1_500);
const MAX_STREAM: u32 = (1 << 31) - 1;

fn start(directory: &tempfile::TempDir, numbers: &str) -> Daemon {
    let daemon = Daemon::start_with(&directory.path().join("data"), &["--workers", "1"]);
    let created = daemon.client().send("PUT", "/v1/pools/ru", "text/csv", ranges_csv(numbers).as_bytes());
    assert_eq!(created.unwrap().status, 201);
    // Again, without what the allocator keeps of the import.
    assert_eq!(daemon.stop(), Some(0));
    Daemon::start_with(&directory.path().join("data"), &["--workers", "1"])
}

/// Memory of a daemon by the name that `/proc` has for it.
fn memory_bytes(daemon: &Daemon, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_matches(|other: char| !other.is_ascii_digit()).parse::<u64>().unwrap() * KIB_BYTES
}

/// Runs `attack`, and asserts that it makes the daemon take at most this much more memory at any time.
#[track_caller]
fn takes_at_most<T>(daemon: &Daemon, bytes: u64, attack: impl FnOnce() -> T) -> T {
    // The peak counts from here.
    std::fs::write(format!("/proc/{}/clear_refs", daemon.id()), "5").unwrap();
    let before = memory_bytes(daemon, "VmRSS:");
    let kept = attack();
    std::thread::sleep(WHILE);
    let more = memory_bytes(daemon, "VmHWM:").saturating_sub(before);
    println!("{} KiB more", more / KIB_BYTES);
    assert!(more <= bytes, "{more} bytes more instead of {bytes}");
    assert_eq!(daemon.client().call("GET", "/healthz").unwrap().status, 200);
    kept
}

#[test]
fn pipelined_requests_whose_answers_are_not_read() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = start(&directory, "100-199999\n");
    // 47 KB of requests whose answers are 200 MB.
    let pipeline = "GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(1_000);
    let _held = takes_at_most(&daemon, 3 * MIB, || {
        let mut client = slow_reader(daemon.address);
        client.connection.get_mut().write_all(pipeline.as_bytes()).unwrap();
        client
    });
    let lines = "POST /v1/pools/ru/lease HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(20_000);
    let _held = takes_at_most(&daemon, 2 * MIB, || {
        let mut client = slow_reader(daemon.address);
        client.connection.get_ref().set_write_timeout(Some(Duration::from_millis(500))).unwrap();
        let is_full = (0..64).any(|_| client.connection.get_mut().write_all(lines.as_bytes()).is_err());
        assert!(is_full, "it is read without end");
        client
    });
    let leased = daemon.client().call("GET", "/v1/pools/ru").unwrap().json()["leased"].as_u64().unwrap();
    // What the sockets of the system hold is not the daemon's.
    assert!(leased < 64 * 20_000 / 10, "{leased} leases for a client that reads none");
}

#[test]
fn an_export_that_is_not_read() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = start(&directory, EXPORTED);
    let _held = takes_at_most(&daemon, 8 * MIB, || {
        let mut client = slow_reader(daemon.address);
        let export = b"GET /v1/pools/ru/numbers HTTP/1.1\r\nhost: localhost\r\n\r\n";
        client.connection.get_mut().write_all(export).unwrap();
        client
    });
    for window in [0, 65_535, MAX_STREAM] {
        let _held = takes_at_most(&daemon, 4 * MIB, || {
            let mut http2 = Http2::connect(daemon.address, &[(INITIAL_WINDOW_SIZE, window)]);
            http2.send(&frame(WINDOW_UPDATE, 0, 0, &(MAX_STREAM - 65_535).to_be_bytes())).unwrap();
            http2.begin(1, "GET", "/v1/pools/ru/numbers").unwrap();
            http2
        });
    }
}

#[test]
fn http_2_answers_that_are_not_taken() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = start(&directory, "1000000-1999999\n");
    for window in [0, MAX_STREAM] {
        // Each answer has 1.2 MB: a hundred have 120 MB.
        let body = b"{\"count\":10000}";
        let http2 = takes_at_most(&daemon, 12 * MIB, || {
            let mut http2 = Http2::connect(daemon.address, &[(INITIAL_WINDOW_SIZE, window)]);
            http2.send(&frame(WINDOW_UPDATE, 0, 0, &(MAX_STREAM - 65_535).to_be_bytes())).unwrap();
            let mut block = request("POST", "/v1/pools/ru/lease");
            block.extend(crate::support::http2::field("content-type", "application/json"));
            for stream in (1..200).step_by(2) {
                let mut bytes = frame(HEADERS, END_HEADERS, stream, &block);
                bytes.extend(frame(crate::support::http2::DATA, END_STREAM, stream, body));
                if http2.send(&bytes).is_err() {
                    break;
                }
            }
            http2
        });
        // It reads no more than it has to: the rest was not executed.
        http2.stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let leased = daemon.client().call("GET", "/v1/pools/ru").unwrap().json()["leased"].as_u64().unwrap();
        println!("{leased} leases");
        if window == 0 {
            assert!(leased <= 2 * 10_000, "{leased} leases whose answers nobody takes");
        }
    }
}

#[test]
fn a_list_of_few_numbers_written_often() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = start(&directory, "100-199999\n");
    for line in ["1\n", "199999\n", "79000000100-79000000105\n"] {
        let list = line.repeat((8 * MIB) as usize / line.len());
        let mut client = daemon.client();
        takes_at_most(&daemon, 16 * MIB, || {
            let answer =
                client.send("POST", "/v1/pools/ru/retire?dry_run=true", "text/plain", list.as_bytes());
            assert_eq!(answer.unwrap().status, 200);
        });
    }
    let mut csv = "first,last\n".to_owned();
    for at in 0..500_000 {
        writeln!(csv, "{},{}", 1 + at % 9, 10 + at % 9).unwrap();
    }
    let mut client = daemon.client();
    takes_at_most(&daemon, 16 * MIB, || {
        let answer = client.send("POST", "/v1/pools/ru/retire?dry_run=true", "text/csv", csv.as_bytes());
        assert_eq!(answer.unwrap().status, 200);
    });
}

#[test]
fn json_bodies_that_are_never_whole() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = start(&directory, "100-199999\n");
    let head = "POST /v1/pools/ru/lease HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 1048576\r\n\r\n";
    // 400 of 1 MB are more than the common 256 MiB; those beyond are refused, and what is kept is counted. The
    // connections themselves have buffers too.
    let _held = takes_at_most(&daemon, (256 + 128) * MIB, || {
        let clients: Vec<_> = (0..400)
            .map(|_| {
                let mut client = daemon.client();
                client.connection.get_mut().write_all(head.as_bytes()).unwrap();
                // A refused one may be closed meanwhile.
                let _ = client.connection.get_mut().write_all(&vec![b' '; 1_000_000]);
                client
            })
            .collect();
        clients
    });
}
