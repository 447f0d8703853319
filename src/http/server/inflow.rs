//! What a connection's client sends: whether it is within the head of a request, and whether a head that says
//! how long its body is says it twice.
//!
//! hyper removes `Content-Length` from a request with `Transfer-Encoding`, and what a proxy in front took for
//! the end of the body is unknown then. So the bytes of heads that may be of such a request are kept until it
//! is handed to its call. That needs the place where its head began: a request with `Transfer-Encoding` that
//! stands behind another one in the same bytes is refused as well, which no client notices that waits for its
//! answers.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::Request;
use hyper::body::Body;
use hyper::header::TRANSFER_ENCODING;
use memchr::{memchr2, memmem};

use crate::http::request::framing::Framing;
use crate::http::wait_link::WaitLink;

/// How HTTP/2 begins.
const HTTP2_PREFACE: &[u8] = b"PRI ";
/// How a head ends, and a chunked body.
const BLANK_LINE: &[u8] = b"\r\n\r\n";
const BLANK_TAIL: u32 = u32::from_be_bytes(*b"\r\n\r\n");
/// How much a connection's task reads before others of its worker have their turn, in bytes.
const TURN_BYTES: usize = 64 << 10;
/// The same of HTTP/2, whose smallest frames ask for nothing, are many, and are answered.
const HTTP2_TURN_BYTES: usize = 16 << 10;
/// Most bytes of heads that are kept: hyper takes no longer ones.
const MAX_KEPT_BYTES: usize = 128 << 10;
/// Most bytes that a connection keeps room for.
const KEPT_ROOM_BYTES: usize = 4 << 10;

/// No request is under way, and nothing of the next one has come.
const SILENT: u8 = 0;
/// A part of a head has come.
const HEAD: u8 = 1;
/// A request is under way.
const CALL: u8 = 2;

/// A request is under way that waits: its client is watched.
const WAITING: u8 = 3;

/// The end of a request is known only if what comes last is a blank line.
const UNKNOWN: i64 = i64::MAX;

/// What the client of a connection sends. Only its worker's thread uses it, so the orderings are relaxed.
#[derive(Debug, Default)]
pub(crate) struct Inflow {
    phase: AtomicU8,
    is_begun: AtomicBool,
    is_http2: AtomicBool,
    /// The last four bytes that came. Behind a blank line nothing is left of a next head: a head that ends so is
    /// complete.
    tail: AtomicU32,
    /// What has been read since the connection's task had its turn.
    turn_bytes: AtomicUsize,
    /// How much is to come of the body under way; [`UNKNOWN`] without a length.
    to_come_bytes: AtomicI64,
    /// Whether [`Self::heads`] has any.
    keeps: AtomicBool,
    heads: Mutex<Heads>,
    /// Of the request that waits.
    link: Mutex<Option<Arc<WaitLink>>>,
}

/// The bytes of heads that are not handed to calls yet.
#[derive(Debug, Default)]
struct Heads {
    bytes: Vec<u8>,
    /// Whether they begin where a head begins.
    is_whole: bool,
}

impl Inflow {
    fn heads(&self) -> MutexGuard<'_, Heads> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a turn of the connection's task.
    #[inline]
    pub(super) fn begin_turn(&self) {
        self.turn_bytes.store(0, Ordering::Relaxed);
    }

    /// Whether the task has read enough in this turn: others of its worker have theirs first.
    #[inline]
    pub(super) fn is_turn_over(&self) -> bool {
        let limit_bytes = if self.is_http2() { HTTP2_TURN_BYTES } else { TURN_BYTES };
        self.turn_bytes.load(Ordering::Relaxed) >= limit_bytes
    }

    /// Notes bytes that have come.
    #[inline]
    pub(super) fn received(&self, bytes: &[u8]) {
        self.turn_bytes.store(self.turn_bytes.load(Ordering::Relaxed) + bytes.len(), Ordering::Relaxed);
        if bytes.is_empty() || self.is_http2() {
            return;
        }
        let phase = self.phase.load(Ordering::Relaxed);
        let before = self.tail.load(Ordering::Relaxed);
        let tail = match bytes.last_chunk() {
            Some(last) => u32::from_be_bytes(*last),
            None => bytes.iter().fold(before, |tail, byte| tail << 8 | u32::from(*byte)),
        };
        self.tail.store(tail, Ordering::Relaxed);
        if phase >= CALL {
            let to_come_bytes = self.to_come_bytes.load(Ordering::Relaxed);
            if to_come_bytes != UNKNOWN {
                let left_bytes = to_come_bytes.saturating_sub_unsigned(bytes.len() as u64);
                self.to_come_bytes.store(left_bytes, Ordering::Relaxed);
            }
            return;
        }
        self.phase.store(HEAD, Ordering::Relaxed);
        // Letters of `chunked` and `Content-Length`, which the head of a plain lease seldom has.
        let has = |small: u8| memchr2(small, small.to_ascii_uppercase(), bytes).is_some();
        let is_more = phase == HEAD && self.keeps.load(Ordering::Relaxed);
        let is_of_interest = tail != BLANK_TAIL || has(b'k') || has(b'g') || is_more;
        let is_first = !self.is_begun.swap(true, Ordering::Relaxed);
        if is_first && bytes.starts_with(HTTP2_PREFACE) {
            self.is_http2.store(true, Ordering::Relaxed);
        } else if is_of_interest {
            let is_at_start =
                is_first || before == BLANK_TAIL || self.to_come_bytes.load(Ordering::Relaxed) == 0;
            self.keep(bytes, phase == SILENT, is_at_start);
        }
    }

    fn keep(&self, bytes: &[u8], is_begin: bool, is_at_start: bool) {
        self.keeps.store(true, Ordering::Relaxed);
        let mut heads = self.heads();
        if is_begin {
            heads.bytes.clear();
            heads.is_whole = is_at_start;
        } else if heads.bytes.is_empty() {
            heads.is_whole = false;
        }
        let room = MAX_KEPT_BYTES - heads.bytes.len().min(MAX_KEPT_BYTES);
        heads.is_whole &= bytes.len() <= room;
        heads.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// Notes that a request has its head. Returns what the head says of its body's length.
    #[inline]
    pub(super) fn called<B: Body>(&self, request: &Request<B>) -> Framing {
        self.phase.store(CALL, Ordering::Relaxed);
        if self.is_http2() {
            return Framing::Clear;
        }
        if request.body().is_end_stream() {
            self.to_come_bytes.store(UNKNOWN, Ordering::Relaxed);
            // What is behind it in the same bytes has its begin in them, which is not known any more.
            if self.keeps.load(Ordering::Relaxed) {
                self.heads().bytes.clear();
                self.keeps.store(false, Ordering::Relaxed);
            }
            return Framing::Clear;
        }
        self.called_with_body(request)
    }

    fn called_with_body<B: Body>(&self, request: &Request<B>) -> Framing {
        self.keeps.store(false, Ordering::Relaxed);
        let mut heads = self.heads();
        let bytes = std::mem::take(&mut heads.bytes);
        let end = memmem::find(&bytes, BLANK_LINE).filter(|_| heads.is_whole);
        let to_come_bytes = match (end, request.body().size_hint().exact()) {
            (Some(end), Some(length)) => {
                let come_bytes = (bytes.len() - end - BLANK_LINE.len()) as u64;
                i64::try_from(length).map_or(UNKNOWN, |length| length.saturating_sub_unsigned(come_bytes))
            }
            _ => UNKNOWN,
        };
        self.to_come_bytes.store(to_come_bytes, Ordering::Relaxed);
        let framing = match (request.headers().contains_key(TRANSFER_ENCODING), end) {
            (true, None) => Framing::Behind,
            (true, Some(end)) if names_length(&bytes[..end]) => Framing::Twice,
            _ => Framing::Clear,
        };
        if bytes.capacity() <= KEPT_ROOM_BYTES {
            heads.bytes = bytes;
            heads.bytes.clear();
        }
        framing
    }

    /// Says whether a part of a head has come that is not received yet.
    pub(super) fn set_in_head(&self, is_in_head: bool) {
        self.phase.store(if is_in_head { HEAD } else { SILENT }, Ordering::Relaxed);
    }

    /// Notes that a request is answered. What its client has sent of the next one may be in hyper's buffer: it
    /// counts once more of it comes.
    #[inline]
    pub(super) fn answered(&self) {
        self.phase.store(SILENT, Ordering::Relaxed);
    }

    /// Watches the client of a request that waits. Of HTTP/2, a request ends with its client.
    pub(super) fn watch(&self, link: &Arc<WaitLink>) {
        if !self.is_http2() && self.phase.swap(WAITING, Ordering::Relaxed) != WAITING {
            *self.link.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(link));
        }
    }

    /// Whether a request waits.
    #[inline]
    pub(super) fn is_watching(&self) -> bool {
        self.phase.load(Ordering::Relaxed) == WAITING
    }

    /// Notes that the client sends nothing more while a request waits.
    pub(super) fn ended(&self) {
        let link = self.link.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(link) = link {
            link.client_has_gone();
        }
    }

    /// Whether the whole body of the last request has come. If that is not known, it has not.
    pub(super) fn has_body_come(&self) -> bool {
        let to_come_bytes = self.to_come_bytes.load(Ordering::Relaxed);
        to_come_bytes != UNKNOWN && to_come_bytes <= 0
    }

    /// Whether the connection is HTTP/2.
    #[inline]
    pub(super) fn is_http2(&self) -> bool {
        self.is_http2.load(Ordering::Relaxed)
    }

    /// Whether a head has begun and is not complete. Of HTTP/2, whose frames do not show it, this says nothing.
    pub(super) fn is_in_head(&self) -> bool {
        !self.is_http2() && self.phase.load(Ordering::Relaxed) == HEAD
    }
}

/// Whether a head has a line of `Content-Length`.
fn names_length(head: &[u8]) -> bool {
    const NAME: &[u8] = b"content-length";
    head.split(|byte| *byte == b'\n').any(|line| {
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        name.trim_ascii().eq_ignore_ascii_case(NAME)
    })
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use bytes::Bytes;
    use http_body_util::{Empty, Full};
    use hyper::body::Frame;

    use super::*;

    const CHUNKED: &str = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    const BOTH: &str = "POST / HTTP/1.1\r\ncontent-LENGTH: 5\r\nTransfer-Encoding: chunked\r\n\r\n";

    /// A body whose length is not known.
    struct Chunks;

    impl Body for Chunks {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Pending
        }
    }

    fn chunked(inflow: &Inflow) -> Framing {
        inflow.called(&Request::post("/").header(TRANSFER_ENCODING, "chunked").body(Chunks).unwrap())
    }

    fn with_length(inflow: &Inflow, length: usize) {
        let request = Request::post("/").body(Full::<Bytes>::from(vec![b' '; length])).unwrap();
        assert_eq!(inflow.called(&request), Framing::Clear);
    }

    fn plain(inflow: &Inflow) {
        assert_eq!(inflow.called(&Request::post("/").body(Empty::<Bytes>::new()).unwrap()), Framing::Clear);
    }

    #[test]
    fn a_head_with_both_is_found_however_it_is_cut() {
        for (text, expected) in [(CHUNKED, Framing::Clear), (BOTH, Framing::Twice)] {
            for cut in 1..text.len() {
                let inflow = Inflow::default();
                inflow.received(&text.as_bytes()[..cut]);
                inflow.received(&text.as_bytes()[cut..]);
                assert_eq!(chunked(&inflow), expected, "{text} cut at {cut}");
            }
            let inflow = Inflow::default();
            inflow.received(format!("{text}0\r\n\r\n").as_bytes());
            assert_eq!(chunked(&inflow), expected, "{text}");
        }
    }

    #[test]
    fn requests_before_do_not_matter_if_they_were_answered() {
        let inflow = Inflow::default();
        for _ in 0..2 {
            inflow.received(b"GET /k HTTP/1.1\r\n");
            inflow.received(b"\r");
            inflow.received(b"\n");
            plain(&inflow);
            inflow.answered();
            inflow.received(b"POST / HTTP/1.1\r\ncontent-length: 4\r\n\r\n{}");
            with_length(&inflow, 4);
            inflow.received(b"  ");
            inflow.answered();
            inflow.received(b"POST / HTTP/1.1\r\ncontent-length: 4\r\n\r\n");
            with_length(&inflow, 4);
            inflow.received(b"{  }");
            inflow.answered();
            inflow.received(CHUNKED.as_bytes());
            assert_eq!(chunked(&inflow), Framing::Clear);
            inflow.received(b"2\r\n{}\r\n0\r\n\r\n");
            inflow.answered();
            inflow.received(BOTH.as_bytes());
            assert_eq!(chunked(&inflow), Framing::Twice);
            inflow.received(b"0\r\n\r\n");
            inflow.answered();
        }
    }

    #[test]
    fn a_head_whose_begin_is_unknown_is_told() {
        for (before, ahead) in [
            ("GET / HTTP/1.1\r\n\r\nPOST / HTTP/1.1\r\ncontent-length: 3\r\nx: ", None),
            ("", Some(2)),
            ("", Some(1)),
        ] {
            let inflow = Inflow::default();
            if let Some(length) = ahead {
                // The body is one byte; with a second one, the next head has begun behind it.
                inflow.received(
                    format!("POST / HTTP/1.1\r\ncontent-length: 1\r\n\r\n{}", &"{p"[..length]).as_bytes(),
                );
                with_length(&inflow, 1);
            } else {
                inflow.received(before.as_bytes());
                plain(&inflow);
            }
            inflow.answered();
            inflow.received(CHUNKED.as_bytes());
            let expected = if ahead == Some(1) { Framing::Clear } else { Framing::Behind };
            assert_eq!(chunked(&inflow), expected, "{before} {ahead:?}");
        }
        let inflow = Inflow::default();
        inflow.received(format!("GET / HTTP/1.1\r\n\r\n{CHUNKED}").as_bytes());
        plain(&inflow);
        inflow.answered();
        assert_eq!(chunked(&inflow), Framing::Behind);
    }
}
