//! The body of a response: bytes, or a stream.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::task::JoinError;

use crate::http::lanes::{self, Lane};
use crate::journal::queue::Position;

/// The body of a response.
#[derive(Debug)]
pub enum Body {
    /// All of it.
    Whole(Bytes),
    /// All of it, which may be sent once the journal has committed the position. Any other body waits for all
    /// that its thread saw.
    Confirmed(Bytes, Position),
    /// Made part by part while it is sent. An error ends it early and cuts the connection.
    Stream(Stream),
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
            Self::Stream(stream) => stream.poll_next(cx).map(|part| part.map(|p| p.map(Frame::data))),
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

/// What makes the parts of a streamed body.
pub(crate) trait Parts: Send + 'static {
    /// The next part; `None` at the end. It may block, but not for long: an empty part only says that there
    /// is more to do.
    fn next_part(&mut self) -> io::Result<Option<Bytes>>;
}

type Made = Result<(Box<dyn Parts>, io::Result<Option<Bytes>>), JoinError>;

/// A body that is made while it is sent: the next part is made on a thread that may block once the connection
/// has room for it. So a slow reader holds one part, and no thread.
pub struct Stream {
    /// `None` while a part is being made, and after the end.
    parts: Option<Box<dyn Parts>>,
    job: Option<Pin<Box<dyn Future<Output = Made> + Send>>>,
}

impl Stream {
    pub(crate) fn new(parts: impl Parts) -> Self {
        Self { parts: Some(Box::new(parts)), job: None }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            if let Some(mut parts) = self.parts.take() {
                self.job = Some(Box::pin(lanes::run(Lane::Export, move || {
                    let part = parts.next_part();
                    (parts, part)
                })));
            }
            let Some(job) = &mut self.job else { return Poll::Ready(None) };
            let made = ready!(job.as_mut().poll(cx));
            self.job = None;
            match made {
                Ok((parts, Ok(Some(part)))) => {
                    self.parts = Some(parts);
                    if !part.is_empty() {
                        return Poll::Ready(Some(Ok(part)));
                    }
                }
                Ok((_, Ok(None))) => return Poll::Ready(None),
                Ok((_, Err(error))) => return Poll::Ready(Some(Err(error))),
                Err(error) => return Poll::Ready(Some(Err(io::Error::other(error)))),
            }
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stream")
    }
}
