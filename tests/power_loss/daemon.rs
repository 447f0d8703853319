//! The daemon under test as a process, and HTTP/1.1 by hand to speak to it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(30);
pub(crate) const POOL: &str = "/v1/pools/ru";

/// How the daemon is run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mode {
    pub durability: &'static str,
    /// Hidden and only in builds with debug assertions: claims to sync, and does not.
    pub skip_sync: bool,
    pub arguments: &'static [&'static str],
}

pub(crate) fn allotd() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_allotd"));
    command.env_clear();
    command
}

/// A running daemon, killed at its end.
#[derive(Debug)]
pub(crate) struct Daemon {
    child: Child,
    pub address: SocketAddr,
}

impl Daemon {
    /// Starts it and waits until it serves; returns its output if it does not. `words` is a file for its standard error.
    pub(crate) fn start(data: &Path, mode: Mode, words: &Path) -> Result<Self, String> {
        let mut command = allotd();
        command.args(["serve", "--listen", "127.0.0.1:0", "--workers", "2", "--durability", mode.durability]);
        command.args(mode.arguments);
        if mode.skip_sync {
            command.env("ALLOTD_TEST_SKIP_SYNC", "1");
        }
        let stderr = File::create(words).map_err(|error| error.to_string())?;
        command.arg("--data").arg(data).stdout(Stdio::piped()).stderr(stderr);
        let mut child = command.spawn().map_err(|error| error.to_string())?;
        let (sender, lines) = mpsc::channel();
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        std::thread::spawn(move || {
            let mut line = String::new();
            let _ = stdout.read_line(&mut line);
            let _ = sender.send(line);
            // Read on: a full pipe would stop the daemon.
            let _ = io::copy(&mut stdout, &mut io::sink());
        });
        let line = lines.recv_timeout(PATIENCE).unwrap_or_default();
        let address = line.trim_end().strip_prefix("listening on ").and_then(|address| address.parse().ok());
        if let Some(address) = address {
            return Ok(Self { child, address });
        }
        let _ = child.kill();
        let status = child.wait();
        let said = std::fs::read_to_string(words).unwrap_or_default();
        Err(format!("the daemon does not start ({status:?}): {line:?} {}", said.trim()))
    }

    pub(crate) fn connect(&self) -> io::Result<Connection> {
        Connection::new(self.address)
    }

    /// SIGTERM, and its end.
    pub(crate) fn stop(mut self) -> Result<ExitStatus, String> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)
            .map_err(|error| error.to_string())?;
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().map_err(|error| error.to_string())? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Err("the daemon does not stop on SIGTERM".to_owned())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether the binary has a durability mode: one without it says so and ends.
pub(crate) fn has_durability(durability: &'static str, workshop: &Path) -> bool {
    let mode = Mode { durability, skip_sync: false, arguments: &[] };
    match Daemon::start(&workshop.join("probe"), mode, &workshop.join("probe.words")) {
        Ok(daemon) => daemon.stop().is_ok(),
        Err(words) if words.contains("not available") => false,
        Err(words) => panic!("{words}"),
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub status: u16,
    pub body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> io::Result<Value> {
        serde_json::from_str(&self.body).map_err(|error| io::Error::other(format!("{error}: {self:?}")))
    }
}

/// A connection on which calls may be sent ahead of the answers.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    pub(crate) fn new(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Sends text that may hold several requests.
    pub(crate) fn send(&mut self, requests: &str) -> io::Result<()> {
        self.stream.get_mut().write_all(requests.as_bytes())
    }

    pub(crate) fn call(&mut self, method: &str, path: &str, kind: &str, body: &str) -> io::Result<Answer> {
        self.send(&request(method, path, kind, body))?;
        self.receive()
    }

    /// A call without a body.
    pub(crate) fn get(&mut self, path: &str, accept: &str) -> io::Result<Answer> {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: localhost\r\naccept: {accept}\r\n\r\n"))?;
        self.receive()
    }

    pub(crate) fn post(&mut self, path: &str, body: &Value) -> io::Result<Answer> {
        self.call("POST", path, "application/json", &body.to_string())
    }

    /// The next answer; its length comes from the head, or in chunks.
    pub(crate) fn receive(&mut self) -> io::Result<Answer> {
        let line = self.line()?;
        let status = line.split(' ').nth(1).and_then(|word| word.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("not a status line: {line:?}")))?;
        let (mut length, mut chunked) = (0, false);
        loop {
            let line = self.line()?.to_ascii_lowercase();
            match line.split_once(": ") {
                Some(("content-length", value)) => length = value.parse().map_err(io::Error::other)?,
                Some(("transfer-encoding", value)) => chunked = value == "chunked",
                Some(_) => {}
                None => break,
            }
        }
        let mut body = Vec::new();
        if chunked {
            while let Some(chunk) = self.chunk()? {
                body.extend(chunk);
            }
        } else {
            body = self.bytes(length)?;
        }
        Ok(Answer { status, body: String::from_utf8_lossy(&body).into_owned() })
    }

    fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let length = usize::from_str_radix(&self.line()?, 16).map_err(io::Error::other)?;
        let mut chunk = self.bytes(length + 2)?;
        chunk.truncate(length);
        Ok((length > 0).then_some(chunk))
    }

    fn bytes(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        line.truncate(line.trim_end().len());
        Ok(line)
    }
}

/// One request with a body.
pub(crate) fn request(method: &str, path: &str, kind: &str, body: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}
