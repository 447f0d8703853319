//! No lease without its answer: whatever else a client sends behind a request, the answer to what was executed
//! leaves. On the real daemon.

use std::io::{Read, Write};
use std::net::Shutdown;

use crate::support::daemon::Daemon;
use crate::support::{Client, read_answer, try_read_answer};

const LEASE: &str = "POST /v1/pools/ru/lease HTTP/1.1\r\nhost: localhost\r\n\r\n";

fn start(directory: &tempfile::TempDir) -> Daemon {
    let daemon = Daemon::start_with(&directory.path().join("data"), &["--workers", "1"]);
    let created =
        daemon.client().send("PUT", "/v1/pools/ru?order=lowest", "text/csv", b"first,last\n100,199999\n");
    assert_eq!(created.unwrap().status, 201);
    daemon
}

fn leased(daemon: &Daemon) -> u64 {
    daemon.client().call("GET", "/v1/pools/ru").unwrap().json()["leased"].as_u64().unwrap()
}

/// Sends bytes, ends the sending side if `ends`, and counts the leases that are answered.
fn answered(mut client: Client, bytes: &[u8], expected: usize, ends: bool) -> Client {
    client.connection.get_mut().write_all(bytes).unwrap();
    if ends {
        client.connection.get_ref().shutdown(Shutdown::Write).unwrap();
    }
    for at in 0..expected {
        let answer = try_read_answer(&mut client.connection, false);
        let behind = String::from_utf8_lossy(bytes).replace(LEASE, "");
        let answer = answer.unwrap_or_else(|error| panic!("{at} of {expected}, {ends}: {behind:?}: {error}"));
        assert_eq!(answer.status, 200, "answer {at} of {expected}: {answer:?}");
    }
    client
}

#[test]
fn the_answer_to_an_executed_lease_leaves_whatever_stands_behind_it() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = start(&directory);
    let mut before = 0;
    for (behind, ends) in [
        ("", false),
        ("\r\n", false),
        ("\n", false),
        ("\r\n\r\n\r\n", false),
        ("POST /v1/pools/ru/lease HT", false),
        ("POST /v1/pools/ru/lease HTTP/1.1\r\nhost: loc", false),
        ("POST /v1/pools/ru/lease HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n{\"count\"", false),
        ("\0\0\0", false),
        ("nonsense without end", false),
        ("POST / HTTP/9.9\r\n\r\n and more bytes behind it", false),
        ("GET /\x01 HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n", false),
        ("POST / HTTP/1.1\r\nhost localhost\r\n\r\n", false),
        ("POST / HTTP/1.1\r\ncontent-length: x\r\n\r\n", false),
        ("POST / HTTP/1.1\r\ntransfer-encoding: identity\r\n\r\n", false),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", false),
        ("", true),
        ("\r\n", true),
        ("\r\n\r\n", true),
        ("POST /v1/pools/ru/lease HT", true),
        ("\0\0\0", true),
    ] {
        for count in [1, 3] {
            let bytes = format!("{}{behind}", LEASE.repeat(count));
            drop(answered(daemon.client(), bytes.as_bytes(), count, ends));
            before += count as u64;
            assert_eq!(leased(&daemon), before, "{behind:?} {ends}");
        }
    }
}

#[test]
fn a_client_that_has_sent_all_is_answered_and_closed() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = start(&directory);
    // More than one connection holds back, so that it is written while the client has long ended.
    let count = 5_000;
    let mut client = answered(daemon.client(), LEASE.repeat(count).as_bytes(), count, true);
    assert_eq!(client.connection.read(&mut [0]).unwrap(), 0, "the daemon closes after the last answer");
    assert_eq!(leased(&daemon), count as u64);
    // A call that leaves the worker, and a body that is complete when its sender ends.
    let body = "{\"count\":2}";
    let bytes = format!(
        "POST /v1/pools/ru/lease HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}\
         POST /v1/pools/ru/pause HTTP/1.1\r\nhost: localhost\r\n\r\n",
        body.len()
    );
    let mut client = answered(daemon.client(), bytes.as_bytes(), 2, true);
    assert_eq!(client.connection.read(&mut [0]).unwrap(), 0);
}

#[test]
fn an_export_to_a_client_that_has_sent_all_is_whole() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = start(&directory);
    let mut client = daemon.client();
    client
        .connection
        .get_mut()
        .write_all(b"GET /v1/pools/ru/numbers HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .unwrap();
    client.connection.get_ref().shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_answer(&mut client.connection, false).body.lines().count(), 199_900);
}

#[test]
fn a_slow_reader_gets_every_answer_before_what_is_no_request() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = start(&directory);
    for nonsense in ["\0\0\0", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "POST /half"] {
        let before = leased(&daemon);
        let mut client = crate::support::slow_reader(daemon.address);
        // It is read as far as the answers go; all that is executed by then is answered.
        let bytes = format!("{}{nonsense}", LEASE.repeat(2_000));
        client.connection.get_mut().write_all(bytes.as_bytes()).unwrap();
        client.connection.get_ref().shutdown(Shutdown::Write).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(300));
        let mut answered = 0;
        while let Ok(answer) = try_read_answer(&mut client.connection, false) {
            answered += u64::from(answer.status == 200);
        }
        assert_eq!((answered, leased(&daemon) - before), (2_000, 2_000), "{nonsense:?}");
    }
}
