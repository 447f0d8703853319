//! Who sends the requests of a connection, as far as the connection itself shows it.

use std::sync::Arc;

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
    /// The other end, for the log.
    pub(crate) peer: Peer,
    /// The address of its listener, for the log.
    pub(crate) listener: Arc<str>,
    /// Who the connection is from: by the user of a Unix socket, or by a client certificate. A token that is
    /// presented takes its place.
    pub(crate) principal: Option<Arc<Principal>>,
}
