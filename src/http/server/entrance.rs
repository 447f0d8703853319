//! What a connection has from its listener.

use std::sync::Arc;

use crate::auth::peer::Peer;
use crate::http::address::ListenAddress;
use crate::http::caller::Caller;
use crate::http::listen::{Calls, ListenerConfig};
use crate::http::request::origin::Via;

use super::ServeError;
use super::listener::Listener;
use super::tls::ServerTls;

/// A listener as its connections see it.
#[derive(Debug)]
pub(crate) struct Entrance {
    calls: Calls,
    via: Via,
    /// Its address, for the log.
    name: Arc<str>,
    /// The certificates; `None` for plain text.
    pub(crate) tls: Option<Arc<ServerTls>>,
}

impl Entrance {
    /// Those of all listeners, in their order.
    pub(crate) fn all(
        listeners: &[Listener],
        tls: Option<&Arc<ServerTls>>,
    ) -> Result<Vec<Arc<Self>>, ServeError> {
        listeners.iter().map(|listener| Self::of(listener.config(), tls).map(Arc::new)).collect()
    }

    fn of(config: &ListenerConfig, tls: Option<&Arc<ServerTls>>) -> Result<Self, ServeError> {
        let name = config.address.to_string().into();
        let (via, tls) = match (&config.address, config.tls) {
            (ListenAddress::Unix(_), _) => (Via::Unix, None),
            (ListenAddress::Tcp(_), false) => (Via::Tcp, None),
            (ListenAddress::Tcp(_), true) => {
                let tls = tls.ok_or_else(|| ServeError::NoCertificate(config.address.clone()))?;
                (Via::Tls, Some(Arc::clone(tls)))
            }
        };
        Ok(Self { calls: config.calls, via, name, tls })
    }

    /// The caller of a connection that shows nothing of itself.
    pub(crate) fn caller(&self, peer: Peer) -> Caller {
        let listener = Arc::clone(&self.name);
        Caller { via: self.via, calls: self.calls, peer, listener, principal: None }
    }
}
