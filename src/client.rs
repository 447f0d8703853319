//! The HTTP client of the commands, over TCP or a Unix socket. Most make one request; a [`Connection`] serves
//! several.

use std::error::Error as _;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::str::FromStr;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::SendRequest;
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::Runtime;

/// Size of the chunks of an upload, in bytes.
const CHUNK_BYTES: usize = 64 << 10;
/// Longest response that is kept in memory, in bytes.
const MAX_ANSWER_BYTES: usize = 256 << 20;

/// The address of the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Server {
    /// `host:port`.
    Tcp(String),
    /// A socket file.
    Unix(PathBuf),
}

/// Why a call failed or was refused.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The address is invalid.
    #[error("\"{0}\" is not a server: give http://HOST:PORT or unix:PATH")]
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
        match error.source().filter(|_| error.is_user()) {
            Some(cause) => Self::Input(cause.to_string()),
            None => Self::Broken(error),
        }
    }
}

impl FromStr for Server {
    type Err = ClientError;

    fn from_str(text: &str) -> Result<Self, ClientError> {
        let unknown = || ClientError::Address(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() { Err(unknown()) } else { Ok(Self::Unix(path.into())) };
        }
        let authority = text.strip_prefix("http://").ok_or_else(unknown)?.trim_end_matches('/');
        let parsed: hyper::http::uri::Authority = authority.parse().map_err(|_| unknown())?;
        Ok(Self::Tcp(match parsed.port() {
            Some(_) => authority.to_owned(),
            None => format!("{authority}:80"),
        }))
    }
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(authority) => write!(f, "http://{authority}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The body of a request.
pub enum Payload {
    /// These bytes; empty for no body.
    Bytes(Bytes),
    /// The output of a reader. It is read on the command's only thread, which has nothing else to do.
    Reader(Box<dyn Read + Send>),
}

impl Payload {
    /// No body.
    pub fn empty() -> Self {
        Self::Bytes(Bytes::new())
    }

    /// Files one after another, each beginning on a new line; `-` is standard input. `on_bytes` is called
    /// after each read with its number of bytes.
    pub fn files(paths: &[PathBuf], on_bytes: impl Fn(u64) + Send + 'static) -> io::Result<Self> {
        let mut all: Box<dyn Read + Send> = Box::new(io::empty());
        for (index, path) in paths.iter().enumerate() {
            let file: Box<dyn Read + Send> = if path.as_os_str() == "-" {
                Box::new(io::stdin())
            } else {
                let file = File::open(path).map_err(|error| named(path, &error))?;
                Box::new(NamedFile { file, path: path.clone() })
            };
            let separator: &'static [u8] = if index > 0 { b"\n" } else { b"" };
            all = Box::new(all.chain(separator).chain(file));
        }
        Ok(Self::Reader(Box::new(Counted { inner: all, on_bytes })))
    }
}

/// A file whose errors name it.
struct NamedFile {
    file: File,
    path: PathBuf,
}

impl Read for NamedFile {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.file.read(out).map_err(|error| named(&self.path, &error))
    }
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// A reader that reports how many bytes were read.
struct Counted<R, F> {
    inner: R,
    on_bytes: F,
}

impl<R: Read, F: Fn(u64)> Read for Counted<R, F> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(out)?;
        (self.on_bytes)(length as u64);
        Ok(length)
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Bytes(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Bytes(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Reader(reader) => {
                let mut chunk = BytesMut::zeroed(CHUNK_BYTES);
                match reader.read(&mut chunk) {
                    Ok(0) => Poll::Ready(None),
                    Ok(length) => {
                        chunk.truncate(length);
                        Poll::Ready(Some(Ok(Frame::data(chunk.freeze()))))
                    }
                    Err(error) => Poll::Ready(Some(Err(error))),
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Bytes(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Bytes(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Reader(_) => SizeHint::default(),
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
    match server {
        Server::Tcp(authority) => handshake(TcpStream::connect(authority).await.map_err(unreachable)?).await,
        Server::Unix(path) => handshake(UnixStream::connect(path).await.map_err(unreachable)?).await,
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
    let host = match server {
        Server::Tcp(authority) => authority,
        Server::Unix(_) => "localhost",
    };
    sender.ready().await?;
    let mut request = Request::builder().method(call.method).uri(call.path).header(HOST, host);
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
        for bad in ["", "127.0.0.1:7979", "https://a:1", "unix:", "http://", "http://a b"] {
            assert!(bad.parse::<Server>().is_err(), "{bad}");
        }
    }
}
