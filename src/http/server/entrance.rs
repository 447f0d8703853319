//! What a connection has from its listener, and who is at its other end.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::net::sockopt::socket_peercred;
use thiserror::Error;

use crate::auth::peer::Peer;
use crate::auth::peers::{PeerProcess, Peers};
use crate::auth::registry::Registry;
use crate::http::address::ListenAddress;
use crate::http::caller::{Caller, Known};
use crate::http::listen::{Calls, ListenerConfig};
use crate::http::request::origin::Via;
use crate::sys::users;

use super::listener::Listener;
use super::tls::client::ClientCertificate;
use super::tls::{Accepted, ServerTls};

/// Why a listener cannot have connections.
#[derive(Debug, Error)]
pub enum EntranceError {
    /// A listener with TLS, and no certificate.
    #[error("{0} is to speak TLS and there is no certificate: give --tls-certificate and --tls-key")]
    NoCertificate(ListenAddress),
    /// The system does not say where it listens.
    #[error("the address of a listener is unknown: {0}")]
    Address(#[from] io::Error),
}

/// A listener as its connections see it.
#[derive(Debug)]
pub(crate) struct Entrance {
    calls: Calls,
    via: Via,
    name: Arc<str>,
    peers: Peers,
    registry: Arc<Registry>,
    /// The certificates; `None` for plain text.
    pub(crate) tls: Option<Arc<ServerTls>>,
}

impl Entrance {
    /// Those of all listeners, in their order.
    pub(crate) fn all(
        listeners: &[Listener],
        tls: Option<&Arc<ServerTls>>,
        registry: &Arc<Registry>,
    ) -> Result<Vec<Arc<Self>>, EntranceError> {
        let entrance = |listener: &Listener| {
            let (name, peers) = (listener.address()?.to_string().into(), listener.peers().clone());
            let (via, tls) = via(listener.config(), tls)?;
            let (calls, registry) = (listener.config().calls, Arc::clone(registry));
            Ok(Arc::new(Self { calls, via, name, peers, registry, tls }))
        };
        listeners.iter().map(entrance).collect()
    }

    /// That of connections without a listener.
    pub(crate) fn of_pair(registry: &Arc<Registry>) -> Self {
        let (calls, name, peers) = (Calls::default(), "pair".into(), Peers::default());
        Self { calls, via: Via::Unix, name, peers, registry: Arc::clone(registry), tls: None }
    }

    fn caller(&self, peer: Peer, known: Known) -> Caller {
        let listener = Arc::clone(&self.name);
        Caller { via: self.via, calls: self.calls, listener, peer, known }
    }

    /// The caller of a TCP connection from this address.
    pub(crate) fn tcp_caller(&self, peer: io::Result<SocketAddr>) -> Caller {
        // The address of a connection that has ended already is unknown.
        self.caller(peer.map_or(Peer::Unknown, Peer::Address), Known::Anyone)
    }

    /// The caller of a connection over a socket file.
    pub(crate) fn unix_caller(&self, stream: impl AsFd) -> io::Result<Caller> {
        let credentials = socket_peercred(&stream)?;
        let (uid, gid) = (credentials.uid.as_raw(), credentials.gid.as_raw());
        let known = if self.peers.is_empty() {
            Known::Anyone
        } else {
            let mut groups = users::peer_groups(&stream)?;
            groups.push(gid);
            match self.peers.principal_of(&PeerProcess { uid, groups }) {
                Some(settings) => Known::Principal(self.registry.principal(settings)),
                None => Known::Nobody,
            }
        };
        Ok(self.caller(Peer::User(uid), known))
    }
}

impl Caller {
    /// This caller, behind a handshake in which it may have shown a certificate.
    pub(crate) fn behind(mut self, accepted: &Accepted, tls: &Arc<ServerTls>) -> Self {
        let chain = accepted.stream.get_ref().1.peer_certificates();
        if let Some(certificate) = ClientCertificate::of(chain, tls, accepted.version) {
            self.known = Known::Certificate(Arc::new(certificate));
        }
        self
    }
}

fn via(
    config: &ListenerConfig,
    tls: Option<&Arc<ServerTls>>,
) -> Result<(Via, Option<Arc<ServerTls>>), EntranceError> {
    match (&config.address, config.tls) {
        (ListenAddress::Unix(_), _) => Ok((Via::Unix, None)),
        (ListenAddress::Tcp(_), false) => Ok((Via::Tcp, None)),
        (ListenAddress::Tcp(_), true) => {
            let tls = tls.ok_or_else(|| EntranceError::NoCertificate(config.address.clone()))?;
            Ok((Via::Tls, Some(Arc::clone(tls))))
        }
    }
}
