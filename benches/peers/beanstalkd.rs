//! beanstalkd: a number is a job; a lease is `reserve`, a return is `release`. Neither goes to its binlog, so
//! with `-f0` a job is deleted instead of released: that is logged, and synced before it is answered.

use allotd::bench::transport::Transport;
use std::collections::VecDeque;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use allotd::bench::Protocol;
use allotd::bench::answers::AnswerError;
use allotd::bench::protocol::Received;
use memchr::memmem;
use rustix::process::Signal;

use super::peer::{
    BoxedTalk, Case, Class, Facts, LEASE, Operation, Peer, REFUSED, RETURN, SUCCESS, TTL_SECONDS,
};
use super::process::{Process, connect_patiently, free_port};

/// Jobs that are put before their answers are read.
const LOAD_BATCH: u64 = 10_000;

pub(crate) struct Beanstalkd {
    process: Process,
    port: u16,
    class: Class,
    facts: Facts,
}

fn start(dir: &Path, binlog: &[&str], port: u16) -> Process {
    let mut command = Command::new("beanstalkd");
    command.args(["-l", "127.0.0.1", "-p", &port.to_string()]);
    if !binlog.is_empty() {
        command.arg("-b").arg(dir).args(binlog);
    }
    Process::start(&mut command, &dir.with_extension("log"))
}

fn put_jobs(port: u16, jobs: u64) {
    let mut stream = BufReader::new(connect_patiently(port));
    let mut line = String::new();
    for first in (0..jobs).step_by(LOAD_BATCH as usize) {
        let last = jobs.min(first + LOAD_BATCH);
        let mut out = Vec::new();
        for job in first..last {
            let number = 79_000_000_000 + job;
            write!(out, "put 0 0 {TTL_SECONDS} 11\r\n{number}\r\n").unwrap();
        }
        stream.get_mut().write_all(&out).unwrap();
        for _ in first..last {
            line.clear();
            stream.read_line(&mut line).unwrap();
            assert!(line.starts_with("INSERTED "), "{line}");
        }
    }
}

/// Waits until it answers.
fn ready(port: u16) {
    let mut stream = BufReader::new(connect_patiently(port));
    stream.get_mut().write_all(b"list-tube-used\r\n").unwrap();
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    assert_eq!(line, "USING default\r\n");
}

impl Beanstalkd {
    /// With a binlog that is synced at each write for [`Class::Sync`], without one otherwise.
    pub(crate) fn start(dir: &Path, class: Class, jobs: u64) -> Self {
        let dir = dir.join(format!("beanstalkd-{}", class.as_str()));
        fs::create_dir(&dir).unwrap();
        let mut port = free_port();
        // Not synced while loading: a sync per job would take minutes.
        let mut process = start(&dir, if class == Class::Sync { &["-F"] } else { &[] }, port);
        ready(port);
        let empty_bytes = process.resident_bytes();
        let started = Instant::now();
        put_jobs(port, jobs);
        let load_seconds = Some(started.elapsed().as_secs_f64());
        let bytes_a_number = Some((process.resident_bytes() - empty_bytes) as f64 / jobs as f64);
        let mut restart_seconds = None;
        if class == Class::Sync {
            process.stop(Signal::TERM);
            drop(process);
            port = free_port();
            let started = Instant::now();
            process = start(&dir, &["-f0"], port);
            ready(port);
            restart_seconds = Some(started.elapsed().as_secs_f64());
        }
        let note = if class == Class::Sync {
            "loaded without syncs; reserve and release are never logged, so this is reserve and delete"
        } else {
            "loaded by pipelined put"
        };
        let facts = Facts { numbers: jobs, load_seconds, restart_seconds, bytes_a_number, note };
        Self { process, port, class, facts }
    }
}

impl Peer for Beanstalkd {
    fn name(&self) -> String {
        format!("beanstalkd {}", if self.class == Class::Sync { "-f0, delete" } else { "no binlog" })
    }

    fn class(&self) -> Class {
        self.class
    }

    fn facts(&self) -> Facts {
        self.facts.clone()
    }

    fn cases(&self) -> Vec<Case> {
        super::pipelined_cases(&[Operation::LeaseReturn])
    }

    fn open(&self, operation: Operation) -> io::Result<(Transport, BoxedTalk)> {
        let stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_nodelay(true)?;
        let end: &[u8] = if self.class == Class::Sync { b"delete " } else { b"release " };
        let returns = operation == Operation::LeaseReturn;
        Ok((stream.into(), Box::new(Jobs { returns, end, held: VecDeque::new() })))
    }

    fn cpu(&self) -> io::Result<Duration> {
        self.process.cpu()
    }
}

/// What a connection sends and reads.
struct Jobs {
    /// Whether jobs are released, or deleted.
    returns: bool,
    /// By which command.
    end: &'static [u8],
    /// Ids of reserved jobs.
    held: VecDeque<Vec<u8>>,
}

impl Protocol for Jobs {
    fn ask(&mut self, out: &mut Vec<u8>) {
        if !self.ask_last(out) {
            out.extend_from_slice(b"reserve\r\n");
        }
    }

    fn ask_last(&mut self, out: &mut Vec<u8>) -> bool {
        let Some(id) = self.held.pop_front() else { return false };
        out.extend_from_slice(self.end);
        out.extend_from_slice(&id);
        out.extend_from_slice(if self.end == b"delete " { b"\r\n" } else { b" 0 0\r\n" });
        true
    }

    fn hear<'a>(&mut self, bytes: &'a [u8]) -> Result<Option<Received<'a>>, AnswerError> {
        let Some(end) = memmem::find(bytes, b"\r\n") else { return Ok(None) };
        let line = &bytes[..end];
        let mut heard = Received { bytes: end + 2, call: LEASE, numbers: 1, status: SUCCESS, code: b"" };
        if let Some(rest) = line.strip_prefix(b"RESERVED ") {
            let mut words = rest.split(|byte| *byte == b' ');
            let (Some(id), Some(length)) = (words.next(), words.next()) else {
                return Err(AnswerError::Protocol);
            };
            let length = std::str::from_utf8(length).ok().and_then(|text| text.parse::<usize>().ok());
            heard.bytes += length.ok_or(AnswerError::Protocol)? + 2;
            if bytes.len() < heard.bytes {
                return Ok(None);
            }
            if self.returns {
                self.held.push_back(id.to_vec());
            }
        } else if line == b"RELEASED" || line == b"DELETED" {
            heard.call = RETURN;
        } else {
            (heard.numbers, heard.status, heard.code) = (0, REFUSED, line);
        }
        Ok(Some(heard))
    }
}
