//! The other end of a connection, for the log.

use std::fmt;
use std::net::SocketAddr;

/// Who is at the other end of a connection, as far as the system tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Peer {
    /// An address.
    Address(SocketAddr),
    /// A user of this machine, over a Unix socket.
    User(u32),
    /// The system does not tell.
    #[default]
    Unknown,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::User(uid) => write!(f, "uid {uid}"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}
