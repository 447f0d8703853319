//! The body of a response: bytes, or a stream.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::task::JoinError;

use crate::http::lanes::{self, Lane};

use super::watched::Watched;

/// The body of a response.
#[derive(Debug)]
pub enum Body {
    /// All of it.
    Whole(Bytes),
    /// All of it, which reports only changes that its thread has made. Any other body waits for all that its
    /// thread saw.
    OwnChanges(Bytes),
    /// Made part by part while it is sent. An error ends it early and cuts the connection.
    Stream(Box<Stream>),
    /// A body that is looked after while it is sent.
    Watched(Box<Watched<Self>>),
}

impl Body {
    /// Whether it reports only changes that its thread has made.
    #[inline]
    pub(crate) fn is_of_own_changes(&self) -> bool {
        matches!(self, Self::OwnChanges(_))
    }
}

impl Default for Body {
    /// An empty body.
    fn default() -> Self {
        Self::Whole(Bytes::new())
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
            Self::Whole(bytes) | Self::OwnChanges(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) | Self::OwnChanges(bytes) => {
                Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes)))))
            }
            Self::Stream(stream) => stream.poll_next(cx).map(|part| part.map(|p| p.map(Frame::data))),
            Self::Watched(watched) => watched.poll_next(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) | Self::OwnChanges(bytes) => bytes.is_empty(),
            Self::Stream(_) => false,
            Self::Watched(watched) => watched.is_at_end(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) | Self::OwnChanges(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream(_) => SizeHint::default(),
            Self::Watched(watched) => watched.size(),
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

/// A body that is made while it is sent, on threads that may block: one part is made ahead, the next when the
/// connection has room for it. So a slow reader holds one part, and no thread.
pub struct Stream(Next);

/// The next part of a stream.
enum Next {
    /// It is not being made yet.
    Of(Box<dyn Parts>),
    Making(Pin<Box<dyn Future<Output = Made> + Send>>),
    Made(Made),
    /// There is none.
    End,
}

impl Next {
    /// Begins to make it.
    fn make(mut parts: Box<dyn Parts>, cx: &mut Context<'_>) -> Self {
        let mut job = Box::pin(lanes::run(Lane::Export, move || {
            let part = parts.next_part();
            (parts, part)
        }));
        match job.as_mut().poll(cx) {
            Poll::Ready(made) => Self::Made(made),
            Poll::Pending => Self::Making(job),
        }
    }
}

impl Stream {
    pub(crate) fn new(parts: impl Parts) -> Self {
        Self(Next::Of(Box::new(parts)))
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            let made = match std::mem::replace(&mut self.0, Next::End) {
                Next::End => return Poll::Ready(None),
                Next::Of(parts) => {
                    self.0 = Next::make(parts, cx);
                    if matches!(self.0, Next::Making(_)) {
                        return Poll::Pending;
                    }
                    continue;
                }
                Next::Making(mut job) => match job.as_mut().poll(cx) {
                    Poll::Ready(made) => made,
                    Poll::Pending => {
                        self.0 = Next::Making(job);
                        return Poll::Pending;
                    }
                },
                Next::Made(made) => made,
            };
            match made {
                Ok((parts, Ok(Some(part)))) => {
                    self.0 = Next::make(parts, cx);
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
