//! The bodies of requests: collected whole, or handed over as they arrive to the blocking code that reads
//! numbers.

use std::future::poll_fn;
use std::io::{self, Read};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use hyper::body::{Body as HttpBody, Incoming};
use tokio::sync::mpsc;

use crate::http::blocking::blocking;
use crate::http::response::body::CHUNKS_IN_FLIGHT;
use crate::http::response::problem::{Code, Problem};

/// Longest JSON body of a request, in bytes.
pub const MAX_JSON_BODY_BYTES: usize = 8 << 20;
/// How long a client may pause within a body, in seconds.
pub const BODY_PAUSE_SECONDS: u64 = 30;
/// How much of a refused upload is still read, so that its sender sees the response, in bytes.
const MAX_DISCARDED_BYTES: usize = 64 << 20;

/// The next chunk of a request's body; `None` at its end.
async fn next_chunk(body: &mut Incoming) -> Option<Result<Bytes, Problem>> {
    loop {
        // Nearly always the bytes are there already and no timer is needed.
        let mut pending = true;
        let at_once = poll_fn(|cx| {
            let polled = Pin::new(&mut *body).poll_frame(cx);
            pending = polled.is_pending();
            Poll::Ready(match polled {
                Poll::Ready(frame) => frame,
                Poll::Pending => None,
            })
        })
        .await;
        let frame = if pending {
            let patience = Duration::from_secs(BODY_PAUSE_SECONDS);
            match tokio::time::timeout(patience, poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx))).await {
                Ok(frame) => frame,
                Err(_) => {
                    return Some(Err(Problem::bad_request(
                        "The body did not arrive in time: send it without long pauses",
                    )));
                }
            }
        } else {
            at_once
        };
        match frame {
            None => return None,
            Some(Err(_)) => {
                return Some(Err(Problem::bad_request("The body ended early: send the whole body")));
            }
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Some(Ok(data));
                }
            }
        }
    }
}

/// Collects a whole body of at most [`MAX_JSON_BODY_BYTES`].
pub(crate) async fn collect_json(mut body: Incoming) -> Result<Bytes, Problem> {
    let too_large = || {
        Problem::new(
            Code::TooLarge,
            format!("A JSON body has at most {MAX_JSON_BODY_BYTES} bytes: split the request"),
        )
    };
    if body.size_hint().lower() > MAX_JSON_BODY_BYTES as u64 {
        discard(&mut body).await;
        return Err(too_large());
    }
    let Some(first) = next_chunk(&mut body).await.transpose()? else { return Ok(Bytes::new()) };
    if body.is_end_stream() && first.len() <= MAX_JSON_BODY_BYTES {
        return Ok(first);
    }
    let mut whole = BytesMut::from(first);
    while let Some(chunk) = next_chunk(&mut body).await.transpose()? {
        if whole.len() + chunk.len() > MAX_JSON_BODY_BYTES {
            discard(&mut body).await;
            return Err(too_large());
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.freeze())
}

/// Reads on, so that a client that sends everything before it reads still sees the response.
async fn discard(body: &mut Incoming) {
    let mut discarded_bytes = 0;
    while let Some(Ok(chunk)) = next_chunk(body).await {
        discarded_bytes += chunk.len();
        if discarded_bytes > MAX_DISCARDED_BYTES {
            return;
        }
    }
}

/// What a connection sends to the blocking side. A body without `End` ended early.
#[derive(Debug)]
enum Piece {
    Data(Bytes),
    End,
}

/// A blocking reader of a request's body.
#[derive(Debug)]
pub(crate) struct Upload {
    pieces: mpsc::Receiver<Piece>,
    current: Bytes,
    ended: bool,
}

impl Read for Upload {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            if self.ended {
                return Ok(0);
            }
            match self.pieces.blocking_recv() {
                Some(Piece::Data(data)) => self.current = data,
                Some(Piece::End) => self.ended = true,
                None => {
                    return Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "the body ended early: send the whole body",
                    ));
                }
            }
        }
        let length = self.current.len().min(out.len());
        self.current.copy_to_slice(&mut out[..length]);
        Ok(length)
    }
}

/// Runs `work` on a blocking thread over the body as it arrives, and returns its result. A body that ends
/// early is an error to `work`, never the end of the input.
pub(crate) async fn upload<T: Send + 'static>(
    mut body: Incoming,
    work: impl FnOnce(&mut Upload) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let (sender, pieces) = mpsc::channel(CHUNKS_IN_FLIGHT);
    let job = blocking(move || work(&mut Upload { pieces, current: Bytes::new(), ended: false }));
    let mut discarded_bytes = 0;
    let mut broken = None;
    loop {
        let piece = match next_chunk(&mut body).await {
            Some(Ok(data)) => Piece::Data(data),
            Some(Err(problem)) => {
                broken = Some(problem);
                break;
            }
            None => Piece::End,
        };
        let (length, ended) = match &piece {
            Piece::Data(data) => (data.len(), false),
            Piece::End => (0, true),
        };
        if sender.send(piece).await.is_err() {
            discarded_bytes += length;
        }
        if ended || discarded_bytes > MAX_DISCARDED_BYTES {
            break;
        }
    }
    drop(sender);
    let result = job.await;
    match broken {
        Some(problem) => Err(problem),
        None => result,
    }
}
