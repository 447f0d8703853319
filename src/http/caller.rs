//! Who sends the requests of a connection, as far as the connection itself shows it.

use super::listen::Calls;
use super::request::origin::Via;

/// What all requests of one connection have in common.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// The kind of the socket.
    pub(crate) via: Via,
    /// The calls that its listener serves.
    pub(crate) calls: Calls,
}
