//! Listens on TCP and Unix sockets.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use crate::http::address::ListenAddress;

/// Most connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// After this time without a byte, a TCP peer is asked whether it is still there,
pub const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
/// again after this time,
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// and given up after this many questions.
pub const KEEPALIVE_PROBES: u32 = 3;
/// How long what was sent to a TCP peer may stay unconfirmed.
pub const UNCONFIRMED_TIMEOUT: Duration = Duration::from_secs(30);

/// Why the daemon cannot listen on an address.
#[derive(Debug, Error)]
pub enum BindError {
    /// Another process listens there.
    #[error("{0} is in use by another process: stop that one, or choose another address with --listen")]
    InUse(ListenAddress),
    /// The path is a file that is not a socket.
    #[error("{} exists and is not a socket: choose another path for --listen unix:PATH", .0.display())]
    NotASocket(PathBuf),
    /// The system refuses.
    #[error("cannot listen on {address}: {error}. Choose another address with --listen")]
    Io {
        /// The address.
        address: ListenAddress,
        /// The system's error.
        error: io::Error,
    },
}

/// A bound socket. Dropping it removes its socket file.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A socket file.
    Unix(UnixListener, PathBuf),
}

/// An accepted connection.
#[derive(Debug)]
pub enum Stream {
    /// TCP.
    Tcp(TcpStream),
    /// Over a socket file.
    Unix(UnixStream),
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

impl Listener {
    /// Binds an address. A socket file that nobody listens on is replaced.
    pub fn bind(address: &ListenAddress) -> Result<Self, BindError> {
        let refused = |error: io::Error| match error.kind() {
            io::ErrorKind::AddrInUse => BindError::InUse(address.clone()),
            _ => BindError::Io { address: address.clone(), error },
        };
        match address {
            ListenAddress::Tcp(tcp) => bind_tcp(*tcp).map(Self::Tcp).map_err(refused),
            ListenAddress::Unix(path) => {
                if let Ok(metadata) = std::fs::symlink_metadata(path) {
                    if !metadata.file_type().is_socket() {
                        return Err(BindError::NotASocket(path.clone()));
                    }
                    if UnixStream::connect(path).is_ok() {
                        return Err(BindError::InUse(address.clone()));
                    }
                    std::fs::remove_file(path).map_err(refused)?;
                }
                UnixListener::bind(path).map(|socket| Self::Unix(socket, path.clone())).map_err(refused)
            }
        }
    }

    /// The address, with the port that the system picked for port 0.
    pub fn address(&self) -> io::Result<ListenAddress> {
        match self {
            Self::Tcp(socket) => socket.local_addr().map(ListenAddress::Tcp),
            Self::Unix(_, path) => Ok(ListenAddress::Unix(path.clone())),
        }
    }

    /// Waits for the next connection: its socket, and the address it comes from if it has one.
    pub fn accept(&self) -> io::Result<(Stream, Option<IpAddr>)> {
        match self {
            Self::Tcp(socket) => {
                let (stream, from) = socket.accept()?;
                stream.set_nodelay(true)?;
                Ok((Stream::Tcp(stream), Some(from.ip())))
            }
            Self::Unix(socket, _) => socket.accept().map(|(stream, _)| (Stream::Unix(stream), None)),
        }
    }

    /// Makes the thread that waits in [`Self::accept`] return once, by connecting to it.
    pub(crate) fn wake(address: &ListenAddress) {
        // If the connection fails, no thread is waiting.
        match address {
            ListenAddress::Tcp(address) => {
                let mut address = *address;
                if address.ip().is_unspecified() {
                    address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
                }
                drop(TcpStream::connect_timeout(&address, Duration::from_secs(1)));
            }
            ListenAddress::Unix(path) => drop(UnixStream::connect(path)),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
            // If this fails, the next start finds that nobody listens on the file and replaces it.
            let _ = std::fs::remove_file(path);
        }
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    // A restart must not wait until the connections of the previous process time out.
    socket.set_reuse_address(true)?;
    // Connections inherit these: a peer that is gone without a word is noticed though nothing is sent,
    let keepalive = socket2::TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_PROBES);
    socket.set_tcp_keepalive(&keepalive)?;
    // and one that confirms nothing of what is sent.
    socket.set_tcp_user_timeout(Some(UNCONFIRMED_TIMEOUT))?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_addresses() {
        for (text, shown, local) in [
            ("127.0.0.1:7979", "127.0.0.1:7979", true),
            ("localhost:0", "127.0.0.1:0", true),
            ("[::1]:80", "[::1]:80", true),
            ("0.0.0.0:80", "0.0.0.0:80", false),
            ("unix:/run/a.sock", "unix:/run/a.sock", true),
        ] {
            let address: ListenAddress = text.parse().unwrap();
            assert_eq!((address.to_string().as_str(), address.is_local()), (shown, local));
        }
        for bad in ["", "7979", "unix:", "example.org:80", "1.2.3.4", "1.2.3.4:65536"] {
            assert!(bad.parse::<ListenAddress>().is_err(), "{bad}");
        }
    }

    #[test]
    fn connections_inherit_what_finds_dead_peers() {
        let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap()).unwrap();
        let ListenAddress::Tcp(address) = listener.address().unwrap() else { panic!("TCP") };
        let _client = TcpStream::connect(address).unwrap();
        let (Stream::Tcp(stream), Some(_)) = listener.accept().unwrap() else { panic!("TCP") };
        let socket = socket2::SockRef::from(&stream);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE_IDLE);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(UNCONFIRMED_TIMEOUT));
    }

    #[test]
    fn a_socket_file_is_replaced_only_when_nobody_listens() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("allotd.sock");
        let address = ListenAddress::Unix(path.clone());
        let listener = Listener::bind(&address).unwrap();
        assert!(matches!(Listener::bind(&address), Err(BindError::InUse(_))));
        drop(listener);
        assert!(!path.exists());
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        drop(Listener::bind(&address).unwrap());
        std::fs::write(&path, "text").unwrap();
        assert!(matches!(Listener::bind(&address), Err(BindError::NotASocket(_))));
    }
}
