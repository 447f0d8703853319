//! The address of a daemon, and the token that it is shown.

use std::path::PathBuf;
use std::str::FromStr;

use hyper::header::HeaderValue;

use super::error::ClientError;
use super::tls::{ClientFiles, ClientTls};

/// The daemon, and the token that it is to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Where it is.
    pub endpoint: Endpoint,
    /// `Authorization`; marked as sensitive, so that no message shows it.
    bearer: Option<HeaderValue>,
}

/// The address of the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// `host:port`.
    Tcp(String),
    /// `host:port`, by TLS.
    Tls(String, ClientTls),
    /// A socket file.
    Unix(PathBuf),
}

impl FromStr for Server {
    type Err = ClientError;

    fn from_str(text: &str) -> Result<Self, ClientError> {
        Self::new(text, &ClientFiles::default())
    }
}

impl Server {
    /// The server at a URL; by TLS with these files.
    pub fn new(text: &str, files: &ClientFiles) -> Result<Self, ClientError> {
        let unknown = || ClientError::Address(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() { Err(unknown()) } else { Ok(Endpoint::Unix(path.into()).into()) };
        }
        let (authority, by_tls) = match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
            (Some(authority), _) => (authority.trim_end_matches('/'), false),
            (_, Some(authority)) => (authority.trim_end_matches('/'), true),
            (None, None) => return Err(unknown()),
        };
        let parsed: hyper::http::uri::Authority = authority.parse().map_err(|_| unknown())?;
        let with_port = |default: u16| match parsed.port() {
            Some(_) => authority.to_owned(),
            None => format!("{authority}:{default}"),
        };
        if by_tls {
            let tls = files.tls(parsed.host()).map_err(|_| unknown())?;
            Ok(Endpoint::Tls(with_port(443), tls?).into())
        } else {
            Ok(Endpoint::Tcp(with_port(80)).into())
        }
    }
}

impl From<Endpoint> for Server {
    fn from(endpoint: Endpoint) -> Self {
        Self { endpoint, bearer: None }
    }
}

impl Server {
    /// The daemon at an address without TLS.
    pub fn tcp(authority: impl std::fmt::Display) -> Self {
        Endpoint::Tcp(authority.to_string()).into()
    }

    /// The same daemon, which is shown a token.
    pub fn with_token(self, token: &str) -> Result<Self, ClientError> {
        let header = HeaderValue::try_from(format!("Bearer {token}"));
        let mut bearer = header.map_err(|error| ClientError::Request(error.into()))?;
        bearer.set_sensitive(true);
        Ok(Self { bearer: Some(bearer), ..self })
    }

    /// What requests have as `Host`.
    pub fn host(&self) -> &str {
        match &self.endpoint {
            Endpoint::Tcp(authority) | Endpoint::Tls(authority, _) => authority,
            Endpoint::Unix(_) => "localhost",
        }
    }

    /// The header that shows the token, if there is one.
    pub(crate) fn bearer(&self) -> Option<&HeaderValue> {
        self.bearer.as_ref()
    }
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.endpoint.fmt(f)
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(authority) => write!(f, "http://{authority}"),
            Self::Tls(authority, _) => write!(f, "https://{authority}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
