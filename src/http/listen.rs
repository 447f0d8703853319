//! A listener's settings: its address, whether it speaks TLS, which calls it serves, who may use its socket
//! file.
//!
//! As text they are an address and its options, between commas: `0.0.0.0:7979,tls,calls=lease`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use thiserror::Error;

use crate::auth::peers::{PeerRule, PeerRuleError};

use super::address::{AddressError, ListenAddress};
use super::counters::requests::Call;

/// The mode of a socket file by default: its owner alone may connect.
pub const DEFAULT_SOCKET_MODE: u32 = 0o600;
/// The bits that a socket file's mode may have.
const MODE_BITS: u32 = 0o777;

/// Which calls a listener serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Calls {
    /// All.
    #[default]
    All,
    /// Those of a service that leases numbers: lease, renew, return, a pool's figures, health.
    Lease,
}

/// The settings of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerConfig {
    /// Where it listens.
    pub address: ListenAddress,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// Which calls it serves.
    pub calls: Calls,
    /// The mode of its socket file; `None` for [`DEFAULT_SOCKET_MODE`].
    pub mode: Option<u32>,
    /// The group of its socket file, a name or an id; `None` for that of the process.
    pub group: Option<String>,
    /// Who may call over its socket file, and as what; empty for whoever may connect.
    pub peers: Vec<PeerRule>,
}

/// Text that is not a listener.
#[derive(Debug, Error)]
pub enum ListenError {
    /// An invalid address.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// An option without an address.
    #[error(
        "--listen begins with \"{0}\": give the address first, then its options, such as 127.0.0.1:7979,tls"
    )]
    NoAddress(String),
    /// An option that there is not.
    #[error(
        "--listen has the option \"{0}\": give tls, calls=lease, and for a socket file mode=660, group=NAME, \
         peer=user:NAME:ROLE"
    )]
    Option(String),
    /// Calls that there are not.
    #[error("--listen has calls=\"{0}\": give all or lease")]
    Calls(String),
    /// A mode that is none.
    #[error(
        "--listen has mode=\"{0}\": give the mode of the socket file in octal digits, such as 660, with 6 for its owner"
    )]
    Mode(String),
    /// An invalid peer.
    #[error("--listen: {0}")]
    Peer(#[from] PeerRuleError),
    /// An option of another kind of address.
    #[error("--listen {address} has the option {option}, which is for {kind}: leave it out")]
    OtherKind {
        /// The address.
        address: ListenAddress,
        /// The option.
        option: &'static str,
        /// What it is for.
        kind: &'static str,
    },
}

impl FromStr for Calls {
    type Err = ListenError;

    fn from_str(text: &str) -> Result<Self, ListenError> {
        match text {
            "all" => Ok(Self::All),
            "lease" => Ok(Self::Lease),
            other => Err(ListenError::Calls(other.to_owned())),
        }
    }
}

impl Calls {
    /// Whether this call is one of them.
    pub(crate) fn has(self, call: Call) -> bool {
        match self {
            Self::All => true,
            Self::Lease => {
                matches!(
                    call,
                    Call::Lease
                        | Call::LeaseSeveral
                        | Call::Renew
                        | Call::Return
                        | Call::ShowPool
                        | Call::Health
                )
            }
        }
    }
}

impl From<ListenAddress> for ListenerConfig {
    fn from(address: ListenAddress) -> Self {
        Self { address, tls: false, calls: Calls::All, mode: None, group: None, peers: Vec::new() }
    }
}

impl FromStr for ListenerConfig {
    type Err = AddressError;

    /// An address without options.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        ListenAddress::from_str(text).map(Self::from)
    }
}

/// Reads the mode of a socket file.
pub fn parse_mode(text: &str) -> Result<u32, ListenError> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| mode & !MODE_BITS == 0);
    let mode = mode.filter(|mode| mode & DEFAULT_SOCKET_MODE == DEFAULT_SOCKET_MODE);
    mode.ok_or_else(|| ListenError::Mode(text.to_owned()))
}

/// Reads listeners from text: addresses, each followed by its options, all between commas.
pub fn parse_list(text: &str) -> Result<Vec<ListenerConfig>, ListenError> {
    let mut listeners: Vec<ListenerConfig> = Vec::new();
    for part in text.split(',') {
        let is_path = part.starts_with("unix:");
        match part.split_once('=').filter(|_| !is_path).or((part == "tls").then_some((part, ""))) {
            None => listeners.push(ListenAddress::from_str(part)?.into()),
            Some((option, value)) => {
                let listener = listeners.last_mut().ok_or_else(|| ListenError::NoAddress(part.to_owned()))?;
                listener.set(option, value)?;
            }
        }
    }
    listeners.into_iter().map(ListenerConfig::checked).collect()
}

impl ListenerConfig {
    fn set(&mut self, option: &str, value: &str) -> Result<(), ListenError> {
        match option {
            "tls" if value.is_empty() => self.tls = true,
            "calls" => self.calls = value.parse()?,
            "mode" => self.mode = Some(parse_mode(value)?),
            "group" => self.group = Some(value.to_owned()),
            "peer" => self.peers.push(value.parse()?),
            other => return Err(ListenError::Option(other.to_owned())),
        }
        Ok(())
    }

    /// These settings, if they are for this kind of address.
    pub fn checked(self) -> Result<Self, ListenError> {
        let is_path = matches!(self.address, ListenAddress::Unix(_));
        let options = [
            ("tls", self.tls, false),
            ("mode", self.mode.is_some(), true),
            ("group", self.group.is_some(), true),
            ("peer", !self.peers.is_empty(), true),
        ];
        match options.into_iter().find(|(_, given, for_path)| *given && *for_path != is_path) {
            None => Ok(self),
            Some((option, _, for_path)) => {
                let kind = if for_path { "socket files" } else { "TCP" };
                Err(ListenError::OtherKind { address: self.address, option, kind })
            }
        }
    }

    /// The path of its socket file.
    pub fn path(&self) -> Option<&PathBuf> {
        match &self.address {
            ListenAddress::Unix(path) => Some(path),
            ListenAddress::Tcp(_) => None,
        }
    }
}

impl fmt::Display for ListenerConfig {
    /// The address, and what is unlike the default.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)?;
        if self.tls {
            f.write_str(",tls")?;
        }
        if self.calls == Calls::Lease {
            f.write_str(",calls=lease")?;
        }
        if let Some(mode) = self.mode {
            write!(f, ",mode={mode:o}")?;
        }
        self.group.iter().try_for_each(|group| write!(f, ",group={group}"))?;
        self.peers.iter().try_for_each(|peer| write!(f, ",peer={peer}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<String> {
        parse_list(text).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_list_is_addresses_with_their_options() {
        assert_eq!(shown("127.0.0.1:1,unix:/a=b"), ["127.0.0.1:1", "unix:/a=b"]);
        assert_eq!(
            shown("0.0.0.0:1,tls,calls=lease,unix:/s,mode=660,group=ops,peer=user:a:admin,[::1]:2,calls=all"),
            ["0.0.0.0:1,tls,calls=lease", "unix:/s,mode=660,group=ops,peer=user:a:admin", "[::1]:2"]
        );
    }

    #[test]
    fn what_is_no_listener_is_refused() {
        for (text, expected) in [
            ("tls", "give the address first"),
            ("mode=660,unix:/s", "give the address first"),
            ("127.0.0.1:1,colour=red", "the option \"colour\""),
            ("127.0.0.1:1,tls=yes", "the option \"tls\""),
            ("127.0.0.1:1,calls=some", "give all or lease"),
            ("127.0.0.1:1,mode=660", "for socket files"),
            ("unix:/s,tls", "for TCP"),
            ("unix:/s,mode=rw", "in octal"),
            ("unix:/s,peer=alice", "is not a peer"),
            ("unix:/s,peer=user:alice:king", "no role \"king\""),
            ("127.0.0.1:1,peer=user:a:admin", "for socket files"),
            ("unix:/s,mode=4660", "in octal"),
            ("unix:/s,mode=060", "with 6 for its owner"),
            ("127.0.0.1:1,", "\"\" is not an address"),
            ("here", "is not an address"),
        ] {
            let message = parse_list(text).unwrap_err().to_string();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }
}
