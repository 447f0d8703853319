//! Listens on TCP and Unix sockets.

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use thiserror::Error;

use crate::auth::peers::{PeerRuleError, Peers};
use crate::http::address::ListenAddress;
use crate::http::listen::{DEFAULT_SOCKET_MODE, ListenerConfig};
use crate::sys::users;

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
    /// There is no such group.
    #[error("there is no group \"{0}\": create it, or give another with group= of --listen")]
    NoGroup(String),
    /// The groups cannot be read.
    #[error("the group \"{name}\" cannot be looked up: {error}. Give its number with group= of --listen")]
    Group {
        /// The name.
        name: String,
        /// The system's error.
        error: io::Error,
    },
    /// A user or a group that is to have a role is unknown.
    #[error("--listen {address}: {error}")]
    Peers {
        /// The address.
        address: ListenAddress,
        /// Why.
        error: PeerRuleError,
    },
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
pub struct Listener {
    socket: Socket,
    config: ListenerConfig,
    peers: Peers,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Another handle of a listening socket.
#[derive(Debug)]
pub(crate) enum Duplicate {
    Tcp(TcpListener),
    Unix(UnixListener),
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
    pub fn bind(config: &ListenerConfig) -> Result<Self, BindError> {
        let address = &config.address;
        let refused = |error: io::Error| match error.kind() {
            io::ErrorKind::AddrInUse => BindError::InUse(address.clone()),
            _ => BindError::Io { address: address.clone(), error },
        };
        let peers =
            Peers::of(&config.peers).map_err(|error| BindError::Peers { address: address.clone(), error })?;
        let socket = match address {
            ListenAddress::Tcp(tcp) => bind_tcp(*tcp).map(Socket::Tcp).map_err(refused)?,
            ListenAddress::Unix(path) => {
                let group = config.group.as_deref().map(group_id).transpose()?;
                remove_unused(path, address)?;
                let mode = config.mode.unwrap_or(DEFAULT_SOCKET_MODE);
                bind_unix(path, mode, group).map(Socket::Unix).map_err(refused)?
            }
        };
        Ok(Self { socket, config: config.clone(), peers })
    }

    /// Who may call over its socket file.
    pub(crate) fn peers(&self) -> &Peers {
        &self.peers
    }

    /// Its settings.
    pub fn config(&self) -> &ListenerConfig {
        &self.config
    }

    /// The address, with the port that the system picked for port 0.
    pub fn address(&self) -> io::Result<ListenAddress> {
        match &self.socket {
            Socket::Tcp(socket) => socket.local_addr().map(ListenAddress::Tcp),
            Socket::Unix(_) => Ok(self.config.address.clone()),
        }
    }

    /// Waits for the next connection: its socket, and the address it comes from if it has one.
    pub fn accept(&self) -> io::Result<(Stream, Option<IpAddr>)> {
        match &self.socket {
            Socket::Tcp(socket) => {
                let (stream, from) = socket.accept()?;
                stream.set_nodelay(true)?;
                Ok((Stream::Tcp(stream), Some(from.ip())))
            }
            Socket::Unix(socket) => socket.accept().map(|(stream, _)| (Stream::Unix(stream), None)),
        }
    }

    /// Another handle of the socket, which does not wait.
    pub(crate) fn duplicate(&self) -> io::Result<Duplicate> {
        Ok(match &self.socket {
            Socket::Tcp(socket) => {
                socket.set_nonblocking(true)?;
                Duplicate::Tcp(socket.try_clone()?)
            }
            Socket::Unix(socket) => {
                socket.set_nonblocking(true)?;
                Duplicate::Unix(socket.try_clone()?)
            }
        })
    }

    /// Has [`Self::accept`] wait again, after [`Self::duplicate`].
    pub(crate) fn block(&self) -> io::Result<()> {
        match &self.socket {
            Socket::Tcp(socket) => socket.set_nonblocking(false),
            Socket::Unix(socket) => socket.set_nonblocking(false),
        }
    }

    /// What makes the thread that waits in [`Self::accept`] return.
    pub(crate) fn waker(&self) -> io::Result<Waker> {
        let socket = match &self.socket {
            Socket::Tcp(socket) => socket.as_fd(),
            Socket::Unix(socket) => socket.as_fd(),
        };
        Ok(Waker(socket.try_clone_to_owned()?))
    }
}

/// Ends the wait for connections of one listener.
#[derive(Debug)]
pub(crate) struct Waker(OwnedFd);

impl Waker {
    /// From now on the listener's socket accepts nothing. Nobody has to be able to connect to it for that.
    pub(crate) fn wake(&self) {
        // An error would say that the socket does not listen, and so nobody waits.
        let _ = rustix::net::shutdown(&self.0, rustix::net::Shutdown::Both);
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let ListenAddress::Unix(path) = &self.config.address {
            // If this fails, the next start finds that nobody listens on the file and replaces it.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Removes a socket file that nobody listens on.
fn remove_unused(path: &Path, address: &ListenAddress) -> Result<(), BindError> {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        return Err(BindError::NotASocket(path.to_owned()));
    }
    if UnixStream::connect(path).is_ok() {
        return Err(BindError::InUse(address.clone()));
    }
    fs::remove_file(path).map_err(|error| BindError::Io { address: address.clone(), error })
}

/// Nobody can connect before the file has its group and mode: the socket does not listen until then.
fn bind_unix(path: &Path, mode: u32, group: Option<u32>) -> io::Result<UnixListener> {
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
    socket.bind(&socket2::SockAddr::unix(path)?)?;
    let listening = (|| {
        if group.is_some() {
            std::os::unix::fs::lchown(path, None, group)?;
        }
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        socket.listen(BACKLOG)
    })();
    if listening.is_err() {
        // What was made is removed; the error that is reported is the first.
        let _ = fs::remove_file(path);
    }
    listening.map(|()| UnixListener::from(OwnedFd::from(socket)))
}

fn group_id(name: &str) -> Result<u32, BindError> {
    match name.parse().map_or_else(|_| users::group_id(name), |id| Ok(Some(id))) {
        Ok(Some(id)) => Ok(id),
        Ok(None) => Err(BindError::NoGroup(name.to_owned())),
        Err(error) => Err(BindError::Group { name: name.to_owned(), error }),
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
        let address = ListenAddress::Unix(path.clone()).into();
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
