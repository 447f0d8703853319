//! When the bytes of responses leave, and whether they do.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

/// How the bytes of a connection's responses leave. Only its worker's thread uses it, so the orderings are
/// relaxed.
///
/// One write serves all requests that arrived together: from the moment that a request is handed to its call,
/// writes are held, until the connection asks for more input and so has no further request. What does not fit
/// is written at once, and waits for the client: hyper's own flushing of pipelines buffers without bound.
#[derive(Debug, Default)]
pub(crate) struct Outflow {
    held: AtomicBool,
    /// Whether bytes are held that nothing has tried to write yet.
    deferred: AtomicBool,
    /// Whether bytes have left.
    moved: AtomicBool,
    /// Whether bytes wait for the client to take others.
    blocked: AtomicBool,
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
    }

    /// Lets writes through. Returns whether there are bytes that nothing has tried to write yet; the caller
    /// tries now.
    #[inline]
    pub(crate) fn release(&self) -> bool {
        self.held.store(false, Ordering::Relaxed);
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
