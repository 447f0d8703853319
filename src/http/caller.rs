//! Who sends the requests of a connection, as far as the connection itself shows it.

use std::sync::Arc;

use crate::auth::identity::Identity;
use crate::auth::peer::Peer;
use crate::auth::principal::Principal;

use super::listen::Calls;
use super::request::origin::Via;

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
    /// Its certificate, which an authority of `--tls-client-ca` has vouched for.
    pub(crate) identity: Option<Arc<Identity>>,
}

/// Who a connection is before a request shows a token.
#[derive(Debug, Clone)]
pub(crate) enum Known {
    /// It shows nothing, and its listener asks for nothing.
    Anyone,
    /// A user of this machine with a role.
    Principal(Arc<Principal>),
    /// A user of this machine without a role, at a listener that gives roles to users.
    Nobody,
}
