//! The HTTP client of the commands, over TCP or a Unix socket. Most make one request; a [`Connection`] serves
//! several. [`leasing`] is the client of other services.

pub mod error;
pub mod leasing;
pub mod payload;
pub mod server;
pub mod tls;

use std::io;
use std::pin::Pin;
use std::time::Duration;

use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::Runtime;

pub use error::ClientError;
use error::tls_cause;
pub use payload::Payload;
pub use server::{Endpoint, Server};

/// Longest response that is kept in memory, in bytes.
const MAX_ANSWER_BYTES: usize = 256 << 20;

/// How long a member may take to say whether it is the primary.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

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
    pub header: Option<(&'static str, &'a str)>,
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
            handshake(Box::new(TcpStream::connect(authority).await.map_err(unreachable)?)).await
        }
        Endpoint::Tls(authority, tls) => {
            let stream = TcpStream::connect(authority).await.map_err(unreachable)?;
            let refused = |error: io::Error| match tls_cause(&error) {
                Some(cause) => ClientError::tls(cause),
                None => unreachable(error),
            };
            handshake(Box::new(tls.connect(stream).await.map_err(refused)?)).await
        }
        Endpoint::Unix(path) => {
            handshake(Box::new(UnixStream::connect(path).await.map_err(unreachable)?)).await
        }
    }
}

/// A connection of any kind, so that the protocol above it is compiled once.
pub(crate) trait ByteStream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> ByteStream for S {}

async fn handshake(stream: Box<dyn ByteStream>) -> Result<SendRequest<Payload>, ClientError> {
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
    let response = respond(sender, server, call).await?;
    if response.status().is_success() {
        copy(response.into_body(), out).await
    } else {
        Err(refusal(response).await)
    }
}

/// Sends a call. Returns the response, whatever its status is, once its head has come.
async fn respond(
    sender: &mut SendRequest<Payload>,
    server: &Server,
    call: Call<'_>,
) -> Result<Response<Incoming>, ClientError> {
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
    Ok(sender.send_request(request.body(call.payload)?).await?)
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
    ClientError::Refused { reason, line: problem["line"].as_u64(), problem: Box::new(problem) }
}

#[cfg(test)]
mod tests;
