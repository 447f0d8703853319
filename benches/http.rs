//! What an HTTP lease costs the server, against a bare hyper answer with the same headers and length; and
//! what it costs to promise that a lease is on the disk (`sync` against `none`).
//!
//! `cargo bench --bench http` (`-- --numbers N` for a smaller pool). The servers run on core 0, each in a
//! process of its own, the client on core 1. They alternate, so that other load on the machine
//! affects both. Printed are medians of [`ROUNDS`] rounds with their lowest and highest. "µs" is the
//! server's user and system time per request. Leases are plain, in random order, and last for a day: of 40
//! million numbers the rounds take less than half.

#![allow(clippy::unwrap_used, clippy::cast_sign_loss, missing_docs)]

mod bare;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use allotd::bench::cpu;
use allotd::domain::settings::{Settings, SettingsChange};
use allotd::engine::operations::import::NumberSource;
use allotd::engine::{Engine, EngineConfig};
use allotd::numbers::sample::{Spread, ru_mobile_sample};
use bytes::Bytes;
use rustix::thread::{CpuSet, sched_setaffinity};

const REFERENCE: u64 = 40_000_000;
const SEED: u64 = 2022;
const ROUNDS: usize = 5;
const ROUND_TIME: Duration = Duration::from_millis(1500);
/// Of batches that are kept, so that the pool does not run out.
const SHORT_ROUND_TIME: Duration = Duration::from_millis(300);
const WARM_UP_TIME: Duration = Duration::from_millis(300);
const SINGLE_CALLS: usize = 10_000;
const BATCH: usize = 10_000;
const BATCH_CONNECTIONS: usize = 2;
/// A batch of fewer numbers than requested would be shorter.
const MIN_LEASE_BYTES: usize = 90;
/// Leases per page of words before the rounds: a page in a hundred thousand stays untouched.
const TOUCHES_PER_PAGE: u64 = 12;
const MAX_LEASE_COUNT: u64 = 65_536;
/// Until the touching leases have ended, and most pages were written to the disk.
const TOUCH_PAUSE: Duration = Duration::from_secs(10);
/// After this long without an answer something else has the server's core: the client then yields its own.
const MAX_SPIN_TIME: Duration = Duration::from_micros(100);
const LEASE: &[u8] = b"POST /v1/pools/p/lease HTTP/1.1\r\nHost: localhost\r\n\r\n";
const SERVER_CORE: usize = 0;
const CLIENT_CORE: usize = 1;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let value_of = |flag: &str| args.iter().position(|arg| arg == flag).map(|at| args[at + 1].clone());
    if let Some(body) = value_of(bare::FLAG) {
        return bare::serve(&Bytes::from(body));
    }
    let numbers = value_of("--numbers").map_or(REFERENCE, |text| text.parse().unwrap());
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    run_on(SERVER_CORE);
    let [none, sync] = [("none", &dirs[0]), ("sync", &dirs[1])].map(|(durability, dir)| {
        create_pool(dir.path(), numbers);
        let mut allotd = Command::new(env!("CARGO_BIN_EXE_allotd"));
        allotd.args([
            "serve",
            "--workers",
            "1",
            "--listen",
            "127.0.0.1:0",
            "--durability",
            durability,
            "--data",
        ]);
        Server::start(durability, allotd.arg(dir.path()))
    });
    let mut first = none.connect();
    first.write_all(LEASE).unwrap();
    let body = String::from_utf8(read_answer(&mut first)).unwrap();
    let mut bare = Command::new(std::env::current_exe().unwrap());
    let bare = Server::start("bare", bare.args([bare::FLAG, &body]));
    run_on(CLIENT_CORE);
    for server in [&none, &sync] {
        touch_pages(server, numbers);
    }
    println!("{numbers} numbers; body {} bytes", body.len());
    for (connections, depth) in [(64, 1), (64, 16), (512, 1)] {
        compare(&[&bare, &none, &sync], connections, depth);
    }
    for server in [&bare, &none, &sync] {
        single(server);
    }
    for server in [&none, &sync] {
        batch(server, 86_400, "kept", SHORT_ROUND_TIME);
        batch(server, 1, "swept after a second", ROUND_TIME);
    }
}

fn create_pool(dir: &std::path::Path, numbers: u64) {
    let engine = Engine::open(&EngineConfig::new(dir, 1)).unwrap();
    let change = SettingsChange { ttl: Some(86_400), ..SettingsChange::default() };
    let settings = Settings::default().changed(&change).unwrap();
    let ranges: Vec<_> = ru_mobile_sample(numbers, SEED, Spread::Blocks).unwrap().collect();
    engine.create_pool(&"p".parse().unwrap(), settings, NumberSource::Ranges(&ranges)).unwrap();
    engine.close().unwrap();
}

/// Leases enough numbers, in random order and for a second, to write to every page of the words: the
/// first write to a page costs the kernel more than a lease, and happens once after a start.
fn touch_pages(server: &Server, numbers: u64) {
    let mut stream = server.connect();
    for _ in 0..=numbers / 512 * TOUCHES_PER_PAGE / MAX_LEASE_COUNT {
        stream.write_all(lease_request(MAX_LEASE_COUNT as usize, 1).as_bytes()).unwrap();
        read_answer(&mut stream);
    }
    std::thread::sleep(TOUCH_PAUSE);
}

fn lease_request(count: usize, ttl_seconds: u32) -> String {
    let body = format!("{{\"count\":{count},\"ttl\":{ttl_seconds}}}");
    let length = body.len();
    format!(
        "POST /v1/pools/p/lease HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

/// Pins this process, and those that it starts from now on, to a core.
fn run_on(core: usize) {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).unwrap();
}

/// A server process; ended when dropped.
struct Server {
    name: &'static str,
    process: Child,
    address: SocketAddr,
}

impl Server {
    fn start(name: &'static str, command: &mut Command) -> Self {
        let process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut server = Self { name, process, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let mut line = String::new();
        BufReader::new(server.process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        server.address = line.trim().rsplit(['/', ' ']).next().unwrap().parse().expect("the server starts");
        server
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// User and system time of all threads so far.
    fn cpu_time(&self) -> Duration {
        cpu::of_process(self.process.id()).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// Reads one answer and gives its body.
fn read_answer(stream: &mut TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    let mut chunk = vec![0; 1 << 18];
    let mut length = usize::MAX;
    while answer.len() < length {
        let read = stream.read(&mut chunk).unwrap();
        assert!(read > 0, "the server closed the connection");
        answer.extend_from_slice(&chunk[..read]);
        if length == usize::MAX
            && let Some(head) = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n")
        {
            let text = String::from_utf8_lossy(&answer[..head]).to_lowercase();
            assert!(text.starts_with("http/1.1 200"), "{text}");
            let stated = text.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            length = head + 4 + stated.parse::<usize>().unwrap();
        }
    }
    assert_eq!(answer.len(), length);
    let body = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
    answer.split_off(body)
}

/// One round's figures.
struct Round {
    calls_per_second: f64,
    cpu_microseconds: f64,
}

/// Connections with `depth` requests in flight on each, all the time. All answers have one
/// length, so that the client only counts bytes. It does not sleep on its sockets: a server that has to wake its
/// client, which costs more than a request here, would look dearer the slower it is.
struct Load {
    streams: Vec<TcpStream>,
    request: Vec<u8>,
    answer_bytes: usize,
    depth: usize,
    buffer: Vec<u8>,
}

impl Load {
    fn new(server: &Server, connections: usize, depth: usize) -> Self {
        let mut streams: Vec<_> = (0..connections).map(|_| server.connect()).collect();
        streams[0].write_all(LEASE).unwrap();
        let mut buffer = vec![0; 1 << 16];
        let answer_bytes = streams[0].read(&mut buffer).unwrap();
        let mut load = Self { streams, request: LEASE.repeat(depth), answer_bytes, depth, buffer };
        for stream in &mut load.streams {
            stream.write_all(&load.request).unwrap();
            stream.set_nonblocking(true).unwrap();
        }
        load
    }

    /// Answers to all requests under way on one connection.
    fn take_answers(&mut self, at: usize) {
        let expected = self.answer_bytes * self.depth;
        let (mut received, mut waiting_since) = (0, None);
        while received < expected {
            received += match self.streams[at].read(&mut self.buffer[received..]) {
                Ok(0) => panic!("the server closed the connection"),
                Ok(read) => read,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    let since = *waiting_since.get_or_insert_with(Instant::now);
                    if since.elapsed() > MAX_SPIN_TIME {
                        std::thread::sleep(MAX_SPIN_TIME);
                    }
                    0
                }
                Err(error) => panic!("{error}"),
            };
        }
        assert!(received == expected && self.buffer.starts_with(b"HTTP/1.1 200 OK\r\n"), "another answer");
    }

    fn run(&mut self, time: Duration) -> u64 {
        let start = Instant::now();
        let mut calls = 0;
        while start.elapsed() < time {
            for at in 0..self.streams.len() {
                self.take_answers(at);
                self.streams[at].write_all(&self.request).unwrap();
                calls += self.depth as u64;
            }
        }
        calls
    }

    fn round(&mut self, server: &Server) -> Round {
        self.run(WARM_UP_TIME);
        let (start, cpu) = (Instant::now(), server.cpu_time());
        let calls = self.run(ROUND_TIME) as f64;
        let (spent, cpu) = (start.elapsed(), server.cpu_time().checked_sub(cpu).unwrap());
        Round {
            calls_per_second: calls / spent.as_secs_f64(),
            cpu_microseconds: cpu.as_secs_f64() * 1e6 / calls,
        }
    }

    /// Takes the last answers, so that the server idles while others are measured.
    fn stop(mut self) {
        for at in 0..self.streams.len() {
            self.take_answers(at);
        }
    }
}

/// Median, lowest and highest.
fn spread(values: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    [values[values.len() / 2], values[0], values[values.len() - 1]]
}

fn compare(servers: &[&Server], connections: usize, depth: usize) {
    let mut rounds: Vec<Vec<Round>> = servers.iter().map(|_| Vec::new()).collect();
    for _ in 0..ROUNDS {
        for (server, rounds) in servers.iter().zip(&mut rounds) {
            let mut load = Load::new(server, connections, depth);
            rounds.push(load.round(server));
            load.stop();
        }
    }
    let what = format!("{connections} connections, P{depth}");
    for (server, rounds) in servers.iter().zip(&rounds) {
        let [rate, slowest, fastest] = spread(rounds.iter().map(|round| round.calls_per_second));
        let [cpu, least, most] = spread(rounds.iter().map(|round| round.cpu_microseconds));
        println!(
            "{what}: {:5} {cpu:.2} µs ({least:.2} to {most:.2}), {rate:.0} requests/s ({slowest:.0} to {fastest:.0})",
            server.name
        );
    }
    let ratio = |name: &str, a: usize, b: usize, figure: fn(&Round) -> f64| {
        let ratios = rounds[a].iter().zip(&rounds[b]).map(|(a, b)| figure(a) / figure(b));
        let [ratio, least, most] = spread(ratios);
        println!("{what}: {name} {ratio:.2} ({least:.2} to {most:.2})");
    };
    ratio("server time, none / bare", 1, 0, |round| round.cpu_microseconds);
    ratio("server time, sync / bare", 2, 0, |round| round.cpu_microseconds);
    ratio("requests/s, sync / none", 2, 1, |round| round.calls_per_second);
}

/// Latency of calls one after another on one connection.
fn single(server: &Server) {
    let mut stream = server.connect();
    let mut latencies: Vec<Duration> = (0..SINGLE_CALLS)
        .map(|_| {
            let start = Instant::now();
            stream.write_all(LEASE).unwrap();
            read_answer(&mut stream);
            start.elapsed()
        })
        .collect();
    latencies.sort_unstable();
    let quantile = |q: f64| latencies[((latencies.len() - 1) as f64 * q) as usize];
    println!("one connection, {}: p50 {:.1?}, p99 {:.1?}", server.name, quantile(0.5), quantile(0.99));
}

/// Leases of [`BATCH`] numbers for `ttl_seconds`; `what` says whether the sweep returns them meanwhile.
fn batch(server: &Server, ttl_seconds: u32, what: &str, round_time: Duration) {
    let request = lease_request(BATCH, ttl_seconds);
    let mut streams: Vec<_> = (0..BATCH_CONNECTIONS).map(|_| server.connect()).collect();
    let mut round = || {
        for stream in &mut streams {
            stream.write_all(request.as_bytes()).unwrap();
        }
        let (start, cpu) = (Instant::now(), server.cpu_time());
        let mut numbers = 0;
        while start.elapsed() < round_time {
            for stream in &mut streams {
                assert!(read_answer(stream).len() > BATCH * MIN_LEASE_BYTES, "fewer numbers than asked for");
                stream.write_all(request.as_bytes()).unwrap();
                numbers += BATCH;
            }
        }
        let (spent, cpu) = (start.elapsed(), server.cpu_time().checked_sub(cpu).unwrap());
        for stream in &mut streams {
            read_answer(stream);
        }
        let numbers = numbers as f64;
        Round {
            calls_per_second: numbers / spent.as_secs_f64(),
            cpu_microseconds: cpu.as_secs_f64() * 1e6 / numbers,
        }
    };
    let rounds: Vec<Round> = (0..ROUNDS).map(|_| round()).collect();
    let [rate, slowest, fastest] = spread(rounds.iter().map(|round| round.calls_per_second / 1e6));
    let [cpu, least, most] = spread(rounds.iter().map(|round| round.cpu_microseconds));
    println!(
        "batch of {BATCH}, {what}, {}: {cpu:.3} µs per number ({least:.3} to {most:.3}), {:.1} M numbers/s per core; {rate:.1} M/s here ({slowest:.1} to {fastest:.1})",
        server.name,
        1.0 / cpu
    );
}
