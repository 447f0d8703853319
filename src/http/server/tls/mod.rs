//! TLS below the gate: a connection's handshake, and the certificates in force, which are exchanged whole
//! while connections stay open.

pub(crate) mod client;
pub mod error;
pub mod files;
pub mod handshakes;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::info;

use crate::log;
use files::LoadedTls;
use handshakes::Handshakes;

/// How long a handshake may take, in seconds.
pub const HANDSHAKE_SECONDS: u64 = 10;
/// What rustls may buffer of a connection's output that its socket does not take, in bytes.
pub const TLS_BUFFER_BYTES: usize = 64 << 10;

/// The answer to a request in plain text. Its sender sees it only because it is in plain text too.
const SPEAK_TLS: &str = "HTTP/1.1 400 Bad Request\r\n\
    content-type: application/problem+json\r\n\
    connection: close\r\n\
    content-length: 162\r\n\
    \r\n\
    {\"type\":\"about:blank\",\"title\":\"Bad Request\",\"status\":400,\"code\":\"bad_request\",\
    \"detail\":\"This address speaks TLS: use an https:// URL. What you sent was readable\"}";
/// How much is read of a request in plain text before it is answered, in bytes.
const PLAIN_TEXT_BYTES: usize = 4 << 10;

/// The certificates in force.
#[derive(Debug)]
pub struct ServerTls {
    current: ArcSwap<LoadedTls>,
    /// Counts the exchanges. What was found of a client's certificate holds while the count stays.
    version: AtomicU64,
    handshakes: Handshakes,
}

/// A connection behind its handshake.
pub(crate) struct Accepted {
    pub(crate) stream: TlsStream<TcpStream>,
    /// [`ServerTls::version`] of what it was accepted with, or an earlier one.
    pub(crate) version: u64,
}

impl ServerTls {
    /// Certificates that serve new connections from now on.
    pub fn new(loaded: LoadedTls) -> Self {
        let current = ArcSwap::from_pointee(loaded);
        Self { current, version: AtomicU64::new(1), handshakes: Handshakes::default() }
    }

    /// Exchanges them. Open connections keep the server's certificate that they began with; a client's
    /// certificate that is refused from now on ends its connections.
    pub fn exchange(&self, loaded: LoadedTls) {
        self.current.store(Arc::new(loaded));
        // After them: who sees the new count sees them.
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Changes when the certificates do.
    #[inline]
    fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Makes a connection of a socket, or closes it.
    pub(crate) async fn accept(&self, stream: TcpStream) -> Option<Accepted> {
        let limit = Duration::from_secs(HANDSHAKE_SECONDS);
        let accepted = match tokio::time::timeout(limit, self.handshake(stream)).await {
            Ok(accepted) => accepted,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        accepted.inspect_err(log_refused).ok()
    }

    async fn handshake(&self, mut stream: TcpStream) -> io::Result<Accepted> {
        let address = stream.peer_addr()?.ip();
        // Who has sent nothing takes no place of a handshake.
        if speaks_plain_text(&stream).await? {
            refuse_plain_text(&mut stream).await?;
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a request in plain text"));
        }
        let _turn = self.handshakes.begin(address).await;
        // Before what is in force: at worst, a client's certificate is looked at once more.
        let version = self.version();
        let acceptor = TlsAcceptor::from(Arc::clone(&self.current.load().config));
        let accepting = acceptor.accept_with(stream, |tls| tls.set_buffer_limit(Some(TLS_BUFFER_BYTES)));
        Ok(Accepted { stream: accepting.await?, version })
    }
}

/// Whether the first byte begins an HTTP method rather than a handshake.
async fn speaks_plain_text(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    Ok(stream.peek(&mut first).await? == 1 && first[0].is_ascii_uppercase())
}

async fn refuse_plain_text(stream: &mut TcpStream) -> io::Result<()> {
    // Bytes that are not read would reset the connection before its answer is.
    stream.try_read(&mut [0; PLAIN_TEXT_BYTES])?;
    stream.write_all(SPEAK_TLS.as_bytes()).await?;
    stream.shutdown().await
}

fn log_refused(error: &io::Error) {
    if let Some(suppressed) = log::limit::HANDSHAKE_FAILED.admit() {
        info!(event = "handshake_failed", %error, suppressed, "a client did not complete its TLS handshake");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_plain_text_has_its_length() {
        let (head, body) = SPEAK_TLS.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("content-length: {}", body.len())), "{}", body.len());
        serde_json::from_str::<serde_json::Value>(body).unwrap();
    }
}
