//! The changes of numbers for those who follow them: read from the journal behind its writer, and kept in files of
//! their own ([`crate::store::event_log`]). Nobody who changes a number waits for that.
//!
//! * `order`: the order of a number's changes. `known`: pools and numbers by what the journal names them.
//! * `thread`: the thread that follows the journal. `catch_up`: what it missed when the daemon was killed.
//! * `reader`: one reader of a pool's events. `marks`: what happens to numbers beside their words.
//! * `rate`: how many events there are a second.

pub(crate) mod catch_up;
mod known;
pub(crate) mod marks;
mod order;
mod rate;
pub mod reader;
pub(crate) mod thread;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::coordinates::SegmentId;
use crate::journal::handle::Journal;
use crate::store::event_log::{EventLog, Kept as KeptEvents};
use crate::sys::atomics::{AtomicBool, AtomicU64, Ordering};
use crate::sys::sync::{self, Instant, Mutex, MutexGuard};

use super::clock::Clock;
use super::segment::Segment;
use rate::Rate;

/// How long a checkpoint waits until the changes in the files that it releases are in the log,
const COVER_PATIENCE: Duration = Duration::from_millis(200);
/// and how long until they are at least read.
const READ_PATIENCE: Duration = Duration::from_secs(5);
/// How often it looks.
const PAUSE: Duration = Duration::from_millis(1);

/// Most events of one answer,
pub const MAX_EVENTS: u32 = 1_000_000;
/// and how many it has at most if the call does not say.
pub const DEFAULT_EVENTS: u32 = 10_000;
/// How long a call may wait for an event, in seconds.
pub const MAX_EVENTS_WAIT_SECONDS: u32 = 60;

/// A reader that waits for an event.
struct Waiter {
    id: u64,
    pool: u64,
    waker: Waker,
}

/// A segment that is not among those of its pool, whose records may be read: it is still to come, or it was merged into
/// another.
struct Kept {
    segment: Arc<Segment>,
    /// Once this many groups are committed and read, no record names it.
    until_group: u64,
}

/// What is kept of all pools, in figures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EventFigures {
    /// Bytes of the files.
    pub bytes: u64,
    /// Calls that read events, or wait for one.
    pub readers: u64,
    /// Events since the daemon started.
    pub count: u64,
    /// Events a second, over the last minute.
    pub per_second: f64,
}

/// The events of all pools.
pub struct Events {
    log: EventLog,
    clock: Arc<Clock>,
    waiters: Mutex<Vec<Waiter>>,
    /// Pools with events that nobody is woken for yet, and the position of the first.
    unannounced: Mutex<BTreeMap<u64, u64>>,
    next_waiter: AtomicU64,
    readers: AtomicU64,
    rate: Rate,
    /// The sequence of the next change of lists.
    next_mark: AtomicU64,
    segments: Mutex<HashMap<(u64, SegmentId), Kept>>,
    /// The last frame that was read.
    read: AtomicU64,
    ends: AtomicBool,
    /// Nobody waits any more.
    is_draining: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Events {
    pub(crate) fn new(log: EventLog, clock: Arc<Clock>, first_mark: u64) -> Self {
        Self {
            log,
            clock,
            waiters: Mutex::default(),
            unannounced: Mutex::default(),
            next_waiter: AtomicU64::new(0),
            readers: AtomicU64::new(0),
            rate: Rate::default(),
            next_mark: AtomicU64::new(first_mark),
            segments: Mutex::default(),
            read: AtomicU64::new(0),
            ends: AtomicBool::new(false),
            is_draining: AtomicBool::new(false),
        }
    }

    /// What is kept of a pool.
    pub fn kept(&self, pool: u64) -> KeptEvents {
        self.log.kept(pool)
    }

    /// What is kept of all pools, in figures.
    pub fn figures(&self) -> EventFigures {
        EventFigures {
            bytes: self.log.bytes(),
            readers: self.readers.load(Ordering::Relaxed),
            count: self.rate.total(),
            per_second: self.rate.per_second(self.clock.now().seconds()),
        }
    }

    /// The position after the last event that the readers of a pool were woken for. Who waits for more gets what comes
    /// together with the next wake-up: else each of many readers makes a call for each event.
    pub fn announced(&self, pool: u64) -> u64 {
        let unannounced = lock(&self.unannounced).get(&pool).copied();
        unannounced.unwrap_or_else(|| self.kept(pool).next)
    }

    /// Events of a pool are about to be kept, for which its readers are woken later.
    fn hold_back(&self, pool: u64) {
        let next = self.kept(pool).next;
        lock(&self.unannounced).entry(pool).or_insert(next);
    }

    /// Ready once the pool has the event `next`, and its readers are woken for it.
    fn poll_next(&self, id: u64, pool: u64, next: u64, cx: &Context<'_>) -> Poll<()> {
        let mut waiters = lock(&self.waiters);
        waiters.retain(|waiter| waiter.id != id);
        // Under the lock, so that no event comes in between.
        if self.is_draining.load(Ordering::SeqCst) || self.announced(pool) > next {
            return Poll::Ready(());
        }
        waiters.push(Waiter { id, pool, waker: cx.waker().clone() });
        Poll::Pending
    }

    /// Answers all that wait, as when the daemon ends.
    pub(crate) fn drain(&self) {
        self.is_draining.store(true, Ordering::SeqCst);
        self.wake(|_| true);
    }

    fn wake(&self, pools: impl Fn(u64) -> bool) {
        // Before the waiters: who begins to wait in between sees it.
        lock(&self.unannounced).retain(|pool, _| !pools(*pool));
        let mut waiters = lock(&self.waiters);
        let woken: Vec<Waiter> = waiters.extract_if(.., |waiter| pools(waiter.pool)).collect();
        drop(waiters);
        for waiter in woken {
            waiter.waker.wake();
        }
    }

    /// Keeps segments that are merged into another until their records are read.
    pub(crate) fn keep_removed(&self, journal: &Journal, pool: u64, segments: &[Arc<Segment>]) {
        // A record that is pushed before this is in the group after the next one at the latest.
        let until_group = journal.committed_groups() + 3;
        let kept = segments
            .iter()
            .map(|segment| ((pool, segment.id), Kept { segment: Arc::clone(segment), until_group }));
        lock(&self.segments).extend(kept);
    }

    /// Keeps a segment that is about to become the pool's, until [`Self::has_come`].
    pub(crate) fn is_coming(&self, pool: u64, segment: &Arc<Segment>) {
        let kept = Kept { segment: Arc::clone(segment), until_group: u64::MAX };
        lock(&self.segments).insert((pool, segment.id), kept);
    }

    /// A segment is among those of its pool.
    pub(crate) fn has_come(&self, pool: u64, segment: SegmentId) {
        lock(&self.segments).remove(&(pool, segment));
    }

    /// Waits until the journal's files that are full are not needed any more, but not for long: a checkpoint must
    /// not stop for those who follow.
    pub(crate) fn wait_covered(&self, journal: &Journal) {
        let (target, began) = (journal.published(), Instant::now());
        let waits = || {
            let is_read = self.read.load(Ordering::Acquire) >= target;
            let is_covered = self.log.covered() >= target;
            !is_covered && began.elapsed() < if is_read { COVER_PATIENCE } else { READ_PATIENCE }
        };
        while !self.ends.load(Ordering::Acquire) && !journal.is_poisoned() && waits() {
            sync::thread::sleep(PAUSE);
        }
        // If it fails, a kill before the next batch makes the log begin anew.
        let _ = self.log.settle();
    }
}
