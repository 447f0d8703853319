//! Servers on picked ports, in this process or the real binary, and a client that sends raw bytes.

#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod daemon;
pub(crate) mod histories;
pub(crate) mod http2;
pub(crate) mod logged;
pub(crate) mod small_disk;
pub(crate) mod terminal;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use allotd::engine::{Engine, EngineConfig};
use allotd::http::address::ListenAddress;
use allotd::http::limits::Limits;
use allotd::http::server::listener::Listener;
use allotd::http::server::{self, DEFAULT_MAX_CONNECTIONS, ServerConfig};
use allotd::journal::MIN_FILE_BYTES;
use allotd::store::event_log::Keep;
use serde_json::Value;

/// No wait of a test is longer, in seconds.
pub(crate) const PATIENCE_SECONDS: u64 = 20;
const WORKERS: usize = 2;

/// What a slow client's socket takes that it has not read.
const RECEIVE_BUFFER_BYTES: usize = 16 << 10;

/// Numbers and ranges such as `100-199`, one per line, as the CSV that reads them: a line of a text list holds
/// a range only if both ends look like telephone numbers.
pub(crate) fn ranges_csv(lines: &str) -> String {
    let row = |line: &str| {
        let (first, last) = line.split_once('-').unwrap_or((line, line));
        format!("{first},{last}\n")
    };
    format!("first,last\n{}", lines.lines().map(row).collect::<String>())
}

/// A server in this process.
pub(crate) struct Server {
    pub address: SocketAddr,
    pub data: tempfile::TempDir,
    shutdown: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_with(None, &[])
    }

    /// Listens on a socket file too, and answers to more names.
    pub(crate) fn start_with(socket: Option<&Path>, names: &[&str]) -> Self {
        Self::start_with_limits(socket, names, Limits::default())
    }

    /// With other limits on the pace of clients.
    pub(crate) fn start_with_limits(socket: Option<&Path>, names: &[&str], limits: Limits) -> Self {
        Self::start_from(socket, names, limits, None)
    }

    /// Keeps events.
    pub(crate) fn with_events() -> Self {
        Self::start_from(None, &[], Limits::default(), "1MiB,1h".parse().ok())
    }

    fn start_from(socket: Option<&Path>, names: &[&str], limits: Limits, keep: Option<Keep>) -> Self {
        let allow_hosts = names.iter().map(|name| name.parse().unwrap()).collect();
        let data = tempfile::tempdir().unwrap();
        let engine_config = EngineConfig {
            journal_file_bytes: MIN_FILE_BYTES,
            events_keep: keep,
            ..EngineConfig::new(data.path().join("data"), WORKERS * server::HANDLES_PER_WORKER)
        };
        let engine = Engine::open(&engine_config).unwrap();
        let mut listeners = vec![Listener::bind(&"127.0.0.1:0".parse().unwrap()).unwrap()];
        listeners
            .extend(socket.map(|path| Listener::bind(&ListenAddress::Unix(path.into()).into()).unwrap()));
        let ListenAddress::Tcp(address) = listeners[0].address().unwrap() else { panic!("a TCP address") };
        let config = ServerConfig {
            workers: WORKERS,
            max_connections: DEFAULT_MAX_CONNECTIONS,
            allow_hosts,
            limits,
            tls: None,
            authority: None,
            registry: std::sync::Arc::default(),
            cluster: None,
            audit: std::sync::Arc::default(),
        };
        let (shutdown, ended) = tokio::sync::oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let ended = async move { drop(ended.await) };
            let serving = server::Server::start(listeners, engine, config).unwrap().serve(ended);
            runtime.block_on(serving).unwrap();
        });
        Self { address, data, shutdown: Some(shutdown), thread: Some(thread) }
    }

    /// A server with a pool `ru` of these numbers: one or a range per line.
    pub(crate) fn with_pool(settings: &str, numbers: &str) -> Self {
        let server = Self::start();
        let created =
            server.send("PUT", &format!("/v1/pools/ru?{settings}"), "text/csv", &ranges_csv(numbers));
        assert_eq!(created.status, 201, "{}", created.body);
        server
    }

    pub(crate) fn connect(&self) -> BufReader<TcpStream> {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(PATIENCE_SECONDS))).unwrap();
        BufReader::new(stream)
    }

    pub(crate) fn client(&self) -> Client {
        Client { connection: self.connect() }
    }

    /// One request with a body on a connection of its own.
    pub(crate) fn send(&self, method: &str, path: &str, content_type: &str, body: &str) -> Answer {
        self.client().send(method, path, content_type, body.as_bytes()).unwrap()
    }

    /// One request without a body.
    pub(crate) fn call(&self, method: &str, path: &str) -> Answer {
        self.client().call(method, path).unwrap()
    }

    /// A POST of JSON.
    pub(crate) fn post(&self, path: &str, body: &str) -> Answer {
        self.send("POST", path, "application/json", body)
    }

    /// A lease over HTTP/2, on a connection of its own, with this `:authority`: its status.
    pub(crate) fn http2_lease(&self, authority: &str) -> u16 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let work = async {
            let stream = tokio::net::TcpStream::connect(self.address).await.unwrap();
            let io = hyper_util::rt::TokioIo::new(stream);
            let executor = hyper_util::rt::TokioExecutor::new();
            let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
            tokio::spawn(async move { drop(connection.await) });
            let request = hyper::Request::post(format!("http://{authority}/v1/pools/ru/lease"));
            let request = request.body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap();
            let response = sender.send_request(request).await.unwrap();
            assert_eq!(response.version(), hyper::Version::HTTP_2);
            response.status().as_u16()
        };
        let patience = Duration::from_secs(PATIENCE_SECONDS);
        runtime.block_on(async { tokio::time::timeout(patience, work).await }).unwrap()
    }

    /// Leases one number: itself and its token.
    pub(crate) fn lease(&self) -> (u64, String) {
        let lease = self.call("POST", "/v1/pools/ru/lease").json()["leases"][0].clone();
        (lease["number"].as_u64().unwrap(), lease["token"].as_str().unwrap().to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.shutdown.take());
        let ended = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            assert!(ended.is_some_and(|result| result.is_ok()));
        }
    }
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// The answer without `expires_in`, which is another in the next second.
    pub(crate) fn lasting(&self) -> Value {
        lasting(self.json())
    }

    /// Status and code of an error, whose detail is not empty.
    pub(crate) fn problem(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], self.status);
        assert_eq!(problem["type"], "about:blank");
        assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()));
        (self.status, problem["code"].as_str().unwrap().to_owned())
    }
}

/// A value without `expires_in` in any of its objects.
pub(crate) fn lasting(mut value: Value) -> Value {
    match &mut value {
        Value::Object(members) => {
            members.remove("expires_in");
            members.values_mut().for_each(|member| *member = lasting(member.take()));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = lasting(item.take())),
        _ => {}
    }
    value
}

/// A connection that is kept open. Every failure of it is an error, never a panic: the server may be killed.
pub(crate) struct Client {
    pub(crate) connection: BufReader<TcpStream>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(PATIENCE_SECONDS)))?;
        Ok(Self { connection: BufReader::new(stream) })
    }

    /// As [`Self::connect`], with this long for the connection and for each answer.
    pub(crate) fn connect_within(address: SocketAddr, patience: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, patience)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        Ok(Self { connection: BufReader::new(stream) })
    }

    /// A request with a body. The answer may come before all of the body is sent.
    pub(crate) fn send(
        &mut self,
        method: &str,
        path: &str,
        content_type: &str,
        body: &[u8],
    ) -> io::Result<Answer> {
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        self.connection.get_mut().write_all(&request)?;
        try_read_answer(&mut self.connection, method == "HEAD")
    }

    /// A request without a body.
    pub(crate) fn call(&mut self, method: &str, path: &str) -> io::Result<Answer> {
        write!(self.connection.get_mut(), "{method} {path} HTTP/1.1\r\nhost: localhost\r\n\r\n")?;
        try_read_answer(&mut self.connection, method == "HEAD")
    }

    /// A GET that asks for a media type.
    pub(crate) fn get_as(&mut self, path: &str, accept: &str) -> io::Result<Answer> {
        write!(
            self.connection.get_mut(),
            "GET {path} HTTP/1.1\r\nhost: localhost\r\naccept: {accept}\r\n\r\n"
        )?;
        try_read_answer(&mut self.connection, false)
    }

    /// A POST of JSON.
    pub(crate) fn post(&mut self, path: &str, body: &Value) -> io::Result<Answer> {
        self.send("POST", path, "application/json", body.to_string().as_bytes())
    }
}

/// A client whose socket takes little that it has not read.
pub(crate) fn slow_reader(address: SocketAddr) -> Client {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES).unwrap();
    socket.connect(&address.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(PATIENCE_SECONDS))).unwrap();
    Client { connection: BufReader::new(stream) }
}

/// Reads one answer that must come whole.
pub(crate) fn read_answer<S: Read>(connection: &mut BufReader<S>, head_only: bool) -> Answer {
    try_read_answer(connection, head_only).unwrap()
}

/// A line without its end; an error if the connection ends within it.
fn read_line<S: Read>(connection: &mut BufReader<S>) -> io::Result<String> {
    let mut line = String::new();
    connection.read_line(&mut line)?;
    match line.strip_suffix("\r\n") {
        Some(whole) => Ok(whole.to_owned()),
        None => {
            Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("the answer breaks off at {line:?}")))
        }
    }
}

/// Reads one answer; its length comes from the head, or in chunks.
pub(crate) fn try_read_answer<S: Read>(connection: &mut BufReader<S>, head_only: bool) -> io::Result<Answer> {
    let line = read_line(connection)?;
    let status =
        line.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or_else(|| panic!("{line:?}"));
    let mut headers = Vec::new();
    loop {
        let line = read_line(connection)?;
        match line.split_once(": ") {
            Some((name, value)) => headers.push((name.to_ascii_lowercase(), value.to_owned())),
            None => break,
        }
    }
    let mut answer = Answer { status, headers, body: String::new() };
    if head_only {
        return Ok(answer);
    }
    let mut body = Vec::new();
    if answer.header("transfer-encoding") == Some("chunked") {
        loop {
            let length = usize::from_str_radix(&read_line(connection)?, 16).unwrap();
            let mut chunk = vec![0; length + 2];
            connection.read_exact(&mut chunk)?;
            if length == 0 {
                break;
            }
            body.extend_from_slice(&chunk[..length]);
        }
    } else {
        body = vec![0; answer.header("content-length").unwrap().parse().unwrap()];
        connection.read_exact(&mut body)?;
    }
    answer.body = String::from_utf8_lossy(&body).into_owned();
    Ok(answer)
}
