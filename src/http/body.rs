//! The bodies of requests and answers: whole or streamed, and the bridge between async bodies and the
//! blocking code that reads and writes numbers.

use std::future::poll_fn;
use std::io::{self, Read};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::sync::mpsc;

use super::problem::{Code, Problem};

/// Longest JSON body of a request, in bytes.
pub const MAX_JSON_BODY_BYTES: usize = 8 << 20;
/// How long a client may pause within a body, in seconds.
pub const BODY_PAUSE_SECONDS: u64 = 30;
/// Chunks that wait between a connection and the blocking side, at most.
const CHUNKS_IN_FLIGHT: usize = 8;
/// How much of a refused upload is still read, so that its sender sees the answer, in bytes.
const MAX_DISCARDED_BYTES: usize = 64 << 20;

/// The body of an answer.
#[derive(Debug)]
pub enum Body {
    /// All of it.
    Whole(Bytes),
    /// Made by a blocking task while it is sent; ends early (and cuts the connection) on an error.
    Stream(mpsc::Receiver<io::Result<Bytes>>),
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
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Stream(chunks) => chunks.poll_recv(cx).map(|chunk| chunk.map(|c| c.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}

/// A streamed answer, and what the blocking side writes it to.
pub(crate) fn stream() -> (StreamWriter, Body) {
    let (sender, receiver) = mpsc::channel(CHUNKS_IN_FLIGHT);
    (StreamWriter { sender }, Body::Stream(receiver))
}

/// The blocking end of a streamed answer.
#[derive(Debug)]
pub(crate) struct StreamWriter {
    sender: mpsc::Sender<io::Result<Bytes>>,
}

impl StreamWriter {
    /// Hands over a chunk; waits while the client is slow. Fails when the client is gone.
    pub(crate) fn send(&self, chunk: Bytes) -> io::Result<()> {
        self.sender.blocking_send(Ok(chunk)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    /// Cuts the answer off, so that its reader does not take it for whole.
    pub(crate) fn fail(&self, error: io::Error) {
        // A client that is gone has nothing to be told.
        let _ = self.sender.blocking_send(Err(error));
    }
}

/// The next piece of a request's body; `None` at its end.
async fn next_chunk(body: &mut Incoming) -> Option<Result<Bytes, Problem>> {
    loop {
        // Nearly always the bytes are there already: no timer then.
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
                        "The body did not come: send it without long pauses",
                    )));
                }
            }
        } else {
            at_once
        };
        match frame {
            None => return None,
            Some(Err(_)) => {
                return Some(Err(Problem::bad_request("The body broke off: send the whole body")));
            }
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Some(Ok(data));
                }
            }
        }
    }
}

/// A whole body of at most [`MAX_JSON_BODY_BYTES`].
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

/// Reads on, so that a client that sends before it reads sees the answer.
async fn discard(body: &mut Incoming) {
    let mut discarded_bytes = 0;
    while let Some(Ok(chunk)) = next_chunk(body).await {
        discarded_bytes += chunk.len();
        if discarded_bytes > MAX_DISCARDED_BYTES {
            return;
        }
    }
}

/// What travels from a connection to the blocking side. A body that ends without `End` broke off.
#[derive(Debug)]
enum Piece {
    Data(Bytes),
    End,
}

/// Blocking reader of a request's body.
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
                        "the body broke off: send the whole body",
                    ));
                }
            }
        }
        let length = self.current.len().min(out.len());
        self.current.copy_to_slice(&mut out[..length]);
        Ok(length)
    }
}

/// Runs `work` on a blocking thread over the body as it arrives, and returns its result. A body that
/// breaks off is an error to `work`, never an end.
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

/// Runs `work` on a thread that may block.
pub(crate) fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> impl Future<Output = Result<T, Problem>> {
    let job = tokio::task::spawn_blocking(work);
    async move {
        job.await.unwrap_or_else(|_| {
            Err(Problem::internal(&"The call failed inside the server: see its log, and report it"))
        })
    }
}
