//! When the bytes of responses leave, and whether they do.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

/// How the bytes of a connection's responses leave. Only its worker's thread uses it, so the orderings are
/// relaxed.
///
/// One write serves all requests that arrived together: from the moment that a request is handed to its call,
/// writes are held, until the connection asks for more input and so has no further request. When too much is
/// held it is written at once, and no further request is executed until the client has taken it: hyper's own
/// flushing of pipelines buffers without bound.
#[derive(Debug, Default)]
pub(crate) struct Outflow {
    held: AtomicBool,
    /// Whether bytes are held that nothing has tried to write yet.
    deferred: AtomicBool,
    /// Whether bytes have left.
    moved: AtomicBool,
    /// Whether bytes wait for the client to take others.
    blocked: AtomicBool,
    /// Whether so many wait that no further request is executed.
    full: AtomicBool,
    /// The request that waits.
    request: Mutex<Option<Waker>>,
}

/// What happened to the responses of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// There were none.
    Still,
    /// Bytes left.
    Moved,
    /// No byte left, and some wait for the client.
    Blocked,
}

impl Outflow {
    /// Holds writes back.
    #[inline]
    pub(crate) fn hold(&self) {
        self.held.store(true, Ordering::Relaxed);
        // What waits for the client goes on leaving, however long the request takes.
        if self.blocked.load(Ordering::Relaxed) {
            self.deferred.store(true, Ordering::Relaxed);
        }
    }

    /// Lets writes through.
    #[inline]
    pub(crate) fn release(&self) {
        self.held.store(false, Ordering::Relaxed);
    }

    /// Whether there are held bytes that nothing has tried to write yet; the caller tries now.
    #[inline]
    pub(crate) fn take_deferred(&self) -> bool {
        let deferred = self.deferred.load(Ordering::Relaxed);
        self.deferred.store(false, Ordering::Relaxed);
        deferred
    }

    /// What happened since the last call.
    pub(crate) fn take(&self) -> Flow {
        match (self.moved.swap(false, Ordering::Relaxed), self.blocked.load(Ordering::Relaxed)) {
            (true, _) => Flow::Moved,
            (false, true) => Flow::Blocked,
            (false, false) => Flow::Still,
        }
    }

    /// Whether another request may be executed.
    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        !self.full.load(Ordering::Relaxed)
    }

    /// Ready when another request may be executed.
    pub(crate) fn poll_room(&self, cx: &Context<'_>) -> Poll<()> {
        if self.has_room() {
            return Poll::Ready(());
        }
        *self.request.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Notes that too many bytes wait.
    pub(super) fn fill(&self) {
        self.full.store(true, Ordering::Relaxed);
    }

    /// Notes that no bytes wait.
    #[inline]
    pub(super) fn empty(&self) {
        if self.full.load(Ordering::Relaxed) {
            self.full.store(false, Ordering::Relaxed);
            let request = self.request.lock().unwrap_or_else(PoisonError::into_inner).take();
            request.into_iter().for_each(Waker::wake);
        }
    }

    /// Whether responses are held.
    #[inline]
    pub(super) fn is_held(&self) -> bool {
        self.held.load(Ordering::Relaxed)
    }

    /// Notes that bytes are held.
    #[inline]
    pub(super) fn defer(&self) {
        self.deferred.store(true, Ordering::Relaxed);
    }

    /// Notes the result of a write.
    #[inline]
    pub(super) fn tried(&self, written: &Poll<io::Result<usize>>) {
        self.blocked.store(written.is_pending(), Ordering::Relaxed);
        if written.is_ready() {
            self.moved.store(true, Ordering::Relaxed);
        }
    }
}
