//! Requests that are repeated until they are answered: over kept connections, at whichever member is the primary.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::header::RETRY_AFTER;
use hyper::{Method, Response, StatusCode};
use serde::Deserialize;
use tokio::time::{Instant, sleep, timeout_at};

use crate::client::error::ClientError;
use crate::client::payload::Payload;
use crate::client::server::Server;
use crate::client::{Call, connect, respond};

use super::failure::LeaseFailure;

/// Connections that are kept for the next calls.
const MAX_IDLE_CONNECTIONS: usize = 16;
/// How long one attempt may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);
/// The first pause before a repetition, which doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Longest answer, in bytes: those to calls for one lease are short.
const MAX_ANSWER_BYTES: usize = 1 << 20;
/// The longest pause that is kept because the daemon asks for it.
const MAX_RETRY_AFTER_SECONDS: u64 = 60;

/// The members, and connections to them.
pub(super) struct Requests {
    servers: Vec<Server>,
    /// Which of them was the primary when last heard of.
    primary: AtomicUsize,
    idle: Mutex<Vec<Idle>>,
}

struct Idle {
    server: usize,
    sender: SendRequest<Payload>,
}

/// What the daemon answered.
pub(super) struct Answer {
    /// When the call that was answered was sent: the seconds that the answer tells count from then on at the latest.
    pub(super) sent: Instant,
    pub(super) body: Vec<u8>,
}

/// What became of one attempt.
enum Attempt {
    Answered(Vec<u8>),
    /// Refused: nothing was done, and it may be granted later.
    Later {
        after: Option<Duration>,
        failure: LeaseFailure,
    },
    /// Not done by this member, or nobody knows what became of it: it is repeated, at another member if there is one.
    Elsewhere(LeaseFailure),
    Failed(LeaseFailure),
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Problem {
    code: String,
    detail: String,
    results: Vec<ItemResult>,
}

#[derive(Deserialize)]
struct ItemResult {
    result: String,
}

impl Requests {
    pub(super) fn new(servers: Vec<Server>) -> Result<Self, LeaseFailure> {
        if servers.is_empty() {
            return Err(LeaseFailure::NoServers);
        }
        Ok(Self { servers, primary: AtomicUsize::new(0), idle: Mutex::default() })
    }

    /// Sends a call that is safe to repeat, until it is answered or a time has come.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        body: &serde_json::Value,
        key: Option<&str>,
        until: Instant,
    ) -> Result<Answer, LeaseFailure> {
        let payload = Bytes::from(body.to_string());
        let mut pause = FIRST_PAUSE;
        loop {
            let at = self.primary.load(Ordering::Relaxed);
            let sent = Instant::now();
            let call = Call {
                content_type: Some("application/json"),
                header: key.map(|key| ("idempotency-key", key)),
                payload: Payload::Bytes(payload.clone()),
                ..Call::new(method.clone(), path)
            };
            let (wait, failure) = match self.attempt(at, call, until).await {
                Attempt::Answered(body) => return Ok(Answer { sent, body }),
                Attempt::Failed(failure) => return Err(failure),
                Attempt::Later { after, failure } => (after.unwrap_or(pause), failure),
                Attempt::Elsewhere(failure) => {
                    self.leave(at);
                    (pause, failure)
                }
            };
            if Instant::now() + wait >= until {
                return Err(LeaseFailure::NoAnswer(Some(Box::new(failure))));
            }
            sleep(wait).await;
            pause = LONGEST_PAUSE.min(2 * pause);
        }
    }

    /// Asks another member from now on, if nobody has moved on yet.
    fn leave(&self, at: usize) {
        let next = (at + 1) % self.servers.len();
        let _ = self.primary.compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    async fn attempt(&self, at: usize, call: Call<'_>, until: Instant) -> Attempt {
        let limit = until.min(Instant::now() + ATTEMPT_TIMEOUT);
        match timeout_at(limit, self.exchange(at, call)).await {
            Ok(Ok(attempt)) => attempt,
            Ok(Err(error @ (ClientError::Address(_) | ClientError::Files(_) | ClientError::Request(_)))) => {
                Attempt::Failed(error.into())
            }
            Ok(Err(error)) => Attempt::Elsewhere(error.into()),
            Err(_) => Attempt::Elsewhere(LeaseFailure::NoAnswer(None)),
        }
    }

    async fn exchange(&self, at: usize, call: Call<'_>) -> Result<Attempt, ClientError> {
        let server = &self.servers[at];
        let mut sender = match self.take_idle(at) {
            Some(sender) => sender,
            None => connect(server).await?,
        };
        let response = respond(&mut sender, server, call).await?;
        let (status, after) = (response.status(), retry_after(&response));
        let body = read(response.into_body()).await?;
        self.keep(at, sender);
        Ok(if status.is_success() { Attempt::Answered(body) } else { refused(status, after, &body) })
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_idle(&self, server: usize) -> Option<SendRequest<Payload>> {
        let mut idle = self.idle();
        // Those that the daemon has closed, and those to members that are no longer asked, are let go.
        idle.retain(|kept| kept.server == server && !kept.sender.is_closed());
        idle.pop().map(|kept| kept.sender)
    }

    fn keep(&self, server: usize, sender: SendRequest<Payload>) {
        let mut idle = self.idle();
        if idle.len() < MAX_IDLE_CONNECTIONS && !sender.is_closed() {
            idle.push(Idle { server, sender });
        }
    }
}

/// A body, whole.
async fn read(mut body: Incoming) -> Result<Vec<u8>, ClientError> {
    let mut read = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        if let Ok(data) = frame?.into_data() {
            read.extend_from_slice(&data);
            if read.len() > MAX_ANSWER_BYTES {
                return Err(ClientError::Answer(format!("it is longer than {MAX_ANSWER_BYTES} bytes")));
            }
        }
    }
    Ok(read)
}

/// How long the daemon asks to wait.
fn retry_after<B>(response: &Response<B>) -> Option<Duration> {
    let seconds: u64 = response.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds.min(MAX_RETRY_AFTER_SECONDS)))
}

/// What a refusal means for the next attempt.
fn refused(status: StatusCode, after: Option<Duration>, body: &[u8]) -> Attempt {
    let Problem { code, detail, results } = serde_json::from_slice(body).unwrap_or_default();
    let failure = match code.as_str() {
        "" => LeaseFailure::Refused { code: status.to_string(), detail: "is it an allotd?".to_owned() },
        "stale" if results.iter().any(|one| one.result == "blocked") => LeaseFailure::Blocked,
        "stale" => LeaseFailure::Lost(detail),
        _ => LeaseFailure::Refused { code: code.clone(), detail },
    };
    match (status, code.as_str()) {
        (_, "not_primary")
        | (
            StatusCode::TEMPORARY_REDIRECT
            | StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::BAD_GATEWAY
            | StatusCode::GATEWAY_TIMEOUT,
            _,
        ) => Attempt::Elsewhere(failure),
        (
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::INSUFFICIENT_STORAGE,
            _,
        )
        | (StatusCode::CONFLICT, "exhausted" | "paused") => Attempt::Later { after, failure },
        _ => Attempt::Failed(failure),
    }
}
