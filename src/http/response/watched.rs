//! Answers whose bodies are under way for longer: whether their client takes them, and how much memory waits.
//!
//! The bytes that leave a connection show the progress of HTTP/1. With HTTP/2 a client can hold back each
//! stream by itself while the connection lives, so each body is watched where hyper asks for its next part:
//! it does so when the client has taken enough of what it has.

use std::pin::Pin;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

/// Largest part of a body that is handed to HTTP/2 at once, in bytes: a client that takes this much within the
/// limit of an answer's pause makes progress.
pub const HTTP2_PART_BYTES: usize = 8 << 10;
/// While this much of the answers of one HTTP/2 connection waits for its client, its further requests wait
/// before they are executed, in bytes.
pub const HTTP2_WAITING_BYTES: usize = 1 << 20;

/// The client has the next part to take.
const WAITS: u8 = 0;
/// The client has taken something since the last tick.
const TAKEN: u8 = 1;
/// The next part is being made.
const MAKING: u8 = 2;

/// The answers of one connection whose bodies are under way. Only its worker's thread uses it, so the orderings
/// are relaxed.
#[derive(Debug, Default)]
pub(crate) struct OpenAnswers {
    list: Mutex<Vec<Open>>,
    waiting_bytes: AtomicUsize,
    /// Requests that wait until less is waiting.
    requests: Mutex<Vec<Waker>>,
}

#[derive(Debug)]
struct Open {
    progress: Arc<AtomicU8>,
    stalled_ticks: u32,
}

/// What a tick finds.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct AnswersSeen {
    /// Answers that are under way.
    pub(crate) open: usize,
    /// Most ticks that one of them has waited for the client.
    pub(crate) stalled_ticks: u32,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl OpenAnswers {
    /// Counts a tick.
    pub(crate) fn tick(&self) -> AnswersSeen {
        let mut list = lock(&self.list);
        let mut seen = AnswersSeen { open: list.len(), stalled_ticks: 0 };
        for open in list.iter_mut() {
            let waits = open.progress.load(Ordering::Relaxed) == WAITS;
            open.stalled_ticks = if waits { open.stalled_ticks + 1 } else { 0 };
            // From now on it waits again, unless something is taken.
            let _ = open.progress.compare_exchange(TAKEN, WAITS, Ordering::Relaxed, Ordering::Relaxed);
            seen.stalled_ticks = seen.stalled_ticks.max(open.stalled_ticks);
        }
        seen
    }

    /// Ready when so little waits for the client that another request may be executed.
    pub(crate) fn poll_room(&self, cx: &Context<'_>) -> Poll<()> {
        if self.has_room() {
            return Poll::Ready(());
        }
        lock(&self.requests).push(cx.waker().clone());
        Poll::Pending
    }

    /// Whether another request may be executed.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting_bytes.load(Ordering::Relaxed) < HTTP2_WAITING_BYTES
    }

    /// Watches the body of an answer.
    pub(crate) fn watch<B: HttpBody>(self: &Arc<Self>, body: B, is_http2: bool) -> Watched<B> {
        let progress = Arc::new(AtomicU8::new(WAITS));
        lock(&self.list).push(Open { progress: Arc::clone(&progress), stalled_ticks: 0 });
        let whole_bytes = body.size_hint().exact().unwrap_or_default() as usize;
        self.waiting_bytes.fetch_add(whole_bytes, Ordering::Relaxed);
        let answers = Arc::clone(self);
        Watched { body, rest: Bytes::new(), is_http2, answers, progress, waiting_bytes: whole_bytes }
    }

    fn leaves(&self, bytes: usize) {
        self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
        if bytes > 0 && self.has_room() {
            std::mem::take(&mut *lock(&self.requests)).into_iter().for_each(Waker::wake);
        }
    }
}

/// A body that is watched.
#[derive(Debug)]
pub struct Watched<B> {
    body: B,
    /// What is left of a part that is too large to be handed on at once.
    rest: Bytes,
    is_http2: bool,
    answers: Arc<OpenAnswers>,
    progress: Arc<AtomicU8>,
    /// What is counted of it in all.
    waiting_bytes: usize,
}

impl<B: HttpBody<Data = Bytes> + Unpin> Watched<B> {
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if self.rest.is_empty() {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => {
                    self.progress.store(MAKING, Ordering::Relaxed);
                    return Poll::Pending;
                }
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                Poll::Ready(end) => return Poll::Ready(end),
            }
        }
        self.progress.store(TAKEN, Ordering::Relaxed);
        let part = if self.is_http2 && self.rest.len() > HTTP2_PART_BYTES {
            // A copy: a part of the bytes themselves would keep all of them.
            let part = Bytes::copy_from_slice(&self.rest[..HTTP2_PART_BYTES]);
            self.rest = self.rest.split_off(HTTP2_PART_BYTES);
            part
        } else {
            std::mem::take(&mut self.rest)
        };
        let counted_bytes = part.len().min(self.waiting_bytes);
        self.waiting_bytes -= counted_bytes;
        self.answers.leaves(counted_bytes);
        Poll::Ready(Some(Ok(Frame::data(part))))
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    pub(super) fn size(&self) -> SizeHint {
        match self.body.size_hint().exact() {
            Some(bytes) => SizeHint::with_exact(bytes + self.rest.len() as u64),
            None => SizeHint::default(),
        }
    }
}

impl<B> Drop for Watched<B> {
    fn drop(&mut self) {
        lock(&self.answers.list).retain(|open| !Arc::ptr_eq(&open.progress, &self.progress));
        self.answers.leaves(self.waiting_bytes);
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    fn next(body: &mut Watched<Full<Bytes>>) -> Option<Bytes> {
        let mut cx = Context::from_waker(Waker::noop());
        match body.poll_next(&mut cx) {
            Poll::Ready(frame) => frame.map(|frame| frame.unwrap().into_data().unwrap()),
            Poll::Pending => panic!("it is there"),
        }
    }

    #[test]
    fn an_answer_leaves_in_parts_and_makes_room() {
        let answers = Arc::new(OpenAnswers::default());
        let text: Vec<u8> = (0..HTTP2_WAITING_BYTES + 7).map(|at| at as u8).collect();
        let mut body = answers.watch(Full::from(text.clone()), true);
        assert_eq!(body.size().exact(), Some(text.len() as u64));
        let cx = Context::from_waker(Waker::noop());
        assert!(answers.poll_room(&cx).is_pending());
        let mut read = next(&mut body).unwrap().to_vec();
        assert_eq!(read.len(), HTTP2_PART_BYTES);
        assert!(answers.poll_room(&cx).is_ready());
        while !body.is_at_end() {
            read.extend_from_slice(&next(&mut body).unwrap());
        }
        assert!(read == text && next(&mut body).is_none());
        drop(body);
        assert_eq!((answers.waiting_bytes.load(Ordering::Relaxed), answers.tick().open), (0, 0));
    }

    #[test]
    fn only_what_waits_for_the_client_is_stalled() {
        let answers = Arc::new(OpenAnswers::default());
        let mut body = answers.watch(Full::from(vec![1; 3 * HTTP2_PART_BYTES]), true);
        for ticks in 1..4 {
            assert_eq!(answers.tick().stalled_ticks, ticks);
        }
        next(&mut body);
        assert_eq!([answers.tick().stalled_ticks, answers.tick().stalled_ticks], [0, 1]);
        drop(body);
        assert_eq!(answers.tick().stalled_ticks, 0);
    }
}
