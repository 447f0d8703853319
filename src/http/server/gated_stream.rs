//! A socket behind its gate: no byte leaves before the changes it reports are committed.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::http::worker_state;

use super::connection::ConnectionState;

/// Most bytes of responses that are held, or wait for the gate or the client.
const MAX_HELD_BYTES: usize = 64 << 10;
/// Most bytes that a connection keeps for this while it holds nothing.
const KEPT_BYTES: usize = 8 << 10;

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

    #[inline]
    fn is_held(&self) -> bool {
        self.held.load(Ordering::Relaxed)
    }

    #[inline]
    fn tried(&self, written: &Poll<io::Result<usize>>) {
        self.blocked.store(written.is_pending(), Ordering::Relaxed);
        if written.is_ready() {
            self.moved.store(true, Ordering::Relaxed);
        }
    }
}

/// A connection's socket behind its gate.
pub(crate) struct Gated<S> {
    stream: S,
    state: Arc<ConnectionState>,
    /// Bytes that are held or wait, of which the first `sent` have left.
    held: Vec<u8>,
    sent: usize,
}

impl<S> Gated<S> {
    pub(crate) fn new(stream: S, state: Arc<ConnectionState>) -> Self {
        Self { stream, state, held: Vec::new(), sent: 0 }
    }

    fn poll_open(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        worker_state::with(|state| state.gates.poll_open(&self.state.gate, cx))
    }
}

impl<S: AsyncWrite + Unpin> Gated<S> {
    /// Writes all that is held.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.held.is_empty() {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_open(cx))?;
        while self.sent < self.held.len() {
            let written = Pin::new(&mut self.stream).poll_write(cx, &self.held[self.sent..]);
            self.state.outflow.tried(&written);
            match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                length => self.sent += length,
            }
        }
        self.sent = 0;
        self.held.clear();
        self.held.shrink_to(KEPT_BYTES);
        Poll::Ready(Ok(()))
    }

    /// Takes bytes to be written later, if they have to wait and there is room.
    #[inline]
    fn hold(&mut self, bytes: &[u8]) -> bool {
        let takes = self.state.outflow.is_held() && self.held.len() + bytes.len() <= MAX_HELD_BYTES;
        if takes {
            self.state.outflow.deferred.store(true, Ordering::Relaxed);
            self.held.extend_from_slice(bytes);
        }
        takes
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Gated<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // There is no further request in the connection's buffer.
        self.state.outflow.release();
        // What cannot leave now wakes the connection when it can.
        if let Poll::Ready(Err(error)) = self.poll_drain(cx) {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.stream).poll_read(cx, out)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gated<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.hold(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        ready!(self.poll_drain(cx))?;
        ready!(self.poll_open(cx))?;
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.state.outflow.tried(&written);
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.state.outflow.is_held() {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_drain(cx))?;
        ready!(self.poll_open(cx))?;
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.state.outflow.tried(&written);
        written
    }
}
