//! Deadlines by phase: heads, bodies, answers, idle connections. Slow is not dead, and a PING is no life.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use crate::support::http2::{DATA, HEADERS, Http2, INITIAL_WINDOW_SIZE, PING, WINDOW_UPDATE, frame};
use crate::support::{Client, Server, read_answer};
use allotd::http::limits::Limits;

const HEAD: Duration = Duration::from_millis(300);
const ANSWER: Duration = Duration::from_millis(600);
const IDLE: Duration = Duration::from_millis(1_200);
/// A deadline is kept this exactly, on a machine that does other things too.
const LATE: Duration = Duration::from_millis(700);
const PROBE: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";

fn start() -> Server {
    let limits = Limits { head: HEAD, answer: ANSWER, idle: IDLE, ..Limits::default() };
    Server::start_with_limits(None, &[], limits)
}

/// How long the server keeps a connection open from now, while `each` is called every 20 ms.
fn closed_after(client: &mut Client, mut each: impl FnMut(&mut Client)) -> Duration {
    let started = Instant::now();
    client.connection.get_ref().set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    loop {
        match client.connection.read(&mut [0; 512]) {
            Ok(0) => return started.elapsed(),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => each(client),
            Err(_) => return started.elapsed(),
        }
        assert!(
            started.elapsed() < Duration::from_secs(crate::support::PATIENCE_SECONDS),
            "it is never closed"
        );
    }
}

#[track_caller]
fn is_about(found: Duration, limit: Duration) {
    assert!((limit..limit + limit / 5 + LATE).contains(&found), "{found:?} instead of {limit:?}");
}

#[test]
fn a_head_has_its_time_however_it_is_dripped() {
    let server = start();
    let mut halves = server.client();
    halves.connection.get_mut().write_all(&PROBE[..20]).unwrap();
    is_about(closed_after(&mut halves, |_| ()), HEAD);
    let mut dripped = server.client();
    let mut bytes = b"GET /healthz HTTP/1.1\r\nx: ".iter().copied().chain(std::iter::repeat(b'x'));
    let drip = |client: &mut Client| {
        let _ = client.connection.get_mut().write_all(&[bytes.next().unwrap()]);
    };
    is_about(closed_after(&mut dripped, drip), HEAD);
    // The second head of a connection too.
    let mut second = server.client();
    assert_eq!(second.call("GET", "/healthz").unwrap().status, 200);
    second.connection.get_mut().write_all(&PROBE[..20]).unwrap();
    is_about(closed_after(&mut second, |_| ()), HEAD);
}

#[test]
fn an_idle_connection_has_longer_than_a_head() {
    let server = start();
    let mut silent = server.client();
    is_about(closed_after(&mut silent, |_| ()), IDLE);
    let mut between = server.client();
    assert_eq!(between.call("GET", "/healthz").unwrap().status, 200);
    std::thread::sleep(HEAD * 2);
    assert_eq!(between.call("GET", "/healthz").unwrap().status, 200, "it was only idle");
    // The bytes of a body are no head.
    assert_eq!(
        between.send("PUT", "/v1/pools/ru", "text/csv", b"first,last\n100,199\n").unwrap().status,
        201
    );
    std::thread::sleep(HEAD * 2);
    assert_eq!(between.call("GET", "/healthz").unwrap().status, 200, "it was only idle");
    is_about(closed_after(&mut between, |_| ()), IDLE);
}

#[test]
fn an_http_2_ping_is_no_life() {
    let server = start();
    let mut http2 = Http2::connect(server.address, &[]);
    let started = Instant::now();
    let mut pongs = 0;
    while http2.send(&frame(PING, 0, 0, &[7; 8])).is_ok() && http2.read_to(PING).is_ok() {
        pongs += 1;
        std::thread::sleep(Duration::from_millis(20));
        assert!(started.elapsed() < IDLE * 3, "the PINGs keep it open");
    }
    assert!(pongs > 10, "{pongs}");
    is_about(started.elapsed(), IDLE);
}

#[test]
fn an_http_2_answer_that_nobody_takes_is_given_up() {
    let server = start();
    assert_eq!(server.send("PUT", "/v1/pools/ru", "text/csv", "first,last\n100000,299999\n").status, 201);
    for path in ["/v1/pools/ru/numbers", "/openapi.json"] {
        let mut http2 = Http2::connect(server.address, &[(INITIAL_WINDOW_SIZE, 0)]);
        http2.begin(1, "GET", path).unwrap();
        http2.read_to(HEADERS).unwrap();
        let started = Instant::now();
        while http2.send(&frame(PING, 0, 0, &[7; 8])).is_ok() && http2.read_to(PING).is_ok() {
            std::thread::sleep(Duration::from_millis(20));
            assert!(started.elapsed() < ANSWER * 4, "{path}: the PINGs keep it open");
        }
        is_about(started.elapsed(), ANSWER);
    }
}

#[test]
fn an_http_2_answer_that_is_taken_slowly_is_not_given_up() {
    let server = start();
    assert_eq!(server.send("PUT", "/v1/pools/ru", "text/csv", "first,last\n100000,119999\n").status, 201);
    let mut http2 = Http2::connect(server.address, &[(INITIAL_WINDOW_SIZE, 0)]);
    http2.begin(1, "GET", "/v1/pools/ru/numbers").unwrap();
    let (started, mut body) = (Instant::now(), Vec::new());
    loop {
        for stream in [0, 1] {
            // At the end the server may have been idle for long enough.
            let _ = http2.send(&frame(WINDOW_UPDATE, 0, stream, &10_000_u32.to_be_bytes()));
        }
        let part = http2.read_to(DATA).unwrap();
        body.extend(part.payload);
        if part.flags & crate::support::http2::END_STREAM != 0 {
            break;
        }
        std::thread::sleep(ANSWER / 5);
    }
    assert!(started.elapsed() > ANSWER * 2, "it was not slow: {:?}", started.elapsed());
    assert_eq!(String::from_utf8(body).unwrap().lines().count(), 20_000);
}

#[test]
fn an_upload_has_to_keep_its_rate() {
    let limits = Limits {
        upload_grace: Duration::from_millis(500),
        min_upload_bytes_per_second: 10_000,
        ..Limits::default()
    };
    let server = Server::start_with_limits(None, &[], limits);
    for (bytes_each, status) in [(3_300, 201), (330, 400)] {
        let mut client = server.client();
        let head = "PUT /v1/pools/{status} HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n";
        let head = head.replace("{status}", &format!("a{status}"));
        client.connection.get_mut().write_all(head.as_bytes()).unwrap();
        for _ in 0..20 {
            let part =
                format!("{bytes_each:x}\r\n{}\r\n", "1234567890\n".repeat(300)[..bytes_each].to_owned());
            if client.connection.get_mut().write_all(part.as_bytes()).is_err() {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let _ = client.connection.get_mut().write_all(b"2\r\n\n5\r\n0\r\n\r\n");
        let answer = read_answer(&mut client.connection, false);
        assert_eq!(answer.status, status, "{answer:?}");
        if status == 400 {
            assert!(answer.body.contains("10000 bytes per second"), "{answer:?}");
        }
    }
}
