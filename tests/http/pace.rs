//! Clients that are slow, or never end: what they hold, and what they do not.

use std::convert::Infallible;
use std::io::{Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::support::daemon::Daemon;
use crate::support::{Client, Server, read_answer, slow_reader};
use allotd::http::limits::Limits;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// An operator's call takes no longer, whatever other clients do, in seconds.
const PROMPT_SECONDS: u64 = 1;
/// More than any worker has threads.
const SLOW_CLIENTS: usize = 20;
/// Exports, and lists in files, that one worker has at a time.
const AT_A_TIME: usize = 2;

/// Of the daemon's memory: a part, and what its connection buffers.
const MAX_BYTES_PER_EXPORT: u64 = 8 << 20;
const EXPORT: &str = "GET /v1/pools/ru/numbers HTTP/1.1\r\nhost: localhost\r\naccept: text/csv\r\n\r\n";

/// How a chunked body ends.
const END: &[u8] = b"\r\n0\r\n\r\n";

fn start(data: &std::path::Path) -> Daemon {
    let daemon = Daemon::start_with(data, &["--workers", "1"]);
    let mut client = daemon.client();
    for pool in ["ru", "old"] {
        let created = client.send("PUT", &format!("/v1/pools/{pool}"), "text/plain", b"100000-109999\n");
        assert_eq!(created.unwrap().status, 201);
    }
    let leased = client.send("POST", "/v1/pools/ru/lease", "application/json", b"{\"count\":10000}").unwrap();
    assert_eq!(leased.status, 200);
    daemon
}

/// Every kind of call that must leave the worker for a moment.
fn operators_calls_are_prompt(daemon: &Daemon) {
    let mut client = daemon.client();
    client.connection.get_ref().set_read_timeout(Some(Duration::from_secs(PROMPT_SECONDS))).unwrap();
    for (method, path, body, status) in [
        ("POST", "/v1/pools/ru/lease", "{\"within\":[\"1\"]}", 409),
        ("POST", "/v1/pools/ru/pause", "", 200),
        ("POST", "/v1/pools/ru/resume", "", 200),
        ("GET", "/v1/pools/ru/map", "", 200),
        ("PATCH", "/v1/pools/ru", "{\"ttl\":70}", 200),
        ("POST", "/v1/pools/ru/rounds", "", 200),
        ("DELETE", "/v1/pools/old", "", 200),
    ] {
        let started = Instant::now();
        let answer = client.send(method, path, "application/json", body.as_bytes());
        let answer = answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        assert!(started.elapsed() < Duration::from_secs(PROMPT_SECONDS), "{method} {path}");
    }
}

#[test]
fn slow_uploads_hold_no_thread() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let daemon = start(&data);
    // Most are small, as many as there may be are in a file by now.
    let parts = [b"200\n".to_vec(), b"3000000000\n".repeat(40_000)];
    let mut slow: Vec<Client> = (0..SLOW_CLIENTS)
        .map(|index| {
            let mut client = daemon.client();
            let part = &parts[usize::from(index < AT_A_TIME)];
            let head = format!(
                "PUT /v1/pools/slow-{index} HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/plain\r\n\
                 content-length: {}\r\n\r\n",
                part.len() + 4
            );
            client.connection.get_mut().write_all(head.as_bytes()).unwrap();
            client.connection.get_mut().write_all(part).unwrap();
            client
        })
        .collect();
    std::thread::sleep(Duration::from_millis(200));
    operators_calls_are_prompt(&daemon);
    // One more that needs a file is told so at once.
    let started = Instant::now();
    let refused = daemon.client().send("PUT", "/v1/pools/more", "text/plain", &parts[1]).unwrap();
    assert_eq!(refused.problem(), (503, "overloaded".to_owned()));
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert!(started.elapsed() < Duration::from_secs(PROMPT_SECONDS));
    for client in &mut slow {
        client.connection.get_mut().write_all(b"210\n").unwrap();
        let created = read_answer(&mut client.connection, false);
        assert_eq!((created.status, created.json()["numbers"].as_u64()), (201, Some(2)), "{created:?}");
    }
    let left = std::fs::read_dir(data.join("staging")).unwrap().count();
    assert_eq!(left, 0, "staging files are left");
}

#[test]
fn uploads_that_break_off_leave_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let daemon = start(&data);
    let open_files = || std::fs::read_dir(format!("/proc/{}/fd", daemon.id())).unwrap().count();
    let before = open_files();
    let broken: Vec<Client> = (0..AT_A_TIME)
        .map(|index| {
            let mut client = daemon.client();
            let head = format!(
                "PUT /v1/pools/a{index} HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/plain\r\n\
                 content-length: 9999999\r\n\r\n"
            );
            client.connection.get_mut().write_all(head.as_bytes()).unwrap();
            client.connection.get_mut().write_all(&b"3000000000\n".repeat(100_000)).unwrap();
            client
        })
        .collect();
    let started = Instant::now();
    // A socket and a file each; the connection of the preparation may still be counted before.
    while open_files() < before + 2 * AT_A_TIME - 1 {
        assert!(
            started.elapsed() < Duration::from_secs(crate::support::PATIENCE_SECONDS),
            "they are in files"
        );
    }
    drop(broken);
    while open_files() > before {
        assert!(
            started.elapsed() < Duration::from_secs(crate::support::PATIENCE_SECONDS),
            "files are left open"
        );
    }
    assert_eq!(std::fs::read_dir(data.join("staging")).unwrap().count(), 0);
    assert_eq!(daemon.client().call("GET", "/v1/pools/a0").unwrap().status, 404);
}

#[test]
fn the_figures_of_many_pools_are_prompt() {
    const POOLS: usize = 100;
    let server = Server::start();
    let mut client = server.client();
    for index in 0..POOLS {
        let created =
            client.send("PUT", &format!("/v1/pools/p{index}"), "text/csv", b"first,last\n100,199\n");
        assert_eq!(created.unwrap().status, 201);
    }
    let pools = client.call("GET", "/v1/pools").unwrap().json();
    assert_eq!(pools["pools"].as_array().unwrap().len(), POOLS);
    let stats = client.call("GET", "/v1/stats").unwrap().json();
    assert_eq!(stats["pools"].as_object().unwrap().len(), POOLS);
    let metrics = client.call("GET", "/metrics").unwrap();
    assert_eq!(metrics.body.matches("allotd_pool_paused{").count(), POOLS);
}

#[test]
fn slow_readers_of_exports_hold_no_thread() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = start(&directory.path().join("data"));
    let created = daemon.client().send("PUT", "/v1/pools/large", "text/plain", b"79000000000-79002999999\n");
    assert_eq!(created.unwrap().status, 201);
    let before = memory_bytes(&daemon);
    let slow: Vec<Client> = (0..AT_A_TIME)
        .map(|_| {
            let mut client = slow_reader(daemon.address);
            client.connection.get_mut().write_all(EXPORT.replace("/ru/", "/large/").as_bytes()).unwrap();
            client.connection.read_exact(&mut [0; 1000]).unwrap();
            client
        })
        .collect();
    std::thread::sleep(Duration::from_millis(200));
    operators_calls_are_prompt(&daemon);
    assert!(memory_bytes(&daemon) < before + AT_A_TIME as u64 * MAX_BYTES_PER_EXPORT);
    // One more is told at once that there are too many, and made when one of them has ended.
    let mut client = daemon.client();
    let refused = client.get_as("/v1/pools/ru/numbers", "text/csv").unwrap();
    assert_eq!(refused.problem(), (503, "overloaded".to_owned()));
    assert_eq!(refused.header("retry-after"), Some("1"));
    let rest = read_slowly(slow.into_iter().next().unwrap(), Duration::ZERO, END).unwrap();
    assert!(rest.ends_with(b"79002999999,available,0,\n\r\n0\r\n\r\n"));
    let other = client.get_as("/v1/pools/ru/numbers", "text/csv").unwrap();
    assert_eq!(other.body.lines().count(), 10_001);
}

/// Reads up to `end`, with a pause after each part.
fn read_slowly(mut client: Client, pause: Duration, end: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut read = Vec::new();
    let mut part = vec![0; 1 << 16];
    while !read.ends_with(end) {
        match client.connection.read(&mut part)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            length => read.extend_from_slice(&part[..length]),
        }
        std::thread::sleep(pause);
    }
    Ok(read)
}

/// Resident memory of a daemon.
fn memory_bytes(daemon: &Daemon) -> u64 {
    daemon.client().call("GET", "/v1/stats").unwrap().json()["memory"]["resident_bytes"].as_u64().unwrap()
}

/// Limits that a test can wait for.
fn short() -> Limits {
    Limits {
        idle: Duration::from_millis(600),
        answer: Duration::from_millis(1_200),
        body_pause: Duration::from_millis(400),
        json_body: Duration::from_millis(800),
        json_bytes_per_second: 1_000,
        ..Limits::default()
    }
}

fn export_of(server: &Server, numbers: &str) -> Client {
    assert_eq!(server.send("PUT", "/v1/pools/ru", "text/plain", numbers).status, 201);
    let mut client = slow_reader(server.address);
    client.connection.get_mut().write_all(EXPORT.as_bytes()).unwrap();
    client
}

#[test]
fn an_export_that_is_read_slowly_is_not_idle() {
    let server = Server::start_with_limits(None, &[], short());
    let client = export_of(&server, "79000000000-79000999999");
    let started = Instant::now();
    let read = read_slowly(client, Duration::from_millis(5), END).unwrap();
    assert!(started.elapsed() > short().idle * 3, "not slow: {:?}", started.elapsed());
    assert!(read.windows(11).any(|digits| digits == b"79000999999"));
}

#[test]
fn a_reader_that_takes_nothing_is_cut() {
    let server = Server::start_with_limits(None, &[], short());
    let client = export_of(&server, "79000000000-79001999999");
    std::thread::sleep(short().answer * 3);
    assert!(read_slowly(client, Duration::ZERO, END).is_err());
}

#[test]
fn a_pipeline_behind_an_export_is_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = start(&directory.path().join("data"));
    let created = daemon.client().send("PUT", "/v1/pools/large", "text/plain", b"79000000000-79003999999\n");
    assert_eq!(created.unwrap().status, 201);
    let before = memory_bytes(&daemon);
    let mut client = slow_reader(daemon.address);
    let pipeline =
        format!("{}GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n", EXPORT.replace("/ru/", "/large/"));
    client.connection.get_mut().write_all(pipeline.as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(1_500));
    assert!(memory_bytes(&daemon) < before + MAX_BYTES_PER_EXPORT);
    let read = read_slowly(client, Duration::ZERO, b"{\"status\":\"alive\"}").unwrap();
    assert!(read.windows(11).any(|digits| digits == b"79003999999"));
}

#[test]
fn a_client_that_reads_no_answers_is_read_no_further() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = start(&directory.path().join("data"));
    let before = memory_bytes(&daemon);
    let mut client = slow_reader(daemon.address);
    client.connection.get_ref().set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let request = "GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(1_000);
    while client.connection.get_mut().write_all(request.as_bytes()).is_ok() {
        assert!(memory_bytes(&daemon) < before + MAX_BYTES_PER_EXPORT);
    }
    assert!(memory_bytes(&daemon) < before + MAX_BYTES_PER_EXPORT);
    operators_calls_are_prompt(&daemon);
}

/// Sends the parts of a lease with a body, with pauses; the answer.
fn slow_lease(server: &Server, parts: usize, pause: Duration) -> (crate::support::Answer, Duration) {
    let started = Instant::now();
    let mut client = server.client();
    let head = "POST /v1/pools/ru/lease HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n";
    client.connection.get_mut().write_all(head.as_bytes()).unwrap();
    for _ in 0..parts {
        // The answer may have closed the connection already.
        if client.connection.get_mut().write_all(b"a\r\n          \r\n").is_err() {
            break;
        }
        std::thread::sleep(pause);
    }
    let _ = client.connection.get_mut().write_all(b"c\r\n{\"count\": 2}\r\n0\r\n\r\n");
    (read_answer(&mut client.connection, false), started.elapsed())
}

#[test]
fn slow_bodies_are_refused() {
    let server = Server::start_with_limits(None, &[], short());
    server.send("PUT", "/v1/pools/ru", "text/csv", "first,last\n100,199\n");
    let (answer, _) = slow_lease(&server, 3, Duration::from_millis(50));
    assert_eq!(answer.status, 200, "{answer:?}");
    for (parts, pause_ms, detail) in [(1, 500, "without long pauses"), (100, 20, "too slowly")] {
        let (answer, _) = slow_lease(&server, parts, Duration::from_millis(pause_ms));
        assert_eq!(answer.problem(), (400, "bad_request".to_owned()));
        assert!(answer.body.contains(detail), "{answer:?}");
    }
}

/// A body whose parts a test sends.
struct BodyParts(mpsc::UnboundedReceiver<Bytes>);

impl Body for BodyParts {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|part| part.map(|part| Ok(Frame::data(part))))
    }
}

type Http2 = hyper::client::conn::http2::SendRequest<BodyParts>;
type Response = JoinHandle<hyper::Result<hyper::Response<hyper::body::Incoming>>>;

async fn http2(server: &Server) -> Http2 {
    let stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    sender
}

/// Begins a lease whose body is under way.
fn begin_lease(http2: &mut Http2) -> (mpsc::UnboundedSender<Bytes>, Response) {
    let (parts, receiver) = mpsc::unbounded_channel();
    let request =
        hyper::Request::post("http://localhost/v1/pools/ru/lease").body(BodyParts(receiver)).unwrap();
    for _ in 0..8 {
        parts.send(vec![b' '; 16 << 10].into()).unwrap();
    }
    (parts, tokio::spawn(http2.send_request(request)))
}

/// Whether a lease was made; if not, it must be refused as beyond a limit.
async fn is_leased(response: Response) -> bool {
    let response = response.await.unwrap().unwrap();
    if response.status() == 200 {
        return true;
    }
    assert_eq!(
        (response.status().as_u16(), &response.headers()["retry-after"]),
        (503, &"1".parse().unwrap())
    );
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(body.windows(10).any(|word| word == b"overloaded"));
    false
}

#[test]
fn bodies_over_the_common_memory_are_refused() {
    let limits = Limits { body_memory_bytes: 2 << 20, ..Limits::default() };
    let server = Server::start_with_limits(None, &[], limits);
    server.send("PUT", "/v1/pools/ru", "text/csv", "first,last\n100,199\n");
    let work = async {
        let mut http2 = http2(&server).await;
        let (open, responses): (Vec<_>, Vec<_>) = (0..40).map(|_| begin_lease(&mut http2)).unzip();
        tokio::time::sleep(Duration::from_millis(500)).await;
        // Small ones are served meanwhile, in two parts too.
        assert_eq!(server.call("POST", "/v1/pools/ru/lease").status, 200);
        assert_eq!(slow_lease(&server, 2, Duration::from_millis(20)).0.status, 200);
        // An upload needs no more memory than there is.
        let list = "300000000\n".repeat(200_000);
        assert_eq!(server.send("PUT", "/v1/pools/b", "text/plain", &list).status, 201);
        for parts in open {
            parts.send("{\"count\":1}".into()).unwrap();
        }
        let mut leased = 0;
        for response in responses {
            leased += u32::from(is_leased(response).await);
        }
        // 7/8 of 2 MiB hold 14 of 128 KiB. How many fit depends on the order in which the parts arrive.
        assert!((1..40).contains(&leased), "{leased}");
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let patience = Duration::from_secs(crate::support::PATIENCE_SECONDS);
    runtime.block_on(async { tokio::time::timeout(patience, work).await }).unwrap();
    // All of it is given back.
    let large = format!("{}{{\"count\":1}}", " ".repeat(400 << 10));
    assert_eq!(server.post("/v1/pools/ru/lease", &large).status, 200);
}
