//! Floods of HTTP/2 frames: rapid reset, CONTINUATION, PING, SETTINGS, empty frames, windows of zero. Other
//! clients are served meanwhile, and the daemon's memory stays. On the real daemon, frame by frame.

use std::time::{Duration, Instant};

use crate::support::Client;
use crate::support::daemon::Daemon;
use crate::support::http2::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, Http2, INITIAL_WINDOW_SIZE, PING,
    RST_STREAM, SETTINGS, WINDOW_UPDATE, field, frame, request,
};

/// How long each flood lasts.
const FLOOD: Duration = Duration::from_secs(2);
/// How long another client's lease may take meanwhile.
const PROMPT: Duration = Duration::from_secs(2);
const MAX_MORE_BYTES: u64 = 16 << 20;
const CANCEL: [u8; 4] = 8_u32.to_be_bytes();

fn start(directory: &tempfile::TempDir) -> Daemon {
    let daemon = Daemon::start_with(&directory.path().join("data"), &["--workers", "1"]);
    let created = daemon.client().send("PUT", "/v1/pools/ru", "text/csv", b"first,last\n1000000,1999999\n");
    assert_eq!(created.unwrap().status, 201);
    daemon
}

fn resident_bytes(daemon: &Daemon) -> u64 {
    let stats = daemon.client().call("GET", "/v1/stats").unwrap().json();
    stats["memory"]["resident_bytes"].as_u64().unwrap()
}

/// Sends what `next` makes until the time is over or the connection is cut, and leases with another client
/// meanwhile. Returns whether it was cut.
#[track_caller]
fn flood(daemon: &Daemon, http2: Http2, mut next: impl FnMut(u32) -> Vec<u8> + Send) -> bool {
    let before = resident_bytes(daemon);
    let address = daemon.address;
    let cut = std::thread::scope(|scope| {
        let mut http2 = http2;
        let mut reader = http2.stream.try_clone().unwrap();
        let flooding = scope.spawn(move || {
            let started = Instant::now();
            http2.stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
            let mut round = 0;
            while started.elapsed() < FLOOD {
                if http2.send(&next(round)).is_err() {
                    return true;
                }
                round += 1;
            }
            let _ = http2.stream.shutdown(std::net::Shutdown::Both);
            false
        });
        scope.spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
        let mut client = Client::connect(address).unwrap();
        let mut took = Vec::new();
        while !flooding.is_finished() {
            let started = Instant::now();
            assert_eq!(client.call("POST", "/v1/pools/ru/lease").unwrap().status, 200);
            took.push(started.elapsed());
            assert!(started.elapsed() < PROMPT, "a lease took {:?}", started.elapsed());
        }
        took.sort_unstable();
        println!("{} leases, p99 {:?}", took.len(), took.get(took.len() * 99 / 100));
        flooding.join().unwrap()
    });
    let after = resident_bytes(daemon);
    assert!(after < before + MAX_MORE_BYTES, "{before} {after}");
    cut
}

fn odd(round: u32, of: u32, each: u32) -> u32 {
    (round * each + of) * 2 + 1
}

#[test]
fn rapid_reset() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = start(&directory);
    let block = request("POST", "/v1/pools/ru/lease");
    let http2 = Http2::connect(daemon.address, &[]);
    let cut = flood(&daemon, http2, |round| {
        let mut bytes = Vec::new();
        for of in 0..100 {
            let stream = odd(round, of, 100);
            bytes.extend(frame(HEADERS, END_HEADERS | END_STREAM, stream, &block));
            bytes.extend(frame(RST_STREAM, 0, stream, &CANCEL));
        }
        bytes
    });
    assert!(cut, "the connection of a rapid reset is ended");
    // Most were never executed, and all that were are counted.
    let leased = daemon.client().call("GET", "/v1/pools/ru").unwrap().json();
    assert_eq!(leased["numbers"], 1_000_000);
}

#[test]
fn heads_that_never_end() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = start(&directory);
    let part = field("x-filler", &"x".repeat(100)).repeat(100);
    let http2 = Http2::connect(daemon.address, &[]);
    let cut = flood(&daemon, http2, |round| {
        if round == 0 {
            frame(HEADERS, 0, 1, &request("GET", "/healthz"))
        } else {
            frame(CONTINUATION, 0, 1, &part)
        }
    });
    assert!(cut, "a head without end ends the connection");
    let http2 = Http2::connect(daemon.address, &[]);
    let cut = flood(&daemon, http2, |round| {
        if round == 0 {
            frame(HEADERS, 0, 1, &request("GET", "/healthz"))
        } else {
            frame(CONTINUATION, 0, 1, &[])
        }
    });
    assert!(cut, "a head of empty frames ends the connection");
}

#[test]
fn pings_settings_and_empty_frames() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = start(&directory);
    let many = |bytes: Vec<u8>| move |_| bytes.repeat(100);
    flood(&daemon, Http2::connect(daemon.address, &[]), many(frame(PING, 0, 0, &[1; 8])));
    flood(&daemon, Http2::connect(daemon.address, &[]), many(frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 1, 0])));
    flood(&daemon, Http2::connect(daemon.address, &[]), many(frame(SETTINGS, ACK, 0, &[])));
    let mut open = Http2::connect(daemon.address, &[]);
    let mut block = request("POST", "/v1/pools/ru/lease");
    block.extend(field("content-type", "application/json"));
    open.send(&frame(HEADERS, END_HEADERS, 1, &block)).unwrap();
    flood(&daemon, open, many(frame(DATA, 0, 1, &[])));
    let mut windows = Http2::connect(daemon.address, &[]);
    windows.send(&frame(HEADERS, END_HEADERS, 1, &block)).unwrap();
    flood(&daemon, windows, many(frame(WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes())));
}

#[test]
fn floods_whose_answers_are_not_read_are_read_no_further() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = start(&directory);
    let before = resident_bytes(&daemon);
    for bytes in [frame(PING, 0, 0, &[1; 8]), frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 1, 0])] {
        let mut http2 = Http2::connect(daemon.address, &[]);
        http2.stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
        let many = bytes.repeat(10_000);
        let started = Instant::now();
        while http2.send(&many).is_ok() {
            assert!(started.elapsed() < FLOOD * 5, "it reads on though nobody takes its answers");
        }
        assert!(resident_bytes(&daemon) < before + MAX_MORE_BYTES);
    }
}

#[test]
fn streams_beyond_the_limit_are_refused_and_the_others_served() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = start(&directory);
    let mut http2 = Http2::connect(daemon.address, &[(INITIAL_WINDOW_SIZE, 0)]);
    let mut bytes = Vec::new();
    for stream in (1..=255).step_by(2) {
        bytes.extend(frame(
            HEADERS,
            END_HEADERS | END_STREAM,
            stream,
            &request("POST", "/v1/pools/ru/lease"),
        ));
    }
    http2.send(&bytes).unwrap();
    let (mut answered, mut refused) = (0, 0);
    while answered + refused < 128 {
        match http2.read().unwrap() {
            found if found.kind == HEADERS => answered += 1,
            found if found.kind == RST_STREAM => {
                assert_eq!(found.payload, 7_u32.to_be_bytes(), "REFUSED_STREAM: it was not executed");
                refused += 1;
            }
            found => assert_ne!(found.kind, GOAWAY, "{found:?}"),
        }
    }
    assert_eq!((answered, refused), (64, 64));
    let leased = daemon.client().call("GET", "/v1/pools/ru").unwrap().json()["leased"].as_u64().unwrap();
    assert_eq!(leased, 64, "one lease for each answer");
}
