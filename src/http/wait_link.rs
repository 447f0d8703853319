//! What a connection and a call on it that waits know of each other: the connection looks whether its client is still
//! there, which with HTTP/1 nobody does while a call is under way.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Links a call that may wait with its connection. Only their worker's thread uses it, so the orderings are relaxed.
#[derive(Debug, Default)]
pub(crate) struct WaitLink {
    is_waiting: AtomicBool,
    is_gone: AtomicBool,
    waited_nanos: AtomicU64,
    waker: Mutex<Option<Waker>>,
}

impl WaitLink {
    fn waker(&self) -> MutexGuard<'_, Option<Waker>> {
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the call waits.
    pub(crate) fn is_waiting(&self) -> bool {
        self.is_waiting.load(Ordering::Relaxed)
    }

    /// The call begins to wait.
    pub(crate) fn begin(&self) {
        self.is_waiting.store(true, Ordering::Relaxed);
    }

    /// The call has waited for this long.
    pub(crate) fn end(&self, waited: Duration) {
        self.is_waiting.store(false, Ordering::Relaxed);
        let nanos = u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX);
        self.waited_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// How long the call has waited.
    pub(crate) fn waited_nanos(&self) -> u64 {
        self.waited_nanos.load(Ordering::Relaxed)
    }

    /// The client sends nothing more.
    pub(crate) fn client_has_gone(&self) {
        self.is_gone.store(true, Ordering::Relaxed);
        let waker = self.waker().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Ready once the client sends nothing more.
    pub(crate) fn poll_gone(&self, cx: &Context<'_>) -> Poll<()> {
        if self.is_gone.load(Ordering::Relaxed) {
            return Poll::Ready(());
        }
        *self.waker() = Some(cx.waker().clone());
        Poll::Pending
    }
}
