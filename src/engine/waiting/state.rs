//! What a pool keeps of the calls that wait for it.

use std::sync::PoisonError;

use crate::numbers::number::Number;
use crate::sys::atomics::{AtomicBool, AtomicU32, Ordering};
use crate::sys::lock::{Lock, LockGuard};

use super::line::{Line, Signals};

/// What a pool keeps of the calls that wait.
#[derive(Default)]
pub(crate) struct Waiting {
    /// How many calls are in the line.
    pub(super) calls: AtomicU32,
    line: Lock<Line>,
    /// Whether numbers became available that could not be noted.
    pub(super) is_behind: AtomicBool,
}

impl Waiting {
    /// Whether any call waits.
    #[inline]
    pub(super) fn is_used(&self) -> bool {
        self.calls.load(Ordering::SeqCst) != 0
    }

    pub(super) fn line(&self) -> LockGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the line, then wakes whom that concerns.
    fn wake(&self, change: impl FnOnce(&mut Line, &mut Signals)) {
        if self.is_used() {
            let mut signals = Signals::new();
            change(&mut self.line(), &mut signals);
            for signal in signals {
                signal.give();
            }
        }
    }

    /// Numbers may have become available: which is not known.
    pub(crate) fn some_available(&self) {
        self.wake(Line::wake_first);
    }

    /// Something has changed that every call has to know.
    pub(crate) fn wake_all(&self) {
        self.wake(Line::wake_all);
    }

    /// Wakes the call that a number is for.
    pub(super) fn offer(&self, number: Number) {
        let signal = self.line().offer(number);
        if let Some(signal) = signal {
            signal.give();
        }
    }
}
