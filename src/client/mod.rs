//! The HTTP client of the commands, over TCP or a Unix socket. Most make one request; a [`Connection`] serves
//! several.

pub mod payload;
pub mod tls;

use std::error::Error as _;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::str::FromStr;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::Runtime;

pub use payload::Payload;
use tls::{ClientFiles, ClientTls, ClientTlsError};

/// Longest response that is kept in memory, in bytes.
const MAX_ANSWER_BYTES: usize = 256 << 20;

/// How long a member may take to say whether it is the primary.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

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
    fn tls(error: rustls::Error) -> Self {
        Self::Tls { advice: tls::advice(&error), error: Box::new(error) }
    }
}

/// What rustls says among the causes of an error: of TLS 1.3, a daemon's refusal of a client's certificate comes
/// only with the first answer.
fn tls_cause(error: &(dyn std::error::Error + 'static)) -> Option<rustls::Error> {
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

/// One call.
pub struct Call<'a> {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub path: &'a str,
    /// The content type of the body.
    pub content_type: Option<&'a str>,
    /// The content type that is requested.
    pub accept: Option<&'a str>,
    /// One more header: its name and its value.
    pub header: Option<(&'static str, &'static str)>,
    /// The body.
    pub payload: Payload,
}

impl<'a> Call<'a> {
    /// A call without a body.
    pub fn new(method: Method, path: &'a str) -> Self {
        Self { method, path, content_type: None, accept: None, header: None, payload: Payload::empty() }
    }

    /// A call with a JSON body.
    pub fn json(method: Method, path: &'a str, body: &serde_json::Value) -> Self {
        let payload = Payload::Bytes(body.to_string().into());
        Self { content_type: Some("application/json"), payload, ..Self::new(method, path) }
    }
}

/// Makes a call and returns the whole response, which is text.
pub fn send(server: &Server, call: Call<'_>) -> Result<String, ClientError> {
    let mut answer = Vec::new();
    send_to(server, call, &mut answer)?;
    text(answer)
}

/// Makes a call and copies the response as it arrives.
pub fn send_to(server: &Server, call: Call<'_>, out: &mut dyn io::Write) -> Result<(), ClientError> {
    let runtime = runtime()?;
    runtime.block_on(async {
        let mut sender = connect(server).await?;
        exchange(&mut sender, server, call, out).await
    })
}

/// The first of several members of a cluster that is its primary, or the only one.
pub fn primary(servers: Vec<Server>) -> Result<Server, ClientError> {
    let mut servers = servers.into_iter();
    let first = servers.next().ok_or_else(|| ClientError::Address(String::new()))?;
    let others: Vec<Server> = servers.collect();
    if others.is_empty() {
        return Ok(first);
    }
    let runtime = runtime()?;
    let mut refusal = None;
    for server in std::iter::once(first).chain(others) {
        let asked = runtime.block_on(async {
            let asking = async {
                let mut sender = connect(&server).await?;
                exchange(&mut sender, &server, Call::new(Method::GET, "/readyz"), &mut Vec::new()).await
            };
            tokio::time::timeout(PROBE_TIMEOUT, asking).await
        });
        match asked {
            Ok(Ok(())) => return Ok(server),
            Ok(Err(error)) => refusal = Some(error),
            Err(_) => {
                let error = io::ErrorKind::TimedOut.into();
                refusal = Some(ClientError::Unreachable { server: server.to_string(), error });
            }
        }
    }
    Err(refusal.unwrap_or_else(|| ClientError::Address(String::new())))
}

/// A connection that is reused from one call to the next.
pub struct Connection {
    server: Server,
    runtime: Runtime,
    sender: Option<SendRequest<Payload>>,
}

impl Connection {
    /// A connection that is made with the first call.
    pub fn new(server: Server) -> io::Result<Self> {
        Ok(Self { server, runtime: runtime()?, sender: None })
    }

    /// The response of `GET path`. Connects again if the daemon closed the connection since the last call.
    pub fn get(&mut self, path: &str) -> Result<String, ClientError> {
        let was_kept = self.sender.is_some();
        match self.get_once(path) {
            Err(ClientError::Broken(_)) if was_kept => self.get_once(path),
            result => result,
        }
    }

    fn get_once(&mut self, path: &str) -> Result<String, ClientError> {
        let mut answer = Vec::new();
        let result = self.runtime.block_on(async {
            let sender = match &mut self.sender {
                Some(sender) => sender,
                none => none.insert(connect(&self.server).await?),
            };
            exchange(sender, &self.server, Call::new(Method::GET, path), &mut answer).await
        });
        if result.is_err() {
            self.sender = None;
        }
        result.and_then(|()| text(answer))
    }
}

fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

fn text(answer: Vec<u8>) -> Result<String, ClientError> {
    String::from_utf8(answer).map_err(|error| ClientError::Answer(error.to_string()))
}

async fn connect(server: &Server) -> Result<SendRequest<Payload>, ClientError> {
    let unreachable = |error| ClientError::Unreachable { server: server.to_string(), error };
    match &server.endpoint {
        Endpoint::Tcp(authority) => {
            handshake(TcpStream::connect(authority).await.map_err(unreachable)?).await
        }
        Endpoint::Tls(authority, tls) => {
            let stream = TcpStream::connect(authority).await.map_err(unreachable)?;
            let refused = |error: io::Error| match tls_cause(&error) {
                Some(cause) => ClientError::tls(cause),
                None => unreachable(error),
            };
            handshake(tls.connect(stream).await.map_err(refused)?).await
        }
        Endpoint::Unix(path) => handshake(UnixStream::connect(path).await.map_err(unreachable)?).await,
    }
}

async fn handshake<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
) -> Result<SendRequest<Payload>, ClientError> {
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // The connection's error is also the error of the request.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

async fn exchange(
    sender: &mut SendRequest<Payload>,
    server: &Server,
    call: Call<'_>,
    out: &mut dyn io::Write,
) -> Result<(), ClientError> {
    sender.ready().await?;
    let mut request = Request::builder().method(call.method).uri(call.path).header(HOST, server.host());
    if let Some(bearer) = server.bearer() {
        request = request.header(AUTHORIZATION, bearer);
    }
    if let Some(content_type) = call.content_type {
        request = request.header(CONTENT_TYPE, content_type);
    }
    if let Some(accept) = call.accept {
        request = request.header(ACCEPT, accept);
    }
    if let Some((name, value)) = call.header {
        request = request.header(name, value);
    }
    let response = sender.send_request(request.body(call.payload)?).await?;
    if response.status().is_success() {
        copy(response.into_body(), out).await
    } else {
        Err(refusal(response).await)
    }
}

async fn copy(mut body: Incoming, out: &mut dyn io::Write) -> Result<(), ClientError> {
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        if let Ok(data) = frame?.into_data() {
            out.write_all(&data)?;
        }
    }
    Ok(out.flush()?)
}

/// The reason in the daemon's refusal.
async fn refusal(response: Response<Incoming>) -> ClientError {
    let status = response.status();
    let mut bytes = Vec::new();
    if response.body().size_hint().lower() > MAX_ANSWER_BYTES as u64 {
        return ClientError::Answer(status.to_string());
    }
    if let Err(error) = copy(response.into_body(), &mut bytes).await {
        return error;
    }
    problem(status, &bytes)
}

fn problem(status: StatusCode, body: &[u8]) -> ClientError {
    let problem: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let reason = match (problem["code"].as_str(), problem["detail"].as_str()) {
        (Some(code), Some(detail)) => format!("{detail} ({code})"),
        _ => format!("the server answered {status}: is it an allotd?"),
    };
    ClientError::Refused { reason, line: problem["line"].as_u64() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_servers() {
        for (text, shown) in [
            ("http://127.0.0.1:7979", "http://127.0.0.1:7979"),
            ("http://localhost/", "http://localhost:80"),
            ("unix:/run/a.sock", "unix:/run/a.sock"),
        ] {
            assert_eq!(text.parse::<Server>().unwrap().to_string(), shown);
        }
        for bad in
            ["", "127.0.0.1:7979", "ftp://a:1", "https://", "https://a b:1", "unix:", "http://", "http://a b"]
        {
            assert!(bad.parse::<Server>().is_err(), "{bad}");
        }
    }
}
