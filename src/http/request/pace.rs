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

/// How fast a body has to be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// How long a client may pause within it.
    pause: Duration,
    /// How long it may take in any case,
    grace: Duration,
    /// and a second more for each of these bytes.
    bytes_per_second: u64,
    /// Whether the bytes come on top of the grace, instead of having to catch up with it.
    adds: bool,
    total: Duration,
}

impl Pace {
    /// Of a JSON body.
    pub(crate) fn of_json(limits: &Limits) -> Self {
        let (grace, bytes_per_second) = (limits.json_body, limits.json_bytes_per_second);
        Self { pause: limits.body_pause, grace, bytes_per_second, adds: true, total: Duration::MAX }
    }

    /// Of a list of numbers.
    pub(crate) fn of_upload(limits: &Limits) -> Self {
        let (grace, bytes_per_second) = (limits.upload_grace, limits.min_upload_bytes_per_second);
        Self { pause: limits.body_pause, grace, bytes_per_second, adds: false, total: limits.upload }
    }

    /// Of a body that nobody wants: it takes no longer than this, whatever its size.
    pub(crate) fn of_unread(limit: Duration) -> Self {
        Self { pause: limit, grace: limit, bytes_per_second: u64::MAX, adds: false, total: limit }
    }

    /// How long a body may take of which this much has arrived.
    fn time_for(&self, received_bytes: u64) -> Duration {
        let for_bytes = Duration::from_secs(received_bytes / self.bytes_per_second.max(1));
        if self.adds { self.grace + for_bytes } else { self.grace.max(for_bytes) }
    }
}

/// Reads a body, and refuses one that is too slow.
pub(crate) struct PacedBody {
    pub(crate) body: Incoming,
    pace: Pace,
    /// When the body was first waited for. Nearly always it is there already, and no clock is read.
    started: Option<Instant>,
    received_bytes: u64,
    /// The most that its caller may send.
    most_bytes: u64,
}

impl PacedBody {
    pub(crate) fn new(body: Incoming, pace: Pace) -> Self {
        Self { body, pace, started: None, received_bytes: 0, most_bytes: u64::MAX }
    }

    /// The same body, of at most `most_bytes`.
    pub(crate) fn at_most(self, most_bytes: u64) -> Self {
        Self { most_bytes, ..self }
    }

    /// How much of it has arrived, in bytes.
    pub(crate) fn received_bytes(&self) -> u64 {
        self.received_bytes
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
                    Err(_) => return Some(Err(self.refusal(limit).unread())),
                }
            } else {
                at_once
            };
            match frame {
                None => return None,
                Some(Err(_)) => {
                    let ended = Problem::bad_request("The body ended early: send the whole body");
                    return Some(Err(ended.unread()));
                }
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.received_bytes += data.len() as u64;
                        if self.received_bytes > self.most_bytes {
                            return Some(Err(body_too_large(self.most_bytes).unread()));
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
        let rate = (started + self.pace.time_for(self.received_bytes), Limit::Rate);
        let total = started.checked_add(self.pace.total).map(|end| (end, Limit::Total));
        let first = (now + self.pace.pause, Limit::Pause);
        [Some(rate), total]
            .into_iter()
            .flatten()
            .fold(first, |first, other| if other.0 < first.0 { other } else { first })
    }

    fn refusal(&self, limit: Limit) -> Problem {
        let Pace { grace, bytes_per_second, total, .. } = self.pace;
        Problem::bad_request(match limit {
            Limit::Pause => "The body did not arrive in time: send it without long pauses".to_owned(),
            Limit::Rate => format!(
                "The body arrives too slowly: after {} seconds send at least {bytes_per_second} bytes per second",
                grace.as_secs()
            ),
            Limit::Total => format!(
                "The body took longer than {} seconds: send it faster, or in several requests",
                total.as_secs()
            ),
        })
    }

    /// Does not count time in which the server kept the body waiting.
    pub(crate) fn excuse(&mut self, waited: Duration) {
        self.started = self.started.map(|started| started + waited);
    }
}
