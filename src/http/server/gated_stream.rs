//! A socket behind its gate: no byte leaves before the changes it reports are committed.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::http::commit_gate::Gate;
use crate::http::worker_state;

use super::outflow::Outflow;

/// Most bytes of responses that are held, or wait for the gate or the client.
const MAX_HELD_BYTES: usize = 64 << 10;
/// Most bytes that a connection keeps for this while it holds nothing.
const KEPT_BYTES: usize = 8 << 10;

/// A connection's socket behind its gate.
pub(crate) struct Gated<S> {
    stream: S,
    gate: Arc<Gate>,
    outflow: Arc<Outflow>,
    /// Bytes that are held or wait, of which the first `sent` have left.
    held: Vec<u8>,
    sent: usize,
}

impl<S> Gated<S> {
    pub(crate) fn new(stream: S, gate: Arc<Gate>, outflow: Arc<Outflow>) -> Self {
        Self { stream, gate, outflow, held: Vec::new(), sent: 0 }
    }

    fn poll_open(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        worker_state::with(|state| state.gates.poll_open(&self.gate, cx))
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
            self.outflow.tried(&written);
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
        let takes = self.outflow.is_held() && self.held.len() + bytes.len() <= MAX_HELD_BYTES;
        if takes {
            self.outflow.defer();
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
        self.outflow.release();
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
        self.outflow.tried(&written);
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.outflow.is_held() {
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
        self.outflow.tried(&written);
        written
    }
}
