//! Calls that wait: what they cost while nothing happens, and how soon a return reaches the first of them.
//!
//! `cargo bench --bench waiting`, `-- --dir DIR` on a disk. The server is a process of its own on core 0, the client is on
//! core 1. A pool of one number has [`WAITERS`] calls that wait for it. Each step returns the number, and the call that gets it
//! waits again. Printed are percentiles of the time from sending the return to its own answer and to that of the call.

#![allow(clippy::unwrap_used, clippy::cast_sign_loss, dead_code, missing_docs)]

#[path = "support/mod.rs"]
mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use allotd::numbers::number::{Number, NumberRange};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;

use support::daemon::Daemon;
use support::process;

const WAITERS: usize = 10_000;
const STEPS: usize = 20_000;
/// How long nothing happens.
const STILL: Duration = Duration::from_secs(5);
const NUMBER: u64 = 79_000_000_000;
const BODY: &str = r#"{"wait":60}"#;
const MAX_ANSWER_BYTES: usize = 1 << 12;

/// The connections of the calls that wait.
struct Waiters {
    streams: Vec<TcpStream>,
    epoll: OwnedFd,
}

impl Waiters {
    fn connect(address: SocketAddr) -> Self {
        let epoll = epoll::create(CreateFlags::CLOEXEC).unwrap();
        let streams: Vec<_> = (0..WAITERS).map(|_| TcpStream::connect(address).unwrap()).collect();
        for (place, stream) in streams.iter().enumerate() {
            stream.set_nodelay(true).unwrap();
            epoll::add(&epoll, stream, EventData::new_u64(place as u64), EventFlags::IN).unwrap();
        }
        let mut waiters = Self { streams, epoll };
        (0..WAITERS).for_each(|place| waiters.wait(place));
        waiters
    }

    fn wait(&mut self, place: usize) {
        let length = BODY.len();
        let request = format!(
            "POST /v1/pools/ru/lease HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{BODY}"
        );
        self.streams[place].write_all(request.as_bytes()).unwrap();
    }

    /// The place of the next call that is answered, and its lease's token. A call that has waited too long waits again.
    fn next(&mut self) -> (usize, String) {
        loop {
            let mut events = Vec::with_capacity(1);
            epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), None).unwrap();
            let Some(event) = events.first() else { continue };
            let place = event.data.u64() as usize;
            let answer = read(&mut self.streams[place]);
            if answer.starts_with("HTTP/1.1 200") {
                return (place, token(&answer));
            }
            assert!(answer.contains("\"exhausted\""), "{answer}");
            self.wait(place);
        }
    }
}

fn read(stream: &mut TcpStream) -> String {
    let mut buffer = [0; MAX_ANSWER_BYTES];
    let mut filled = 0;
    loop {
        let count = stream.read(&mut buffer[filled..]).unwrap();
        assert!(count > 0, "the connection ended");
        filled += count;
        let text = std::str::from_utf8(&buffer[..filled]).unwrap();
        if text.contains("\r\n\r\n") && text.ends_with('}') {
            return text.to_owned();
        }
    }
}

fn token(answer: &str) -> String {
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let leases: Value = serde_json::from_str(body).unwrap();
    leases["leases"][0]["token"].as_str().unwrap().to_owned()
}

fn print(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |share: usize| times[(times.len() * share / 1_000).min(times.len() - 1)];
    println!(
        "{what}: p50 {:.0?}, p99 {:.0?}, p99.9 {:.0?}, longest {:.0?}",
        at(500),
        at(990),
        at(999),
        at(1_000)
    );
}

fn run(dir: &Path, durability: &str) {
    // All come from one address.
    let flags = ["--durability", durability, "--workers", "1", "--max-connections-per-address", "12000"];
    let mut daemon = Daemon::start(&dir.join(durability), &[process::SERVER_CORE], &flags);
    let number = Number::new(NUMBER).unwrap();
    let ranges = [NumberRange::single(number)];
    daemon.create_pool("ru", "ttl=86400&max_waiters=20000", &ranges);
    let mut caller = TcpStream::connect(daemon.address).unwrap();
    caller.set_nodelay(true).unwrap();
    caller.write_all(b"POST /v1/pools/ru/lease HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut held = token(&read(&mut caller));
    let mut waiters = Waiters::connect(daemon.address);
    while daemon.get("/v1/stats")["pools"]["ru"]["waiters"] != WAITERS {
        std::thread::sleep(Duration::from_millis(50));
    }
    let before = daemon.process.cpu().unwrap();
    std::thread::sleep(STILL);
    let still = daemon.process.cpu().unwrap().saturating_sub(before);
    println!(
        "{durability}, {WAITERS} calls wait: {still:.0?} of the server in {STILL:.0?} in which nothing happens"
    );
    let (mut returns, mut calls, mut beyond) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..STEPS {
        let path = format!("/v1/pools/ru/numbers/{NUMBER}/return");
        let request = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nLease-Token: {held}\r\n\r\n");
        let begun = Instant::now();
        caller.write_all(request.as_bytes()).unwrap();
        let answer = read(&mut caller);
        let returned = begun.elapsed();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let (place, token) = waiters.next();
        let reached = begun.elapsed();
        waiters.wait(place);
        held = token;
        returns.push(returned);
        calls.push(reached);
        beyond.push(reached.saturating_sub(returned));
    }
    print("  from the return to its own answer", returns);
    print("  from the return to the answer of the first call", calls);
    print("  the one beyond the other", beyond);
    daemon.process.stop(rustix::process::Signal::TERM);
}

/// As many connections as the system lets this process have.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
}

fn main() {
    raise_descriptor_limit();
    process::run_as_client();
    let args: Vec<String> = std::env::args().collect();
    let at = args.iter().position(|arg| arg == "--dir");
    let parent = at.map_or_else(std::env::temp_dir, |at| args[at + 1].clone().into());
    let dir = tempfile::tempdir_in(parent).unwrap();
    for durability in ["none", "sync"] {
        run(dir.path(), durability);
    }
}
