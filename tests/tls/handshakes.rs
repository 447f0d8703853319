//! Handshakes that one address begins and does not end take no place from others.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use allotd::http::server::tls::HANDSHAKE_SECONDS;
use allotd::http::server::tls::handshakes::{HANDSHAKE_ADDRESS_SHARE, MAX_HANDSHAKES};
use rustls::ClientConnection;

use crate::daemon::TlsDaemon;
use crate::no_flags;

/// Long enough for a handshake that waits for nothing, and shorter than the time of one.
const AT_ONCE: Duration = Duration::from_secs(HANDSHAKE_SECONDS / 2);

/// A connection from an address of this machine.
fn from(address: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((address, 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    socket.into()
}

/// Whether a handshake on this connection ends within the time.
fn is_served(daemon: &TlsDaemon, mut tcp: TcpStream, patience: Duration) -> bool {
    tcp.set_read_timeout(Some(patience)).unwrap();
    let config = daemon.authority.client_config(&["http/1.1"]);
    let mut tls = ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
    let started = Instant::now();
    while tls.is_handshaking() && started.elapsed() < patience {
        if tls.complete_io(&mut tcp).is_err() {
            return false;
        }
    }
    !tls.is_handshaking()
}

#[test]
fn an_address_with_many_handshakes_keeps_only_itself_waiting() {
    let daemon = TlsDaemon::start(no_flags);
    let (to, one, other) = (daemon.logged.daemon.address, Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2));
    // Those that have sent nothing are none.
    let silent: Vec<_> = (0..MAX_HANDSHAKES / HANDSHAKE_ADDRESS_SHARE).map(|_| from(one, to)).collect();
    assert!(is_served(&daemon, from(one, to), AT_ONCE));
    let begun: Vec<_> = (0..MAX_HANDSHAKES / HANDSHAKE_ADDRESS_SHARE)
        .map(|_| {
            let mut tcp = from(one, to);
            // How a handshake begins.
            tcp.write_all(&[0x16, 3, 1]).unwrap();
            tcp
        })
        .collect();
    // Once the daemon has seen them, this one waits.
    let started = Instant::now();
    while is_served(&daemon, from(one, to), Duration::from_millis(500)) {
        assert!(started.elapsed() < AT_ONCE, "more handshakes of one address than its share");
    }
    assert!(is_served(&daemon, from(other, to), AT_ONCE));
    drop(begun);
    assert!(is_served(&daemon, from(one, to), AT_ONCE), "their places are free again");
    drop(silent);
}
