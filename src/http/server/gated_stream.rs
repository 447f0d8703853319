//! A socket behind its gate: no byte leaves before the changes it reports are committed.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::http::commit_gate::Gate;
use crate::http::worker_state;

use super::inflow::Inflow;
use super::outflow::Outflow;

/// While this many bytes of responses are held, or wait for the gate or the client, no more are taken, and no
/// further request of HTTP/1 is executed. What one request adds may exceed it.
pub const MAX_HELD_BYTES: usize = 64 << 10;
/// Most bytes that a connection keeps for this while it holds nothing.
const KEPT_BYTES: usize = 8 << 10;

/// What is read of a client whose request waits, or before its protocol is known, in bytes.
const MAX_AHEAD_BYTES: usize = 1 << 10;
/// What a client of HTTP/2 sends first.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What is left of a connection's socket when hyper gives it up with answers in it, as it does at bytes that it
/// cannot read: the requests before these have been executed.
pub(crate) type Leftover<S> = Arc<Mutex<Option<Gated<S>>>>;

/// A connection's socket behind its gate.
pub(crate) struct Gated<S> {
    /// `None` only while it is dropped.
    stream: Option<S>,
    /// Where it goes if it is dropped with answers in it.
    leftover: Option<Leftover<S>>,
    gate: Arc<Gate>,
    inflow: Arc<Inflow>,
    outflow: Arc<Outflow>,
    /// Bytes that are held or wait, of which the first `sent` have left.
    held: Vec<u8>,
    sent: usize,
    ahead: Ahead,
}

/// What was read before hyper asked for it: to know the protocol, or while a request waited, so that the end of its
/// client is seen.
#[derive(Default)]
struct Ahead {
    bytes: Vec<u8>,
    is_end: bool,
}

impl<S> Gated<S> {
    pub(crate) fn new(stream: S, gate: Arc<Gate>, inflow: Arc<Inflow>, outflow: Arc<Outflow>) -> Self {
        let stream = Some(stream);
        Self {
            stream,
            leftover: None,
            gate,
            inflow,
            outflow,
            held: Vec::new(),
            sent: 0,
            ahead: Ahead::default(),
        }
    }

    /// The socket, and where it goes if it is dropped with answers in it.
    pub(crate) fn with_leftover(mut self) -> (Self, Leftover<S>) {
        let leftover = Leftover::default();
        self.leftover = Some(Arc::clone(&leftover));
        (self, leftover)
    }

    fn poll_open(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        worker_state::with(|state| state.gates.poll_open(&self.gate, cx))
    }
}

impl<S> Drop for Gated<S> {
    fn drop(&mut self) {
        if let Some(leftover) = self.leftover.take().filter(|_| !self.held.is_empty()) {
            let rest = Self {
                stream: self.stream.take(),
                leftover: None,
                gate: Arc::clone(&self.gate),
                inflow: Arc::clone(&self.inflow),
                outflow: Arc::clone(&self.outflow),
                held: std::mem::take(&mut self.held),
                sent: self.sent,
                ahead: Ahead::default(),
            };
            *leftover.lock().unwrap_or_else(PoisonError::into_inner) = Some(rest);
        }
    }
}

/// The socket within a [`Gated`].
#[inline]
fn pinned<S: Unpin>(stream: &mut Option<S>) -> io::Result<Pin<&mut S>> {
    stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
}

impl<S: AsyncWrite + Unpin> Gated<S> {
    /// Writes all that is held.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.held.is_empty() {
            return Poll::Ready(Ok(()));
        }
        self.outflow.take_deferred();
        ready!(self.poll_open(cx))?;
        while self.sent < self.held.len() {
            let written = pinned(&mut self.stream)?.poll_write(cx, &self.held[self.sent..]);
            self.outflow.tried(&written);
            match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                length => self.sent += length,
            }
        }
        self.sent = 0;
        self.held.clear();
        self.outflow.empty();
        if self.held.capacity() > KEPT_BYTES {
            self.held = Vec::new();
        }
        Poll::Ready(Ok(()))
    }

    /// Keeps bytes to be written later. Bytes behind held ones are written together with them.
    #[inline]
    fn keep(&mut self, bytes: &[u8]) -> usize {
        self.outflow.defer();
        self.held.extend_from_slice(bytes);
        if self.held.len() >= MAX_HELD_BYTES {
            self.outflow.fill();
        }
        bytes.len()
    }

    /// Writes what is left.
    pub(crate) fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        pinned(&mut self.stream)?.poll_shutdown(cx)
    }
}

impl<S: AsyncRead + Unpin> Gated<S> {
    /// Reads what the client sends while its request waits. With a full buffer the end of the client is not seen.
    fn poll_ahead(&mut self, cx: &mut Context<'_>) {
        let mut buffer = [0; MAX_AHEAD_BYTES];
        while !self.ahead.is_end && self.ahead.bytes.len() < MAX_AHEAD_BYTES {
            let mut part = ReadBuf::new(&mut buffer[self.ahead.bytes.len()..]);
            let Ok(stream) = pinned(&mut self.stream) else { return };
            match stream.poll_read(cx, &mut part) {
                Poll::Pending => return,
                Poll::Ready(Ok(())) if !part.filled().is_empty() => {
                    self.ahead.bytes.extend_from_slice(part.filled());
                }
                Poll::Ready(_) => {
                    self.ahead.is_end = true;
                    self.inflow.ended();
                }
            }
        }
    }

    /// Reads until it is known whether the client speaks HTTP/2. hyper then gets all that has come at once: a first
    /// part of its own would make it keep twice the room for the rest.
    pub(super) fn poll_is_http2(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        self.poll_ahead(cx);
        let Ahead { bytes, is_end } = &self.ahead;
        let is_open = bytes.len() < HTTP2_PREFACE.len() && HTTP2_PREFACE.starts_with(bytes) && !is_end;
        // It may be a part of a head, which has its time.
        self.inflow.set_in_head(is_open && !bytes.is_empty());
        if is_open { Poll::Pending } else { Poll::Ready(bytes.starts_with(HTTP2_PREFACE)) }
    }

    /// Takes what was read ahead; `None` if nothing was.
    fn take_ahead(&mut self, out: &mut ReadBuf<'_>) -> Option<()> {
        if self.ahead.bytes.is_empty() {
            return self.ahead.is_end.then_some(());
        }
        let length = self.ahead.bytes.len().min(out.remaining());
        out.put_slice(&self.ahead.bytes[..length]);
        self.ahead.bytes.drain(..length);
        if self.ahead.bytes.is_empty() {
            self.ahead.bytes = Vec::new();
        }
        Some(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gated<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // There is no further request in the connection's buffer. The next flush writes what is held.
        self.outflow.release();
        if self.inflow.is_turn_over() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = out.filled().len();
        let polled = match self.take_ahead(out) {
            Some(()) => Poll::Ready(Ok(())),
            None => pinned(&mut self.stream)?.poll_read(cx, out),
        };
        self.inflow.received(&out.filled()[before..]);
        polled
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Gated<S> {
    /// Takes all bytes, unless too many wait already: so nothing of an answer is left in hyper's own buffer,
    /// which is lost if the client goes on with bytes that it cannot read.
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.held.len() < MAX_HELD_BYTES && (self.outflow.is_held() || !self.held.is_empty()) {
            return Poll::Ready(Ok(self.keep(bytes)));
        }
        ready!(self.poll_drain(cx))?;
        if self.poll_open(cx)?.is_pending() {
            return Poll::Ready(Ok(self.keep(bytes)));
        }
        let written = pinned(&mut self.stream)?.poll_write(cx, bytes);
        self.outflow.tried(&written);
        if written.is_pending() {
            return Poll::Ready(Ok(self.keep(bytes)));
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.inflow.is_watching() {
            self.poll_ahead(cx);
        }
        if self.outflow.is_held() {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_drain(cx))?;
        pinned(&mut self.stream)?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        pinned(&mut self.stream)?.poll_shutdown(cx)
    }

    // hyper's HTTP/1 does not ask for it, and HTTP/2 writes what it has copied: one slice is as good as many.
    fn is_write_vectored(&self) -> bool {
        false
    }
}
