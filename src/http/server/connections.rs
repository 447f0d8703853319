//! The connections of one worker, and the tick that holds each against its limits: a connection costs no timer,
//! and a request none either.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::Waker;
use std::time::Duration;

use crate::http::batch_turn::BatchTurn;
use crate::http::caller::Caller;
use crate::http::commit_gate::Gate;
use crate::http::limits::Limits;
use crate::http::response::watched::OpenAnswers;
use crate::sys::monotonic::monotonic_nanos;

use super::inflow::Inflow;
use super::outflow::{Flow, Outflow};
use super::tls::client::ClientCertificate;

/// The shortest limit has at least this many ticks, and so is kept to a tenth.
const TICKS_PER_LIMIT: u32 = 10;

/// Most clients' certificates that a tick holds against files that were exchanged: each takes a signature's time,
/// and the next request of its connection checks it in any case.
const CERTIFICATES_PER_TICK: usize = 64;

/// Commands to a connection; a higher one wins.
pub(super) const SERVE: u32 = 0;
pub(super) const DRAIN: u32 = 1;
pub(super) const CLOSE: u32 = 2;

/// Whether a connection is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Its requests are answered.
    Served,
    /// There are too many connections: its first request gets `overloaded`, and it is closed.
    Refused,
}

/// The state that a worker and a connection share.
#[derive(Debug)]
pub(crate) struct ConnectionState {
    /// Who is at the other end.
    pub(super) caller: Caller,
    /// Requests that have begun; only the worker's thread writes it.
    pub(super) begun: AtomicU64,
    /// Requests of these whose answer has begun, or that are given up.
    pub(super) answered: AtomicU64,
    pub(super) command: AtomicU32,
    pub(super) waker: OnceLock<Waker>,
    /// What the responses wait for.
    pub(super) gate: Arc<Gate>,
    /// What comes from the client.
    pub(super) inflow: Arc<Inflow>,
    /// How the bytes of responses leave.
    pub(super) outflow: Arc<Outflow>,
    /// Answers whose bodies are under way.
    pub(super) answers: Arc<OpenAnswers>,
    /// Of HTTP/2.
    pub(super) batches: BatchTurn,
}

impl ConnectionState {
    fn new(caller: Caller) -> Self {
        Self {
            caller,
            begun: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            command: AtomicU32::new(SERVE),
            waker: OnceLock::new(),
            gate: Arc::default(),
            inflow: Arc::default(),
            outflow: Arc::default(),
            answers: Arc::default(),
            batches: BatchTurn::default(),
        }
    }

    pub(super) fn send(&self, command: u32) {
        self.command.fetch_max(command, Ordering::Relaxed);
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }
}

/// How long a tick is, and after how many of them a connection is closed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadlines {
    pub(crate) tick: Duration,
    head: u32,
    idle: u32,
    answer: u32,
    refused: u32,
}

impl Deadlines {
    pub(crate) fn of(limits: &Limits) -> Self {
        let Limits { head, idle, answer, refused, .. } = *limits;
        let shortest = head.min(idle).min(answer).min(refused * TICKS_PER_LIMIT / 2);
        let tick = (shortest / TICKS_PER_LIMIT).max(Duration::from_millis(1));
        let ticks = |limit: Duration| limit.as_nanos().div_ceil(tick.as_nanos()) as u32;
        Self { tick, head: ticks(head), idle: ticks(idle), answer: ticks(answer), refused: ticks(refused) }
    }
}

/// The connections of one worker.
#[derive(Debug)]
pub(crate) struct Connections {
    all: Mutex<Vec<Entry>>,
    deadlines: Deadlines,
}

#[derive(Debug)]
struct Entry {
    state: Arc<ConnectionState>,
    admission: Admission,
    seen_begun: u64,
    /// Ticks since it was accepted.
    ticks: u32,
    /// Ticks since a part of a head came.
    head_ticks: u32,
    /// Ticks without a request and without a byte of an answer.
    idle_ticks: u32,
    /// Ticks since the client last took something of what waits for it.
    stalled_ticks: u32,
}

impl Entry {
    /// Whether the connection is to be closed.
    fn tick(&mut self, limits: &Deadlines) -> bool {
        let state = &self.state;
        let begun = state.begun.load(Ordering::Relaxed);
        let has_begun = begun != self.seen_begun;
        self.seen_begun = begun;
        let flow = state.outflow.take();
        let answers = state.answers.tick();
        let is_http2 = state.inflow.is_http2();
        // Of HTTP/2 a byte that leaves may be the answer to a PING, which is no life.
        let has_moved = !is_http2 && flow == Flow::Moved;
        let is_busy = begun != state.answered.load(Ordering::Relaxed) || answers.open > 0;
        let counted = |ticks: u32, counts: bool| if counts { ticks + 1 } else { 0 };
        self.ticks += 1;
        self.idle_ticks = counted(self.idle_ticks, !is_busy && !has_begun && !has_moved);
        self.head_ticks = counted(self.head_ticks, !has_begun && state.inflow.is_in_head());
        self.stalled_ticks = counted(self.stalled_ticks, flow == Flow::Blocked);
        // With HTTP/1 the one answer that is under way waits for the socket, which shows each byte.
        let stalled_ticks = self.stalled_ticks.max(if is_http2 { answers.stalled_ticks } else { 0 });
        self.head_ticks > limits.head
            || self.idle_ticks > limits.idle
            || stalled_ticks > limits.answer
            || (self.admission == Admission::Refused && self.ticks >= limits.refused)
    }
}

impl Connections {
    pub(crate) fn new(deadlines: Deadlines) -> Self {
        Self { all: Mutex::default(), deadlines }
    }

    pub(super) fn add(&self, caller: Caller, admission: Admission) -> Arc<ConnectionState> {
        let state = Arc::new(ConnectionState::new(caller));
        self.lock().push(Entry {
            state: Arc::clone(&state),
            admission,
            seen_begun: 0,
            ticks: 0,
            head_ticks: 0,
            idle_ticks: 0,
            stalled_ticks: 0,
        });
        state
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Entry>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes the connections that have ended, and closes those beyond a limit.
    pub(crate) fn tick(&self) {
        let (now_nanos, mut checks) = (monotonic_nanos(), CERTIFICATES_PER_TICK);
        self.lock().retain_mut(|entry| {
            if Arc::strong_count(&entry.state) == 1 {
                return false;
            }
            if entry.state.caller.certificate().is_some_and(|of| is_ended(of, now_nanos, &mut checks)) {
                entry.state.send(DRAIN);
            }
            if entry.tick(&self.deadlines) {
                entry.state.send(CLOSE);
            }
            true
        });
    }

    /// Lets every connection end after its current request.
    pub(crate) fn drain(&self) {
        self.lock().iter().for_each(|entry| entry.state.send(DRAIN));
    }

    /// Whether any connection is still open.
    pub(crate) fn any_open(&self) -> bool {
        self.lock().iter().any(|entry| Arc::strong_count(&entry.state) > 1)
    }
}

/// Whether a client's certificate is not accepted any more. Takes one of `checks` for each that has to be held
/// against other files than before.
fn is_ended(certificate: &ClientCertificate, now_nanos: u64, checks: &mut usize) -> bool {
    if !certificate.is_of_current() {
        if *checks == 0 {
            return certificate.is_refused();
        }
        *checks -= 1;
    }
    !certificate.is_accepted(now_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_limits_have_a_tick_of_a_second() {
        let limits = Deadlines::of(&Limits::default());
        assert_eq!(limits.tick, Duration::from_secs(1));
        assert_eq!((limits.head, limits.idle, limits.answer, limits.refused), (10, 60, 30, 2));
    }
}
