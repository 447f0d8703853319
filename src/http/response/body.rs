//! The body of a response: bytes, or a stream.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::mpsc;

use crate::journal::queue::Position;

/// Most chunks that wait between a connection and the blocking side.
pub(crate) const CHUNKS_IN_FLIGHT: usize = 8;

/// The body of a response.
#[derive(Debug)]
pub enum Body {
    /// All of it.
    Whole(Bytes),
    /// All of it, which may be sent once the journal has committed the position. Any other body waits for all
    /// that its thread saw.
    Confirmed(Bytes, Position),
    /// Made by a blocking task while it is sent. An error ends it early and cuts the connection.
    Stream(mpsc::Receiver<io::Result<Bytes>>),
}

impl Body {
    /// What must be committed before it is sent, if that is not all that its thread saw.
    #[inline]
    pub(crate) fn position(&self) -> Option<Position> {
        match self {
            Self::Confirmed(_, position) => Some(*position),
            Self::Whole(_) | Self::Stream(_) => None,
        }
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self::Whole(text.into())
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::Whole(bytes)
    }
}

impl From<BytesMut> for Body {
    fn from(bytes: BytesMut) -> Self {
        Self::Whole(bytes.freeze())
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.get_mut() {
            Self::Whole(bytes) | Self::Confirmed(bytes, _) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) | Self::Confirmed(bytes, _) => {
                Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes)))))
            }
            Self::Stream(chunks) => chunks.poll_recv(cx).map(|chunk| chunk.map(|c| c.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(bytes) | Self::Confirmed(bytes, _) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) | Self::Confirmed(bytes, _) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}

/// A streamed body, and the writer for the blocking side.
pub(crate) fn stream() -> (StreamWriter, Body) {
    let (sender, receiver) = mpsc::channel(CHUNKS_IN_FLIGHT);
    (StreamWriter { sender }, Body::Stream(receiver))
}

/// The blocking end of a streamed body.
#[derive(Debug)]
pub(crate) struct StreamWriter {
    sender: mpsc::Sender<io::Result<Bytes>>,
}

impl StreamWriter {
    /// Hands over a chunk; waits while the client is slow. Fails when the client is gone.
    pub(crate) fn send(&self, chunk: Bytes) -> io::Result<()> {
        self.sender.blocking_send(Ok(chunk)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    /// Cuts the response off, so that its reader does not believe it is complete.
    pub(crate) fn fail(&self, error: io::Error) {
        // A client that is gone needs no error.
        let _ = self.sender.blocking_send(Err(error));
    }
}
