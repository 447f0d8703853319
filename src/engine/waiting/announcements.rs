//! Numbers that became available while calls waited, for the [thread](super::waking) that wakes the calls.

use std::sync::{Arc, OnceLock};

use crossbeam::queue::ArrayQueue;

use crate::numbers::number::Number;
use crate::sys::atomics::{AtomicBool, Ordering};
use crate::sys::sync::thread::Thread;

use super::state::Waiting;

/// Numbers that are noted until the thread has looked at them. Of more it is only known that there were some.
const NOTED_NUMBERS: usize = if cfg!(allotd_shuttle) { 4 } else { 4_096 };

/// What the thread has to look at.
pub(crate) struct Announcements {
    pub(super) numbers: ArrayQueue<(Arc<Waiting>, Number)>,
    /// Whether the lines of some pools are behind.
    pub(super) is_behind: AtomicBool,
    /// Whether the journal has begun to refuse changes.
    pub(super) refuses: AtomicBool,
    pub(super) ends: AtomicBool,
    pub(super) thread: OnceLock<Thread>,
}

impl Default for Announcements {
    fn default() -> Self {
        Self {
            numbers: ArrayQueue::new(NOTED_NUMBERS),
            is_behind: AtomicBool::new(false),
            refuses: AtomicBool::new(false),
            ends: AtomicBool::new(false),
            thread: OnceLock::new(),
        }
    }
}

impl Announcements {
    /// Notes a number of a pool. Waits for nobody.
    pub(super) fn push(&self, waiting: &Arc<Waiting>, number: Number) {
        if self.numbers.push((Arc::clone(waiting), number)).is_err() {
            waiting.is_behind.store(true, Ordering::SeqCst);
            self.is_behind.store(true, Ordering::SeqCst);
        }
        self.unpark();
    }

    /// Has every call answered, as the journal refuses changes.
    pub(crate) fn refuse_all(&self) {
        self.refuses.store(true, Ordering::SeqCst);
        self.unpark();
    }

    pub(super) fn unpark(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}
