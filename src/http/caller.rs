//! Who sends the requests of a connection, as far as the connection itself shows it.

use std::sync::Arc;

use crate::auth::peer::Peer;
use crate::auth::principal::Principal;

use super::listen::Calls;
use super::request::origin::Via;
use super::server::tls::client::ClientCertificate;

/// What all requests of one connection have in common.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// The kind of the socket.
    pub(crate) via: Via,
    /// The calls that its listener serves.
    pub(crate) calls: Calls,
    /// The address of its listener, for the log.
    pub(crate) listener: Arc<str>,
    /// The other end, for the log.
    pub(crate) peer: Peer,
    /// Who it is without a token.
    pub(crate) known: Known,
}

/// Who a connection is before a request shows a token.
#[derive(Debug, Clone)]
pub(crate) enum Known {
    /// It shows nothing, and its listener asks for nothing.
    Anyone,
    /// Who it is by its certificate, if the tokens file says so.
    Certificate(Arc<ClientCertificate>),
    /// A user of this machine with a role.
    Principal(Arc<Principal>),
    /// A user of this machine without a role, at a listener that gives roles to users.
    Nobody,
}

impl Caller {
    /// The certificate that it has shown.
    pub(crate) fn certificate(&self) -> Option<&ClientCertificate> {
        match &self.known {
            Known::Certificate(certificate) => Some(certificate),
            Known::Anyone | Known::Principal(_) | Known::Nobody => None,
        }
    }
}
