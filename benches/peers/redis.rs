//! Redis with the usual Lua scripts: a lease takes a member out of a set and sets a key with the token that
//! expires; a return checks the token and puts the member back. (An expired number does not become
//! available: a service that uses this adds a sweep of its own, which is not measured.)

use allotd::bench::transport::Transport;
use std::collections::VecDeque;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use allotd::bench::Protocol;
use allotd::bench::answers::AnswerError;
use allotd::bench::protocol::Received;
use allotd::numbers::number::NumberRange;
use memchr::memmem;
use rustix::process::Signal;

use super::peer::{
    BoxedTalk, Case, Class, Facts, LEASE, Operation, Peer, REFUSED, RETURN, SUCCESS, TTL_SECONDS, next_seed,
};
use super::process::{Process, check_signals, connect_patiently, free_port};

const LEASE_SCRIPT: &str = "local n=redis.call('SPOP',KEYS[1]) if not n then return false end \
     redis.call('SET','l:'..n,ARGV[1],'EX',ARGV[2]) return n";
const RETURN_SCRIPT: &str = "local k='l:'..ARGV[1] if redis.call('GET',k)==ARGV[2] then \
     redis.call('DEL',k) redis.call('SADD',KEYS[1],ARGV[1]) return 1 end return 0";
/// Takes members out without sending them.
const FILL_SCRIPT: &str = "redis.call('SPOP',KEYS[1],ARGV[1]) return 1";
/// Members of one [`FILL_SCRIPT`].
const FILL_BATCH: u64 = 10_000;
/// Members of one `SADD`.
const BATCH: u64 = 1_000;
/// Commands under way while loading.
const LOAD_DEPTH: usize = 64;

fn command(out: &mut Vec<u8>, parts: &[&[u8]]) {
    write!(out, "*{}\r\n", parts.len()).unwrap();
    for part in parts {
        write!(out, "${}\r\n", part.len()).unwrap();
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
    }
}

/// A connection for single commands.
struct Calls(BufReader<TcpStream>);

impl Calls {
    fn connect(port: u16) -> Self {
        Self(BufReader::new(connect_patiently(port)))
    }

    fn send(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).unwrap();
    }

    /// One simple answer, or the text of one that has a length.
    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        let line = line.trim_end().to_owned();
        let Some(length) = line.strip_prefix('$') else { return line };
        let mut text = vec![0; length.parse::<usize>().unwrap() + 2];
        self.0.read_exact(&mut text).unwrap();
        String::from_utf8_lossy(&text).trim_end().to_owned()
    }

    fn call(&mut self, parts: &[&[u8]]) -> String {
        let mut out = Vec::new();
        command(&mut out, parts);
        self.send(&out);
        self.answer()
    }

    /// How many members the set has.
    fn members(&mut self) -> u64 {
        self.call(&[b"SCARD", b"p"]).trim_start_matches(':').parse().unwrap()
    }

    /// Waits until the data is read.
    fn ready(&mut self) {
        while self.call(&[b"PING"]) != "+PONG" {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn start(dir: &Path, class: Class, port: u16) -> Process {
    let port = port.to_string();
    let mut redis = Command::new("redis-server");
    redis.args(["--bind", "127.0.0.1", "--port", &port, "--save", "", "--dir"]).arg(dir);
    redis.args(["--auto-aof-rewrite-percentage", "0", "--daemonize", "no"]);
    let sync = match class {
        Class::None => None,
        Class::Interval => Some("everysec"),
        Class::Sync => Some("always"),
    };
    if let Some(sync) = sync {
        redis.args(["--appendonly", "yes", "--appendfsync", sync]);
    }
    Process::start(&mut redis, &dir.join("log"))
}

/// Adds the numbers; returns how long it took, in seconds.
fn load(port: u16, ranges: &[NumberRange]) -> f64 {
    let started = Instant::now();
    let mut calls = Calls::connect(port);
    let (mut out, mut members, mut commands) = (Vec::new(), Vec::new(), 0);
    let mut flush = |out: &mut Vec<u8>, commands: &mut usize| {
        check_signals();
        calls.send(out);
        for _ in 0..std::mem::take(commands) {
            assert!(calls.answer().starts_with(':'));
        }
        out.clear();
    };
    let put = |members: &mut Vec<String>, out: &mut Vec<u8>| {
        let mut parts: Vec<&[u8]> = vec![b"SADD", b"p"];
        parts.extend(members.iter().map(String::as_bytes));
        command(out, &parts);
        members.clear();
    };
    for range in ranges {
        for number in range.first().get()..=range.last().get() {
            members.push(number.to_string());
            if members.len() as u64 == BATCH {
                put(&mut members, &mut out);
                commands += 1;
            }
            if commands == LOAD_DEPTH {
                flush(&mut out, &mut commands);
            }
        }
    }
    if !members.is_empty() {
        put(&mut members, &mut out);
        commands += 1;
    }
    flush(&mut out, &mut commands);
    started.elapsed().as_secs_f64()
}

/// The numbers in Redis' own file, and what making it showed.
pub(crate) struct Dump {
    file: PathBuf,
    facts: Facts,
}

impl Dump {
    pub(crate) fn make(dir: &Path, ranges: &[NumberRange], numbers: u64) -> Self {
        let dir = dir.join("redis-dump");
        fs::create_dir(&dir).unwrap();
        let port = free_port();
        let mut process = start(&dir, Class::None, port);
        Calls::connect(port).ready();
        let empty_bytes = process.resident_bytes();
        let load_seconds = load(port, ranges);
        assert_eq!(Calls::connect(port).members(), numbers);
        let resident = process.resident_bytes() - empty_bytes;
        assert_eq!(Calls::connect(port).call(&[b"SAVE"]), "+OK");
        process.stop(Signal::TERM);
        let facts = Facts {
            numbers,
            load_seconds: Some(load_seconds),
            restart_seconds: None,
            bytes_a_number: Some(resident as f64 / numbers as f64),
            note: "loaded by SADD of 1,000, into memory; an open lease takes more",
        };
        Self { file: dir.join("dump.rdb"), facts }
    }
}

/// A server of its own.
pub(crate) struct Redis {
    process: Process,
    port: u16,
    class: Class,
    facts: Facts,
    lease_hash: String,
    return_hash: String,
}

impl Redis {
    pub(crate) fn start(dir: &Path, class: Class, dump: &Dump) -> Self {
        let dir = dir.join(format!("redis-{}", class.as_str()));
        fs::create_dir(&dir).unwrap();
        if class == Class::None {
            fs::copy(&dump.file, dir.join("dump.rdb")).unwrap();
        } else {
            // The log begins with the dump, as after a rewrite.
            let log = dir.join("appendonlydir");
            fs::create_dir(&log).unwrap();
            fs::copy(&dump.file, log.join("appendonly.aof.1.base.rdb")).unwrap();
            fs::write(log.join("appendonly.aof.1.incr.aof"), "").unwrap();
            let manifest =
                "file appendonly.aof.1.base.rdb seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n";
            fs::write(log.join("appendonly.aof.manifest"), manifest).unwrap();
        }
        let port = free_port();
        let started = Instant::now();
        let process = start(&dir, class, port);
        let mut calls = Calls::connect(port);
        calls.ready();
        let restart_seconds = Some(started.elapsed().as_secs_f64());
        assert_eq!(calls.members(), dump.facts.numbers, "redis with its numbers");
        let [lease_hash, return_hash] =
            [LEASE_SCRIPT, RETURN_SCRIPT].map(|script| calls.call(&[b"SCRIPT", b"LOAD", script.as_bytes()]));
        let facts = Facts { restart_seconds, ..dump.facts.clone() };
        Self { process, port, class, facts, lease_hash, return_hash }
    }
}

impl Peer for Redis {
    fn name(&self) -> String {
        let mode = match self.class {
            Class::None => "no AOF",
            Class::Interval => "everysec",
            Class::Sync => "always",
        };
        format!("redis {mode}")
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
        let stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_nodelay(true)?;
        let talk = Scripts {
            lease_hash: self.lease_hash.clone(),
            return_hash: self.return_hash.clone(),
            returns: operation == Operation::LeaseReturn,
            token: next_seed(),
            asked: VecDeque::new(),
            held: VecDeque::new(),
        };
        Ok((stream.into(), Box::new(talk)))
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
        let mut calls = Calls::connect(self.port);
        let mut surplus = calls.members().saturating_sub(left);
        while surplus > 0 {
            check_signals();
            let count = surplus.min(FILL_BATCH);
            surplus -= count;
            let done =
                calls.call(&[b"EVAL", FILL_SCRIPT.as_bytes(), b"1", b"p", count.to_string().as_bytes()]);
            assert_eq!(done, ":1");
        }
    }
}

/// What a connection sends and reads.
struct Scripts {
    lease_hash: String,
    return_hash: String,
    /// Whether leases are returned.
    returns: bool,
    /// The next token.
    token: u64,
    /// The calls under way: the token of a lease, none for a return.
    asked: VecDeque<Option<u64>>,
    /// Number and token of leases that are to be returned.
    held: VecDeque<(Vec<u8>, u64)>,
}

impl Protocol for Scripts {
    fn ask(&mut self, out: &mut Vec<u8>) {
        if self.ask_last(out) {
            return;
        }
        self.token = self.token.wrapping_add(1);
        let (mut token, mut ttl) = (itoa::Buffer::new(), itoa::Buffer::new());
        let (token, ttl) = (token.format(self.token).as_bytes(), ttl.format(TTL_SECONDS).as_bytes());
        command(out, &[b"EVALSHA", self.lease_hash.as_bytes(), b"1", b"p", token, ttl]);
        self.asked.push_back(Some(self.token));
    }

    fn ask_last(&mut self, out: &mut Vec<u8>) -> bool {
        let Some((number, token)) = self.held.pop_front() else { return false };
        let mut buffer = itoa::Buffer::new();
        let token = buffer.format(token).as_bytes();
        command(out, &[b"EVALSHA", self.return_hash.as_bytes(), b"1", b"p", &number, token]);
        self.asked.push_back(None);
        true
    }

    fn hear<'a>(&mut self, bytes: &'a [u8]) -> Result<Option<Received<'a>>, AnswerError> {
        let Some(end) = memmem::find(bytes, b"\r\n") else { return Ok(None) };
        let mut heard = Received { bytes: end + 2, call: LEASE, numbers: 1, status: SUCCESS, code: b"" };
        match bytes[0] {
            b'$' if bytes[1] != b'-' => {
                let length = std::str::from_utf8(&bytes[1..end]).ok().and_then(|text| text.parse().ok());
                let number = heard.bytes..heard.bytes + length.unwrap_or(0);
                if bytes.len() < number.end + 2 {
                    return Ok(None);
                }
                heard.bytes = number.end + 2;
                let token = self.asked.pop_front().flatten().ok_or(AnswerError::Protocol)?;
                if self.returns {
                    self.held.push_back((bytes[number].to_vec(), token));
                }
                return Ok(Some(heard));
            }
            b':' if bytes[1] == b'1' => heard.call = RETURN,
            _ => (heard.numbers, heard.status, heard.code) = (0, REFUSED, &bytes[..end]),
        }
        self.asked.pop_front();
        Ok(Some(heard))
    }
}
