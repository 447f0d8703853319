//! Why a call of the client failed or was refused.

use std::error::Error as _;
use std::io;

use serde_json::Value;
use thiserror::Error;

use super::tls;
use super::tls::ClientTlsError;

/// Why a call failed or was refused.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The address is invalid.
    #[error("\"{0}\" is not a server: give http://HOST:PORT, https://HOST:PORT or unix:PATH")]
    Address(String),
    /// Nothing responds at the address.
    #[error(
        "no daemon answers at {server}: {error}. Start it with \"allotd serve\", or name another with --server"
    )]
    Unreachable {
        /// The address.
        server: String,
        /// The system's error.
        error: io::Error,
    },
    /// The files of TLS cannot be used.
    #[error(transparent)]
    Files(#[from] ClientTlsError),
    /// The two do not trust each other.
    #[error("TLS with the daemon failed: {error}. {}{}", .advice[..1].to_uppercase(), &.advice[1..])]
    Tls {
        /// What is wrong.
        error: Box<rustls::Error>,
        /// What to do.
        advice: &'static str,
    },
    /// The connection broke.
    #[error("the connection to the daemon broke: {0}. Check its log, then repeat the call")]
    Broken(#[source] hyper::Error),
    /// The input cannot be read.
    #[error("the numbers cannot be read: {0}. Check the file, then repeat the call")]
    Input(String),
    /// A file or the output cannot be used.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The request cannot be sent.
    #[error("the request cannot be sent: {0}")]
    Request(#[from] hyper::http::Error),
    /// The daemon refused the call, for this reason.
    #[error("{reason}")]
    Refused {
        /// What the daemon says.
        reason: String,
        /// The line of the body that it names.
        line: Option<u64>,
        /// The whole answer; null if it is no problem of an allotd.
        problem: Box<Value>,
    },
    /// This client does not understand the response.
    #[error("the answer is not understood: {0}. Is another version of the daemon running?")]
    Answer(String),
}

impl From<hyper::Error> for ClientError {
    fn from(error: hyper::Error) -> Self {
        match (error.source().filter(|_| error.is_user()), tls_cause(&error)) {
            (Some(cause), _) => Self::Input(cause.to_string()),
            (None, Some(cause)) => Self::tls(cause),
            (None, None) => Self::Broken(error),
        }
    }
}

impl ClientError {
    pub(super) fn tls(error: rustls::Error) -> Self {
        Self::Tls { advice: tls::advice(&error), error: Box::new(error) }
    }
}

/// What rustls says among the causes of an error: of TLS 1.3, a daemon's refusal of a client's certificate comes
/// only with the first answer.
pub(super) fn tls_cause(error: &(dyn std::error::Error + 'static)) -> Option<rustls::Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let found = inner.and_then(|inner| inner.downcast_ref()).or_else(|| error.downcast_ref());
        if let Some(found) = found {
            return Some(rustls::Error::clone(found));
        }
        cause = error.source();
    }
    None
}
