//! Nobody takes all connections: shares by address, places for Unix sockets and health probes. On the real
//! daemon.

use std::io::{BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::daemon::{Daemon, allotd};
use crate::support::{Answer, Client, PATIENCE_SECONDS, read_answer};

/// A refused connection is closed after two seconds.
const REFUSED: Duration = Duration::from_secs(2);

fn start(directory: &Path, flags: &[&str]) -> Daemon {
    let mut command = allotd();
    command.args(["serve", "--listen", "127.0.0.1:0", "--listen"]);
    command.arg(format!("unix:{}", directory.join("s").display()));
    command.args(["--workers", "2", "--data"]).arg(directory.join("data")).args(flags);
    Daemon::spawn(command).unwrap()
}

/// A connection from another address of this machine.
fn from(address: Ipv4Addr, to: SocketAddr) -> Client {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((address, 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(PATIENCE_SECONDS))).unwrap();
    Client { connection: BufReader::new(stream) }
}

fn over_unix(directory: &Path, path: &str) -> Answer {
    let stream = UnixStream::connect(directory.join("s")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(PATIENCE_SECONDS))).unwrap();
    let mut connection = BufReader::new(stream);
    write!(connection.get_mut(), "GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    read_answer(&mut connection, false)
}

#[test]
fn silent_connections_lock_out_neither_the_unix_socket_nor_probes() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = start(directory.path(), &["--max-connections", "80", "--max-connections-per-address", "80"]);
    let addresses = [Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3)];
    let silent: Vec<_> = (0..200).map(|at| from(addresses[at % 2], daemon.address)).collect();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(over_unix(directory.path(), "/v1/pools").status, 200);
    // A probe that comes over TCP is answered and closed; anything else is told that there are too many.
    let mut probe = daemon.client();
    let answer = probe.call("GET", "/healthz").unwrap();
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")), "{answer:?}");
    assert_eq!(probe.connection.read(&mut [0]).unwrap(), 0);
    let refused = daemon.client().call("GET", "/v1/pools").unwrap();
    assert_eq!(refused.problem(), (503, "overloaded".to_owned()));
    drop(silent);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn an_address_has_its_share() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = start(directory.path(), &["--max-connections-per-address", "10"]);
    let other = Ipv4Addr::new(127, 0, 0, 2);
    let mut served: Vec<_> = (0..10).map(|_| from(other, daemon.address)).collect();
    for client in &mut served {
        assert_eq!(client.call("GET", "/v1/pools").unwrap().status, 200);
    }
    let refused = from(other, daemon.address).call("GET", "/v1/pools").unwrap();
    assert_eq!(refused.problem(), (503, "overloaded".to_owned()));
    assert_eq!(daemon.client().call("GET", "/v1/pools").unwrap().status, 200, "another address has its own");
    served.pop();
    let started = Instant::now();
    while from(other, daemon.address).call("GET", "/v1/pools").map_or(0, |answer| answer.status) != 200 {
        assert!(started.elapsed() < Duration::from_secs(PATIENCE_SECONDS), "its place was never given again");
    }
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn who_is_refused_and_says_nothing_is_closed_within_two_seconds() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = start(directory.path(), &["--max-connections-per-address", "1"]);
    let mut held = daemon.client();
    assert_eq!(held.call("GET", "/v1/pools").unwrap().status, 200);
    let mut refused = daemon.client();
    let started = Instant::now();
    let read = refused.connection.read(&mut [0]);
    assert!(matches!(read, Ok(0)) || read.is_err(), "{read:?}");
    let took = started.elapsed();
    assert!((REFUSED / 2..REFUSED + Duration::from_secs(1)).contains(&took), "{took:?}");
    drop(held);
}

#[test]
fn the_kernel_asks_silent_peers_whether_they_are_there() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = start(directory.path(), &[]);
    let mut client = daemon.client();
    assert_eq!(client.call("GET", "/healthz").unwrap().status, 200);
    let port = format!(":{:04X} ", daemon.address.port());
    let table = std::fs::read_to_string(format!("/proc/{}/net/tcp", daemon.id())).unwrap();
    // Established (01), and a timer of kind 2: keep-alive.
    let line = table.lines().find(|line| {
        let local = line.split_whitespace().nth(1).unwrap_or_default();
        format!("{local} ").ends_with(&port) && line.split_whitespace().nth(3) == Some("01")
    });
    let timer = line.unwrap().split_whitespace().nth(5).unwrap();
    assert!(timer.starts_with("02:"), "{timer} in {line:?}");
}
