//! allotd in each durability mode, and the bare hyper server.

use allotd::bench::transport::Transport;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use allotd::bench::callers::{self, Caller};
use allotd::bench::connection::connect;
use allotd::client::{self, Call, Payload, Server};
use hyper::Method;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::bare;
use super::peer::{BoxedTalk, Case, Class, Facts, Operation, Peer, TTL_SECONDS};
use super::process::Process;
use super::support::daemon::{MAX_BATCH, touch_pages, wait_for_returns};

const LEASE_REQUEST: &[u8] = b"POST /v1/pools/p/lease HTTP/1.1\r\nHost: localhost\r\n\r\n";
const NUMBERS_PATH: &[u8] = b"/v1/pools/p/numbers";

fn open(address: SocketAddr, operation: Operation) -> io::Result<(Transport, BoxedTalk)> {
    let caller = match operation {
        Operation::Lease => {
            let requests: Arc<[Vec<u8>]> = Arc::from([LEASE_REQUEST.to_vec()]);
            Caller::rotating(requests, 0, callers::Call::Lease, 1)
        }
        Operation::LeaseReturn => Caller::leasing_and_returning_alone(LEASE_REQUEST, NUMBERS_PATH),
    };
    Ok((connect(&Server::tcp(address))?, Box::new(caller)))
}

/// `allotd serve` with one worker.
pub(crate) struct Allotd {
    process: Process,
    address: SocketAddr,
    class: Class,
    facts: Facts,
}

fn serve(data: &Path, class: Class) -> (Process, SocketAddr) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_allotd"));
    command.args(["serve", "--workers", "1", "--listen", "127.0.0.1:0", "--durability", class.as_str()]);
    Process::start_listening(command.arg("--data").arg(data), &data.with_extension("log"))
}

impl Allotd {
    /// A pool of the numbers in the file, one per line.
    pub(crate) fn start(dir: &Path, class: Class, file: &Path, numbers: u64) -> Self {
        let data = dir.join(format!("allotd-{}", class.as_str()));
        let (mut process, address) = serve(&data, class);
        let empty_bytes = process.resident_bytes();
        let path = format!("/v1/pools/p?ttl={TTL_SECONDS}");
        let payload = Payload::files(&[PathBuf::from(file)], |_| ()).unwrap();
        let call = Call { content_type: Some("text/plain"), payload, ..Call::new(Method::PUT, &path) };
        let started = Instant::now();
        client::send(&Server::tcp(address), call).unwrap();
        let load_seconds = started.elapsed().as_secs_f64();
        let resident = process.resident_bytes().saturating_sub(empty_bytes);
        process.stop(Signal::TERM);
        drop(process);
        let started = Instant::now();
        let (process, address) = serve(&data, class);
        let facts = Facts {
            numbers,
            load_seconds: Some(load_seconds),
            restart_seconds: Some(started.elapsed().as_secs_f64()),
            bytes_a_number: Some(resident as f64 / numbers as f64),
            note: "loaded from text over HTTP, onto the disk",
        };
        let allotd = Self { process, address, class, facts };
        // As those of the others, who fill their memory when they load.
        touch_pages(&allotd.server(), "p", numbers);
        wait_for_returns(&allotd.server(), 0);
        allotd
    }

    fn server(&self) -> Server {
        Server::tcp(self.address)
    }

    /// The body of a lease's answer.
    pub(crate) fn lease_body(&self) -> String {
        client::send(&self.server(), Call::new(Method::POST, "/v1/pools/p/lease")).unwrap()
    }

    fn available(&self) -> u64 {
        let pool = client::send(&self.server(), Call::new(Method::GET, "/v1/pools/p")).unwrap();
        serde_json::from_str::<Value>(&pool).unwrap()["available"].as_u64().unwrap()
    }
}

impl Peer for Allotd {
    fn name(&self) -> String {
        format!("allotd {}", self.class.as_str())
    }

    fn class(&self) -> Class {
        self.class
    }

    fn facts(&self) -> Facts {
        self.facts.clone()
    }

    fn cases(&self) -> Vec<Case> {
        super::pipelined_cases(&[Operation::Lease, Operation::LeaseReturn])
    }

    fn open(&self, operation: Operation) -> io::Result<(Transport, BoxedTalk)> {
        open(self.address, operation)
    }

    fn cpu(&self) -> io::Result<Duration> {
        self.process.cpu()
    }

    fn over_time(&self) -> Option<Case> {
        Some(Case::new(Operation::Lease, 64, 1))
    }

    fn fill_case(&self) -> Option<Case> {
        (self.class == Class::None).then_some(Case::new(Operation::LeaseReturn, 64, 1))
    }

    fn fill(&mut self, percent: f64) {
        let left = super::numbers_left(self.facts.numbers, percent);
        loop {
            let count = self.available().saturating_sub(left).min(MAX_BATCH);
            if count == 0 {
                return;
            }
            let body = json!({ "count": count });
            client::send(&self.server(), Call::json(Method::POST, "/v1/pools/p/lease", &body)).unwrap();
        }
    }

    fn bytes_a_number_when_full(&self) -> Option<f64> {
        (self.class == Class::None).then(|| self.process.resident_bytes() as f64 / self.facts.numbers as f64)
    }
}

/// Returns an allotd lease, always the same.
pub(crate) struct Bare {
    process: Process,
    address: SocketAddr,
}

impl Bare {
    pub(crate) fn start(dir: &Path, body: &str) -> Self {
        let mut command = Command::new(fs::read_link("/proc/self/exe").unwrap());
        let (process, address) =
            Process::start_listening(command.args([bare::FLAG, body]), &dir.join("bare.log"));
        Self { process, address }
    }
}

impl Peer for Bare {
    fn name(&self) -> String {
        "bare hyper".to_owned()
    }

    fn class(&self) -> Class {
        Class::None
    }

    fn facts(&self) -> Facts {
        Facts { note: "always returns the same lease", ..Facts::default() }
    }

    fn cases(&self) -> Vec<Case> {
        super::pipelined_cases(&[Operation::Lease])
    }

    fn open(&self, operation: Operation) -> io::Result<(Transport, BoxedTalk)> {
        open(self.address, operation)
    }

    fn cpu(&self) -> io::Result<Duration> {
        self.process.cpu()
    }
}
