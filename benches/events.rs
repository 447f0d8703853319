//! Events: how many a second reach a reader that follows, how fast a reader reads from the oldest on, and what readers that
//! follow cost a lease.
//!
//! `cargo bench --bench events`, `-- --small` for a tenth of it, `-- --dir DIR` on a disk. The server is a process of its own
//! on core 0, the client is on core 1. Printed are events a second, with the server's processor time per event, and
//! percentiles of leases that come at a fixed rate.

#![allow(clippy::unwrap_used, clippy::cast_sign_loss, dead_code, missing_docs)]

#[path = "support/mod.rs"]
mod support;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use allotd::numbers::number::{Number, NumberRange};
use serde_json::{Value, json};

use support::daemon::Daemon;
use support::process;

const POOL_NUMBERS: u64 = 8_000_000;
const EVENTS: u64 = 4_000_000;
const LEASES_PER_CALL: u64 = 10_000;
const READERS: usize = 100;
const RATE: u32 = 500;
const RATE_SECONDS: u32 = 10;
const READ_BYTES: usize = 1 << 18;

/// A connection on which responses are read as bytes.
struct Raw {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Raw {
    fn connect(address: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).unwrap(), buffer: vec![0; READ_BYTES] }
    }

    /// The events of a response: how many.
    fn events(address: SocketAddr, from: u64, limit: u64, wait: u64) -> io::Result<u64> {
        let mut raw = Self::connect(address);
        let query = format!("from={from}&limit={limit}&wait={wait}");
        let head = format!(
            "GET /v1/pools/ru/events?{query} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        );
        raw.stream.write_all(head.as_bytes())?;
        let (mut count, mut last) = (0, 0);
        loop {
            let read = raw.stream.read(&mut raw.buffer)?;
            if read == 0 {
                return Ok(count);
            }
            // An event is a line that ends with a brace.
            for byte in &raw.buffer[..read] {
                count += u64::from(*byte == b'\n' && last == b'}');
                last = *byte;
            }
        }
    }

    /// Follows the events from one on until it is over: each call waits for more.
    fn follow(address: SocketAddr, mut from: u64, is_over: &AtomicBool) {
        let mut raw = Self::connect(address);
        while !is_over.load(Ordering::Relaxed) {
            let head =
                format!("GET /v1/pools/ru/events?from={from}&wait=1 HTTP/1.1\r\nHost: localhost\r\n\r\n");
            raw.stream.write_all(head.as_bytes()).unwrap();
            let mut filled = 0;
            // The last chunk, or a head that says that nothing follows.
            let is_empty = |answer: &[u8]| answer.windows(17).any(|at| at == b"content-length: 0");
            let is_end = |answer: &[u8]| {
                answer.ends_with(b"\r\n0\r\n\r\n") || answer.ends_with(b"\r\n\r\n") && is_empty(answer)
            };
            while !is_end(&raw.buffer[..filled]) {
                filled += raw.stream.read(&mut raw.buffer[filled..]).unwrap();
            }
            from += raw.buffer[..filled].windows(2).filter(|pair| pair == b"}\n").count() as u64;
        }
    }

    /// A lease of one number.
    fn lease(&mut self) {
        self.stream.write_all(b"POST /v1/pools/ru/lease HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut filled = 0;
        loop {
            filled += self.stream.read(&mut self.buffer[filled..]).unwrap();
            let answer = &self.buffer[..filled];
            if answer.ends_with(b"}]}") || answer.ends_with(b"}") {
                assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(answer));
                return;
            }
        }
    }
}

fn kept(daemon: &Daemon) -> (u64, u64) {
    let stats: Value = daemon.get("/v1/stats");
    let events = &stats["pools"]["ru"]["events"];
    (events["oldest"].as_u64().unwrap(), events["newest"].as_u64().unwrap() + 1)
}

fn print(what: &str, events: u64, took: Duration, cpu: Duration) {
    let (rate, each) = (events as f64 / took.as_secs_f64(), cpu.as_secs_f64() * 1e9 / events as f64);
    println!("{what}: {rate:.0} events a second, {each:.0} ns of the server each");
}

/// Leases in large calls, beside a reader that follows.
fn follow(daemon: &Daemon, events: u64) {
    let (_, begin) = kept(daemon);
    let (started, before) = (Instant::now(), daemon.process.cpu().unwrap());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..events / LEASES_PER_CALL {
                daemon.post("/v1/pools/ru/lease", &json!({"count": LEASES_PER_CALL}));
            }
        });
        let mut read = 0;
        while read < events {
            read += Raw::events(daemon.address, begin + read, 1_000_000, 10).unwrap();
        }
    });
    let (took, cpu) = (started.elapsed(), daemon.process.cpu().unwrap().saturating_sub(before));
    print(
        &format!("{events} leases of {LEASES_PER_CALL} a call, and their events to one reader"),
        events,
        took,
        cpu,
    );
}

fn oldest(daemon: &Daemon) {
    let (oldest, next) = kept(daemon);
    let (started, before) = (Instant::now(), daemon.process.cpu().unwrap());
    let mut from = oldest;
    while from < next {
        from += Raw::events(daemon.address, from, 1_000_000, 0).unwrap();
    }
    let (took, cpu) = (started.elapsed(), daemon.process.cpu().unwrap().saturating_sub(before));
    print("reading from the oldest on", next - oldest, took, cpu);
}

/// Leases at a fixed rate: how long each took, from when it was due.
fn at_rate(daemon: &Daemon) -> Vec<Duration> {
    let mut raw = Raw::connect(daemon.address);
    raw.stream.set_nodelay(true).unwrap();
    let started = Instant::now();
    let due = |call: u32| started + Duration::from_secs(1) * call / RATE;
    let calls = 0..RATE * RATE_SECONDS;
    let mut times: Vec<_> = calls
        .map(|call| {
            std::thread::sleep(due(call).saturating_duration_since(Instant::now()));
            raw.lease();
            due(call).elapsed()
        })
        .collect();
    times.sort_unstable();
    times
}

fn readers(daemon: &Daemon) {
    for count in [0, READERS, 0, READERS] {
        let is_over = AtomicBool::new(false);
        let (_, begin) = kept(daemon);
        let before = daemon.process.cpu().unwrap();
        let times = std::thread::scope(|scope| {
            for _ in 0..count {
                scope.spawn(|| Raw::follow(daemon.address, begin, &is_over));
            }
            let times = at_rate(daemon);
            is_over.store(true, Ordering::Relaxed);
            times
        });
        let cpu = daemon.process.cpu().unwrap().saturating_sub(before);
        let at = |share: usize| times[times.len() * share / 1_000];
        println!(
            "{RATE} leases a second beside {count} readers that follow: p50 {:.0?}, p99 {:.0?}; {cpu:.2?} of the server",
            at(500),
            at(990)
        );
    }
}

fn run(dir: &Path, share: u64) {
    let flags = ["--events-keep", "1GiB,1h", "--durability", "interval", "--workers", "1"];
    let mut daemon = Daemon::start(&dir.join("data"), &[process::SERVER_CORE], &flags);
    let number = |value| Number::new(value).unwrap();
    let first = 79_000_000_000;
    let range = NumberRange::new(number(first), number(first + POOL_NUMBERS / share - 1)).unwrap();
    daemon.create_pool("ru", "ttl=86400", &[range]);
    follow(&daemon, EVENTS / share);
    oldest(&daemon);
    readers(&daemon);
    daemon.process.stop(rustix::process::Signal::TERM);
}

fn main() {
    process::run_as_client();
    let args: Vec<String> = std::env::args().collect();
    let share = if args.iter().any(|arg| arg == "--small") { 10 } else { 1 };
    let at = args.iter().position(|arg| arg == "--dir");
    let parent = at.map_or_else(std::env::temp_dir, |at| args[at + 1].clone().into());
    let dir = tempfile::tempdir_in(parent).unwrap();
    run(dir.path(), share);
}
