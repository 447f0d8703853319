//! The pace at which a body arrives: how long it may pause, its least rate, its total time.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Incoming};
use tokio::time::{Instant, timeout_at};

use crate::http::actor::body_too_large;
use crate::http::limits::Limits;
use crate::http::response::problem::Problem;

/// Which limit a body has reached.
#[derive(Debug, Clone, Copy)]
enum Limit {
    Pause,
    Rate,
    Total,
}

/// Reads a body, and refuses one that is too slow.
pub(crate) struct PacedBody<'a> {
    pub(crate) body: Incoming,
    limits: &'a Limits,
    total: Duration,
    /// When the body was first waited for. Nearly always it is there already, and no clock is read.
    started: Option<Instant>,
    received_bytes: u64,
    /// The most that its caller may send.
    most_bytes: u64,
}

impl<'a> PacedBody<'a> {
    /// A body that may take `total`.
    pub(crate) fn new(body: Incoming, limits: &'a Limits, total: Duration) -> Self {
        Self { body, limits, total, started: None, received_bytes: 0, most_bytes: u64::MAX }
    }

    /// The same body, of at most `most_bytes`.
    pub(crate) fn at_most(self, most_bytes: u64) -> Self {
        Self { most_bytes, ..self }
    }

    /// The next chunk; `None` at the end.
    pub(crate) async fn next_chunk(&mut self) -> Option<Result<Bytes, Problem>> {
        loop {
            // Nearly always the bytes are there already and no timer is needed.
            let mut pending = true;
            let at_once = poll_fn(|cx| {
                let polled = Pin::new(&mut self.body).poll_frame(cx);
                pending = polled.is_pending();
                Poll::Ready(match polled {
                    Poll::Ready(frame) => frame,
                    Poll::Pending => None,
                })
            })
            .await;
            let frame = if pending {
                let (deadline, limit) = self.deadline();
                let next = poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx));
                match timeout_at(deadline, next).await {
                    Ok(frame) => frame,
                    Err(_) => return Some(Err(self.refusal(limit))),
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
                        self.received_bytes += data.len() as u64;
                        if self.received_bytes > self.most_bytes {
                            return Some(Err(body_too_large(self.most_bytes)));
                        }
                        return Some(Ok(data));
                    }
                }
            }
        }
    }

    /// When the next chunk must have arrived, and which limit says so.
    fn deadline(&mut self) -> (Instant, Limit) {
        let now = Instant::now();
        let started = *self.started.get_or_insert(now);
        let in_pace = Duration::from_secs(self.received_bytes / self.limits.min_body_bytes_per_second.max(1));
        let rate = (started + self.limits.body_grace.max(in_pace), Limit::Rate);
        let total = (started + self.total, Limit::Total);
        let first = (now + self.limits.body_pause, Limit::Pause);
        [rate, total].into_iter().fold(first, |first, other| if other.0 < first.0 { other } else { first })
    }

    fn refusal(&self, limit: Limit) -> Problem {
        Problem::bad_request(match limit {
            Limit::Pause => "The body did not arrive in time: send it without long pauses".to_owned(),
            Limit::Rate => format!(
                "The body arrives too slowly: send at least {} bytes per second",
                self.limits.min_body_bytes_per_second
            ),
            Limit::Total => format!(
                "The body took longer than {} seconds: send it faster, or in several requests",
                self.total.as_secs()
            ),
        })
    }

    /// Does not count time in which the server kept the body waiting.
    pub(crate) fn excuse(&mut self, waited: Duration) {
        self.started = self.started.map(|started| started + waited);
    }
}
