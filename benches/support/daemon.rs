//! allotd as a process of its own, with the calls that benches make.

use allotd::bench::transport::Transport;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use allotd::bench::callers::{Call, Caller};
use allotd::bench::connection::connect;
use allotd::client::{self, Payload, Server};
use allotd::numbers::number::NumberRange;
use hyper::Method;
use serde_json::{Value, json};

use super::numbers::range_lines;
use super::process::Process;

/// Most numbers of one lease.
pub(crate) const MAX_BATCH: u64 = 65_536;
/// Leases per page of words before the rounds: a page in a hundred thousand stays untouched.
const TOUCHES_PER_PAGE: u64 = 12;
const WORDS_PER_PAGE: u64 = 512;
/// How long leases that only touch pages last.
const TOUCH_TTL_SECONDS: u32 = 1;
/// Numbers become available within this time after their leases ended.
const SWEEP_PATIENCE: Duration = Duration::from_secs(120);

/// Threads of imports end after ten idle seconds, and their processor time goes with them.
const IDLE_THREADS_END: Duration = Duration::from_secs(11);

/// Waits until the threads of calls that prepared daemons have ended: in a measured time they would count
/// as processor time given back.
pub(crate) fn let_idle_threads_end() {
    std::thread::sleep(IDLE_THREADS_END);
}

/// Leases enough numbers in random order to write to every page of the words: the first write to a page
/// after a start (with `none` also after the kernel wrote it to the disk) costs the kernel as much as a lease.
pub(crate) fn touch_pages(server: &Server, pool: &str, numbers: u64) {
    let mut left = numbers.div_ceil(WORDS_PER_PAGE) * TOUCHES_PER_PAGE;
    while left > 0 {
        let count = left.min(MAX_BATCH / 4);
        lease(server, pool, count, TOUCH_TTL_SECONDS);
        left -= count;
    }
}

/// Waits until at most `leased` numbers of all pools are leased.
pub(crate) fn wait_for_returns(server: &Server, leased: u64) {
    let started = Instant::now();
    loop {
        let pools = get(server, "/v1/pools");
        let pools = pools["pools"].as_array().unwrap();
        if pools.iter().map(|pool| pool["leased"].as_u64().unwrap()).sum::<u64>() <= leased {
            return;
        }
        assert!(started.elapsed() < SWEEP_PATIENCE, "numbers do not come back");
        super::process::check_signals();
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn send(server: &Server, call: client::Call<'_>) -> String {
    client::send(server, call).unwrap_or_else(|error| panic!("{error}"))
}

fn get(server: &Server, path: &str) -> Value {
    serde_json::from_str(&send(server, client::Call::new(Method::GET, path))).unwrap()
}

fn lease(server: &Server, pool: &str, count: u64, ttl_seconds: u32) {
    super::process::check_signals();
    let body = json!({ "count": count, "ttl": ttl_seconds });
    let path = format!("/v1/pools/{pool}/lease");
    send(server, client::Call::json(Method::POST, &path, &body));
}

/// `allotd serve`.
pub(crate) struct Daemon {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
}

impl Daemon {
    /// On these cores, with more flags.
    pub(crate) fn start(data: &Path, cores: &[usize], flags: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_allotd"));
        command.args(["serve", "--listen", "127.0.0.1:0"]).args(flags).arg("--data").arg(data);
        let (process, address) =
            Process::start_listening_on(cores, &mut command, &data.with_extension("log"));
        Self { process, address }
    }

    pub(crate) fn server(&self) -> Server {
        Server::tcp(self.address)
    }

    /// A call that must succeed; returns its answer.
    pub(crate) fn send(&self, call: client::Call<'_>) -> String {
        send(&self.server(), call)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> String {
        self.send(client::Call::json(Method::POST, path, body))
    }

    pub(crate) fn get(&self, path: &str) -> Value {
        get(&self.server(), path)
    }

    /// A pool of these ranges; `query` has its settings.
    pub(crate) fn create_pool(&self, pool: &str, query: &str, ranges: &[NumberRange]) {
        self.put_list(pool, query, Payload::Bytes(range_lines(ranges).into()));
    }

    /// A pool of the numbers in a text file.
    pub(crate) fn import(&self, pool: &str, query: &str, file: &Path) {
        self.put_list(pool, query, Payload::files(&[PathBuf::from(file)], |_| ()).unwrap());
    }

    fn put_list(&self, pool: &str, query: &str, payload: Payload) {
        let path = format!("/v1/pools/{pool}?{query}");
        let call = client::Call::new(Method::PUT, &path);
        self.send(client::Call { content_type: Some("text/plain"), payload, ..call });
    }

    pub(crate) fn set_order(&self, pool: &str, order: &str) {
        let path = format!("/v1/pools/{pool}");
        self.send(client::Call::json(Method::PATCH, &path, &json!({ "order": order })));
    }

    pub(crate) fn available(&self, pool: &str) -> u64 {
        self.get(&format!("/v1/pools/{pool}"))["available"].as_u64().unwrap()
    }

    /// Leases numbers until only `left` are available.
    pub(crate) fn fill(&self, pool: &str, left: u64, ttl_seconds: u32) {
        loop {
            let count = self.available(pool).saturating_sub(left).min(MAX_BATCH);
            if count == 0 {
                return;
            }
            self.lease(pool, count, ttl_seconds);
        }
    }

    pub(crate) fn lease(&self, pool: &str, count: u64, ttl_seconds: u32) {
        lease(&self.server(), pool, count, ttl_seconds);
    }

    /// See [`touch_pages`].
    pub(crate) fn touch_pages(&self, pool: &str, numbers: u64) {
        touch_pages(&self.server(), pool, numbers);
    }

    /// See [`wait_for_returns`].
    pub(crate) fn wait_for_returns(&self, leased: u64) {
        wait_for_returns(&self.server(), leased);
    }

    /// A connection that leases from these pools in turn, `count` numbers at once.
    pub(crate) fn leasing(&self, requests: &Arc<[Vec<u8>]>, place: usize, count: u32) -> Opened {
        let caller = Caller::rotating(Arc::clone(requests), place, Call::Lease, count);
        Ok((connect(&self.server())?, caller))
    }

    /// A connection that leases a number and returns it, repeatedly.
    pub(crate) fn leasing_and_returning(&self, pool: &str) -> Opened {
        let head = format!(
            "POST /v1/pools/{pool}/return HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: "
        );
        let caller = Caller::leasing_and_returning(&plain_lease(pool), head.as_bytes());
        Ok((connect(&self.server())?, caller))
    }
}

/// A connection and its protocol.
pub(crate) type Opened = io::Result<(Transport, Caller)>;

/// A lease of one number for the pool's time.
pub(crate) fn plain_lease(pool: &str) -> Vec<u8> {
    format!("POST /v1/pools/{pool}/lease HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes()
}

/// A lease of some numbers for the pool's time.
pub(crate) fn batch_lease(pool: &str, count: u32) -> Vec<u8> {
    let body = format!("{{\"count\":{count}}}");
    let length = body.len();
    format!(
        "POST /v1/pools/{pool}/lease HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}
