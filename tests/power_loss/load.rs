//! Concurrent clients, and all the answers that they got.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use super::daemon::{Connection, POOL, request};
use super::disk::LogPosition;

/// Long enough that no lease or rest ends during a run.
const LEASE_SECONDS: u32 = 86_400;
pub(crate) const RENEWED_SECONDS: u32 = 172_800;
const REST_SECONDS: u32 = 14_400;
/// A client that holds this many returns before it leases.
const HELD_MAX: usize = 48;

/// What becomes of a returned number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NextState {
    Available,
    Rest,
    Done,
    Retired,
}

impl NextState {
    fn any(random: &mut StdRng) -> Self {
        match random.random_range(0..20) {
            0 => Self::Retired,
            1 => Self::Done,
            2 | 3 => Self::Rest,
            _ => Self::Available,
        }
    }

    fn json(self) -> Value {
        match self {
            Self::Available => json!("available"),
            Self::Rest => json!({ "rest": REST_SECONDS }),
            Self::Done => json!("done"),
            Self::Retired => json!("retired"),
        }
    }

    /// The state in which the number is then seen.
    pub(crate) fn state(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Rest => "resting",
            Self::Done => "done",
            Self::Retired => "retired",
        }
    }
}

/// When something was requested, and when it was confirmed, as positions in the disk's log. Without an
/// answer nobody knows whether it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asked {
    pub sent: u64,
    pub acknowledged: Option<u64>,
}

impl Asked {
    /// Must be on a disk that was cut at a position.
    pub(crate) fn is_kept(&self, cut: u64) -> bool {
        self.acknowledged.is_some_and(|position| position <= cut)
    }

    /// May be on it.
    pub(crate) fn is_possible(&self, cut: u64) -> bool {
        self.sent < cut
    }
}

/// A confirmed lease and what followed.
#[derive(Debug, Clone)]
pub(crate) struct Lease {
    pub number: u64,
    pub token: String,
    pub generation: u64,
    pub asked: Asked,
    /// RFC 3339 in UTC without fractions: compares as text.
    pub expires_at: String,
    /// Confirmed renewals: when, and until when they said that it lasts.
    pub renewals: Vec<(Asked, String)>,
    pub returned: Option<(Asked, NextState)>,
}

/// All that the clients know.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub leases: Vec<Lease>,
    /// Leases requested without an answer: when, and how many numbers.
    pub unanswered: Vec<(u64, u64)>,
    pub acknowledged: u64,
}

impl History {
    pub(crate) fn merge(&mut self, other: Self) {
        self.leases.extend(other.leases);
        self.unanswered.extend(other.unanswered);
        self.acknowledged += other.acknowledged;
    }
}

/// What a request in flight requests; leases by their place in the history.
#[derive(Debug)]
enum Call {
    Lease(u64),
    Renew(Vec<usize>),
    Return(Vec<usize>),
}

/// Who makes a confirmed change durable.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Durable<'a> {
    /// The daemon does, or nobody.
    Daemon,
    /// The client syncs the file system before it counts the answer.
    Client(&'a File),
    /// The client counts the answer, then syncs: what a daemon does that answers a moment too early.
    ClientTooLate(&'a File),
}

impl Durable<'_> {
    /// The position of an answer that just came.
    pub(crate) fn position(self, log: &LogPosition) -> io::Result<u64> {
        match self {
            Self::Daemon => Ok(log.now()),
            Self::Client(file_system) => {
                rustix::fs::syncfs(file_system)?;
                Ok(log.now())
            }
            Self::ClientTooLate(file_system) => {
                let position = log.now();
                rustix::fs::syncfs(file_system)?;
                Ok(position)
            }
        }
    }
}

/// One client, which keeps its leases over restarts of the daemon.
#[derive(Debug)]
pub(crate) struct Client {
    pub history: History,
    held: Vec<usize>,
    random: StdRng,
    log: LogPosition,
}

impl Client {
    pub(crate) fn new(seed: u64, log: &LogPosition) -> Self {
        let random = StdRng::seed_from_u64(seed);
        Self { history: History::default(), held: Vec::new(), random, log: log.clone() }
    }

    /// Makes calls until it is stopped or the daemon is gone. `rate` is in calls per second, roughly.
    pub(crate) fn run(
        &mut self,
        address: SocketAddr,
        rate: u32,
        durable: Durable<'_>,
        ended: &dyn Fn() -> bool,
    ) {
        let Ok(mut connection) = Connection::new(address) else { return };
        while !ended() {
            let calls = self.random.random_range(1..=4);
            if let Err(error) = self.exchange(&mut connection, calls, durable) {
                let gone =
                    [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe];
                assert!(gone.contains(&error.kind()), "{error}");
                return;
            }
            std::thread::sleep(Duration::from_secs(1) * calls / rate);
        }
    }

    /// Sends some calls at once and reads their answers.
    fn exchange(&mut self, connection: &mut Connection, calls: u32, durable: Durable<'_>) -> io::Result<()> {
        let sent = self.log.now();
        let (mut text, mut flight) = (String::new(), std::collections::VecDeque::new());
        for _ in 0..calls {
            let (body, path, call) = self.next_call(sent);
            text.push_str(&request("POST", &format!("{POOL}/{path}"), "application/json", &body.to_string()));
            flight.push_back(call);
        }
        let mut result = connection.send(&text);
        while let (Ok(()), Some(call)) = (&result, flight.front()) {
            match self.read_answer(connection, call, sent, durable) {
                Ok(()) => drop(flight.pop_front()),
                Err(error) => result = Err(error),
            }
        }
        for call in flight {
            match call {
                Call::Lease(count) => self.history.unanswered.push((sent, count)),
                Call::Renew(leases) => self.held.extend(leases),
                Call::Return(_) => {}
            }
        }
        result
    }

    fn next_call(&mut self, sent: u64) -> (Value, &'static str, Call) {
        let choice = self.random.random_range(0..10);
        if self.held.is_empty() || (choice < 4 && self.held.len() < HELD_MAX) {
            let count = if self.random.random_bool(0.1) { 16 } else { self.random.random_range(1..=4) };
            return (json!({ "count": count, "ttl": LEASE_SECONDS }), "lease", Call::Lease(count));
        }
        // Out of `held` while in flight, so that no two calls of one pipeline are about one lease.
        let taken: Vec<usize> = (0..self.random.random_range(1..=6))
            .map_while(|_| {
                let index = self.random.random_range(0..self.held.len().max(1));
                (!self.held.is_empty()).then(|| self.held.swap_remove(index))
            })
            .collect();
        let renew = choice >= 8;
        let mut items = Vec::new();
        for index in &taken {
            let lease = &mut self.history.leases[*index];
            let mut item = json!({ "number": lease.number, "token": lease.token });
            if !renew {
                let then = NextState::any(&mut self.random);
                item["then"] = then.json();
                lease.returned = Some((Asked { sent, acknowledged: None }, then));
            }
            items.push(item);
        }
        if renew {
            return (json!({ "leases": items, "ttl": RENEWED_SECONDS }), "renew", Call::Renew(taken));
        }
        (json!({ "leases": items }), "return", Call::Return(taken))
    }

    fn read_answer(
        &mut self,
        connection: &mut Connection,
        call: &Call,
        sent: u64,
        durable: Durable<'_>,
    ) -> io::Result<()> {
        let answer = connection.receive()?;
        let position = durable.position(&self.log)?;
        let asked = Asked { sent, acknowledged: Some(position) };
        let body = answer.json()?;
        let exhausted = matches!(call, Call::Lease(_)) && answer.status == 409;
        assert!(answer.status == 200 || exhausted, "{call:?}: {answer:?}");
        self.history.acknowledged += 1;
        match call {
            Call::Lease(_) => self.leased(&body, asked),
            Call::Renew(leases) => {
                for (index, result) in leases.iter().zip(results(&body)) {
                    assert_eq!(result["result"], "renewed", "{:?}", self.history.leases[*index]);
                    let renewal = (asked, string(&result["expires_at"]));
                    self.history.leases[*index].renewals.push(renewal);
                    self.held.push(*index);
                }
            }
            Call::Return(leases) => {
                for (index, result) in leases.iter().zip(results(&body)) {
                    assert_eq!(result["result"], "returned", "{:?}", self.history.leases[*index]);
                    if let Some((asked, _)) = &mut self.history.leases[*index].returned {
                        asked.acknowledged = Some(position);
                    }
                }
            }
        }
        Ok(())
    }

    fn leased(&mut self, body: &Value, asked: Asked) {
        for lease in body["leases"].as_array().into_iter().flatten() {
            self.held.push(self.history.leases.len());
            self.history.leases.push(Lease {
                number: integer(&lease["number"]),
                token: string(&lease["token"]),
                generation: integer(&lease["generation"]),
                asked,
                expires_at: string(&lease["expires_at"]),
                renewals: Vec::new(),
                returned: None,
            });
        }
    }
}

pub(crate) fn results(body: &Value) -> impl Iterator<Item = &Value> {
    body["results"].as_array().into_iter().flatten()
}

pub(crate) fn integer(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("not a number: {value}"))
}

pub(crate) fn string(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}")).to_owned()
}
