//! Connections: pipelining, keep-alive, chunked bodies, HTTP/2, Unix sockets, the drain.

use std::io::{BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::support::daemon::Daemon;
use crate::support::{Client, PATIENCE_SECONDS, Server, read_answer};
use allotd::engine::{Engine, EngineConfig};
use allotd::http::server::listener::{BindError, Listener};

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = Server::with_pool("order=lowest", "100-199");
    let mut connection = server.connect();
    let one = "POST /v1/pools/ru/lease HTTP/1.1\r\nhost: localhost\r\n\r\nGET /nowhere HTTP/1.1\r\nhost: localhost\r\n\r\n";
    connection.get_mut().write_all(one.repeat(50).as_bytes()).unwrap();
    let mut numbers = Vec::new();
    for _ in 0..50 {
        let leased = read_answer(&mut connection, false);
        numbers.push(leased.json()["leases"][0]["number"].as_u64().unwrap());
        assert_eq!(read_answer(&mut connection, false).status, 404);
    }
    assert_eq!(numbers, (100..150).collect::<Vec<_>>());
}

#[test]
fn chunked_bodies_are_read() {
    let server = Server::with_pool("order=lowest", "100-199");
    let mut connection = server.connect();
    let head = "POST /v1/pools/ru/lease HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n";
    connection.get_mut().write_all(format!("{head}4\r\n{{\"co\r\n").as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(20));
    connection.get_mut().write_all(b"7\r\nunt\":2}\r\n0\r\n\r\n").unwrap();
    assert_eq!(read_answer(&mut connection, false).json()["leases"].as_array().unwrap().len(), 2);
    let head = "PUT /v1/pools/b HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n";
    connection.get_mut().write_all(format!("{head}1\r\n7\r\n2\r\n8\n\r\n0\r\n\r\n").as_bytes()).unwrap();
    assert_eq!(read_answer(&mut connection, false).json()["numbers"], 1);
}

#[test]
fn an_upload_that_breaks_off_creates_nothing() {
    let server = Server::start();
    let mut connection = server.connect();
    let head = "PUT /v1/pools/a HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/plain\r\ncontent-length: 100\r\n\r\n123\n";
    connection.get_mut().write_all(head.as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    drop(connection);
    for _ in 0..20 {
        std::thread::sleep(Duration::from_millis(10));
        assert_eq!(server.call("GET", "/v1/pools").body, "{\"pools\":[]}");
    }
}

#[test]
fn http_2_with_prior_knowledge() {
    assert_eq!(Server::with_pool("", "100-199").http2_lease("localhost"), 200);
}

#[test]
fn a_unix_socket_serves_too_and_is_gone_afterwards() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let server = Server::start_with(Some(&path), &[]);
    let stream = UnixStream::connect(&path).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(PATIENCE_SECONDS))).unwrap();
    let mut connection = BufReader::new(stream);
    connection.get_mut().write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    assert_eq!(read_answer(&mut connection, false).body, "{\"status\":\"alive\"}");
    drop(server);
    assert!(!path.exists());
    assert_eq!(connection.read(&mut [0]).unwrap(), 0, "the drain closes idle connections");
}

#[test]
fn not_ready_while_draining_and_what_is_under_way_is_finished() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start_with(&directory.path().join("data"), &["--workers", "2"]);
    // An upload keeps the drain going; half a head was sent before the drain began.
    let mut upload = daemon.client();
    let head = "PUT /v1/pools/a HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/plain\r\ncontent-length: 8\r\n\r\n123\n";
    upload.connection.get_mut().write_all(head.as_bytes()).unwrap();
    let mut probe = daemon.client();
    probe.connection.get_mut().write_all(b"GET /readyz HTTP/1.1\r\n").unwrap();
    // One per worker: when these are answered, what was sent before them has been read too.
    let mut before = [daemon.client(), daemon.client()];
    for client in &mut before {
        assert_eq!(client.call("GET", "/readyz").unwrap().status, 200);
    }
    daemon.terminate();
    for client in &mut before {
        assert_eq!(client.connection.read(&mut [0]).unwrap(), 0, "the drain has begun");
    }
    probe.connection.get_mut().write_all(b"host: localhost\r\n\r\n").unwrap();
    let answer = read_answer(&mut probe.connection, false);
    assert_eq!(answer.problem(), (503, "not_ready".to_owned()));
    assert_eq!((answer.header("retry-after"), answer.header("connection")), (Some("1"), Some("close")));
    // The socket is closed by a thread of its own.
    let started = Instant::now();
    while Client::connect(daemon.address).is_ok() {
        assert!(started.elapsed() < Duration::from_secs(PATIENCE_SECONDS), "nobody new is let in");
    }
    upload.connection.get_mut().write_all(b"124\n").unwrap();
    let created = read_answer(&mut upload.connection, false);
    assert_eq!((created.status, created.json()["numbers"].as_u64()), (201, Some(2)));
    assert_eq!(daemon.wait(), Some(0));
    let daemon = Daemon::start(&directory.path().join("data"));
    assert_eq!(daemon.client().call("GET", "/v1/pools/a").unwrap().json()["numbers"], 2);
}

#[test]
fn a_connection_over_the_limit_is_told_so_and_closed() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start_with(&directory.path().join("data"), &["--max-connections", "2"]);
    let mut served = [daemon.client(), daemon.client()];
    for client in &mut served {
        assert_eq!(client.call("GET", "/v1/pools").unwrap().status, 200);
    }
    for _ in 0..200 {
        let mut refused = daemon.client();
        let answer = refused.call("GET", "/v1/pools").unwrap();
        assert_eq!(answer.problem(), (503, "overloaded".to_owned()));
        assert_eq!((answer.header("retry-after"), answer.header("connection")), (Some("1"), Some("close")));
        assert_eq!(refused.connection.read(&mut [0]).unwrap(), 0, "it is closed");
    }
    // Those that say nothing are kept waiting only up to a limit, and do not disturb those that are served.
    let silent: Vec<_> = (0..200).map(|_| daemon.client()).collect();
    let [mut first, second] = served;
    assert_eq!(first.call("GET", "/v1/pools").unwrap().status, 200);
    drop((second, silent));
    let started = Instant::now();
    while daemon.client().call("GET", "/v1/pools").map_or(0, |answer| answer.status) != 200 {
        assert!(started.elapsed() < Duration::from_secs(PATIENCE_SECONDS), "its place was never given again");
    }
}

#[test]
fn an_address_and_a_directory_have_one_server() {
    let server = Server::start();
    let address = server.address.to_string().parse().unwrap();
    assert!(matches!(Listener::bind(&address), Err(BindError::InUse(_))));
    let config = EngineConfig::new(server.data.path().join("data"), 1);
    assert!(Engine::open(&config).is_err());
}
