//! The gate at the socket: no byte of a response leaves before the changes it reports are committed.
//!
//! A request is executed and its response put into the connection's buffer at once. The connection
//! remembers what the journal must have committed, and its `poll_write` waits for that. So no call waits
//! on its own, one sync serves a whole pipeline, and "no confirmation before durability" is enforced in one
//! place. If the journal is poisoned the gate never opens, and the connection is cut.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use crate::journal::handle::Journal;
use crate::journal::queue::Position;
use crate::sys::slot::Slot;

use super::counters::WorkerStats;

/// What one connection's responses wait for. Only its worker's thread uses it, so the orderings are relaxed.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    own: AtomicU64,
    group: AtomicU64,
    /// Whether it is among the worker's closed gates.
    listed: AtomicBool,
    /// When it was listed, in nanoseconds since the worker's [`Gates`] were made.
    listed_at_nanos: AtomicU64,
    waker: Mutex<Option<Waker>>,
}

impl Gate {
    /// Makes the next response wait for a position.
    #[inline]
    pub(crate) fn raise(&self, position: Position) {
        if position.own > self.own.load(Ordering::Relaxed) {
            self.own.store(position.own, Ordering::Relaxed);
        }
        if position.group > self.group.load(Ordering::Relaxed) {
            self.group.store(position.group, Ordering::Relaxed);
        }
    }

    fn position(&self) -> Position {
        Position { own: self.own.load(Ordering::Relaxed), group: self.group.load(Ordering::Relaxed) }
    }

    fn wake(&self) {
        self.listed.store(false, Ordering::Relaxed);
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The closed gates of one worker's connections, and the journal that they wait for.
pub(crate) struct Gates {
    journal: Arc<Journal>,
    slot: Slot,
    closed: Vec<Arc<Gate>>,
    started: Instant,
    stats: Arc<WorkerStats>,
}

impl Gates {
    pub(crate) fn new(journal: Arc<Journal>, slot: Slot, stats: Arc<WorkerStats>) -> Self {
        Self { journal, slot, closed: Vec::new(), started: Instant::now(), stats }
    }

    fn nanos(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }

    /// Ready if the gate is open; else the task is woken when the gate may open.
    #[inline]
    pub(crate) fn poll_open(&mut self, gate: &Arc<Gate>, cx: &Context<'_>) -> Poll<io::Result<()>> {
        if !self.journal.may_answer() {
            return Poll::Ready(Err(io::Error::other("another member may be primary")));
        }
        let position = gate.position();
        if self.journal.is_committed(self.slot, position) {
            return Poll::Ready(Ok(()));
        }
        if self.journal.is_poisoned() {
            return Poll::Ready(Err(io::Error::other("the journal cannot be written")));
        }
        *gate.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
        if !gate.listed.swap(true, Ordering::Relaxed) {
            gate.listed_at_nanos.store(self.nanos(), Ordering::Relaxed);
            self.closed.push(Arc::clone(gate));
        }
        self.journal.wait(self.slot);
        // If it was committed in between, no further notification may come.
        if self.journal.is_committed(self.slot, position) || self.journal.is_poisoned() {
            self.open_committed();
        }
        Poll::Pending
    }

    /// Wakes the tasks whose gates may open now.
    pub(crate) fn open_committed(&mut self) {
        loop {
            let before = self.closed.len();
            let (journal, slot) = (&self.journal, self.slot);
            let poisoned = journal.is_poisoned();
            let (now, waits) = (self.nanos(), &self.stats.commit_wait_nanoseconds);
            self.closed.retain(|gate| {
                let open = poisoned || journal.is_committed(slot, gate.position());
                if open {
                    waits.record(now.saturating_sub(gate.listed_at_nanos.load(Ordering::Relaxed)));
                    gate.wake();
                }
                !open
            });
            if self.closed.is_empty() {
                return;
            }
            // Registers again before the last check, so that a commit in between is not missed.
            self.journal.wait(self.slot);
            if self.closed.len() == before {
                let committed = |gate: &Arc<Gate>| self.journal.is_committed(self.slot, gate.position());
                if !self.journal.is_poisoned() && !self.closed.iter().any(committed) {
                    return;
                }
            }
        }
    }
}
