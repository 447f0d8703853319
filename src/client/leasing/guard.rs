//! A lease in the hands of its holder: renewed in the background, returned when it is dropped.

use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::failure::LeaseFailure;
use super::requests::{Answer, Requests};

/// A lease is renewed when this part of its time has passed.
const RENEWED_AFTER: u32 = 3;
/// The shortest time between two renewals.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);

/// A lease. While it lives it is renewed in the background; when the guard is dropped the number is returned, as far
/// as the runtime still runs. Keep the number in use only while [`Self::is_live`] or until [`Self::lost`].
#[derive(Debug)]
pub struct LeaseGuard {
    number: u64,
    generation: u32,
    /// When it ends, unless it is renewed; in the past once it is lost.
    ends: watch::Receiver<Instant>,
    /// How it is to end. Dropped with the guard.
    end: Option<oneshot::Sender<End>>,
}

/// How the holder ends a lease.
#[derive(Debug)]
struct End {
    outcome: Option<String>,
    told: oneshot::Sender<Result<(), LeaseFailure>>,
}

impl LeaseGuard {
    pub(super) fn new(
        (requests, path): (Arc<Requests>, Arc<str>),
        leased: Leased,
        ends: Instant,
        ttl_seconds: Option<u32>,
    ) -> Self {
        let (number, generation) = (leased.number, leased.generation);
        let (told, watched) = watch::channel(ends);
        let (end, asked) = oneshot::channel();
        let keeper = Keeper { requests, path, number, token: leased.token, ttl_seconds, ends, told };
        tokio::spawn(keeper.keep(asked));
        Self { number, generation, ends: watched, end: Some(end) }
    }

    /// The number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// How many times the number was leased, this time included. Whatever is told of it refuses a smaller one: then a
    /// holder that slept does no harm.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// When the lease ends, unless it is renewed until then.
    pub fn ends(&self) -> Instant {
        *self.ends.borrow()
    }

    /// Whether the number is still ours.
    pub fn is_live(&self) -> bool {
        Instant::now() < self.ends()
    }

    /// Waits until the number is not ours any more. Cancel safe.
    pub async fn lost(&self) {
        let mut ends = self.ends.clone();
        loop {
            let at = *ends.borrow_and_update();
            if Instant::now() >= at {
                return;
            }
            // Woken by a renewal as well as by the end.
            if timeout_at(at, ends.changed()).await.is_ok_and(|changed| changed.is_err()) {
                sleep_until(at).await;
            }
        }
    }

    /// Returns the number, with an outcome that the pool's settings name if there is one.
    pub async fn give_back(mut self, outcome: Option<&str>) -> Result<(), LeaseFailure> {
        let (told, answer) = oneshot::channel();
        let end = End { outcome: outcome.map(str::to_owned), told };
        let gone = || LeaseFailure::Lost("its time is over".to_owned());
        self.end.take().ok_or_else(gone)?.send(end).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

/// One lease of an answer.
#[derive(Deserialize)]
pub(super) struct Leased {
    pub(super) number: u64,
    pub(super) token: String,
    pub(super) generation: u32,
    pub(super) expires_in: u32,
}

/// What renews a lease, and returns it in the end.
struct Keeper {
    requests: Arc<Requests>,
    /// Of the pool.
    path: Arc<str>,
    number: u64,
    token: String,
    ttl_seconds: Option<u32>,
    ends: Instant,
    told: watch::Sender<Instant>,
}

#[derive(Deserialize)]
struct Renewed {
    results: Vec<RenewedOne>,
}

#[derive(Deserialize)]
struct RenewedOne {
    result: String,
    expires_in: Option<u32>,
}

impl Keeper {
    async fn keep(mut self, mut asked: oneshot::Receiver<End>) {
        loop {
            let left = self.ends.saturating_duration_since(Instant::now());
            let next = Instant::now() + (left / RENEWED_AFTER).max(SHORTEST_PAUSE);
            let end = match timeout_at(next.min(self.ends), &mut asked).await {
                Err(_) if Instant::now() < self.ends => match self.renew().await {
                    Ok(()) => continue,
                    // It goes on to its end, but not beyond.
                    Err(LeaseFailure::Blocked) => match timeout_at(self.ends, &mut asked).await {
                        Ok(end) => end,
                        Err(_) => return,
                    },
                    Err(_) => return self.lose(),
                },
                Err(_) => return,
                Ok(end) => end,
            };
            let (outcome, told) = match end {
                Ok(End { outcome, told }) => (outcome, Some(told)),
                Err(_) => (None, None),
            };
            let returned = self.give_back(outcome).await;
            self.lose();
            if let Some(told) = told {
                // The holder may have stopped waiting.
                let _ = told.send(returned);
            }
            return;
        }
    }

    fn lose(&self) {
        let now = Instant::now();
        self.told.send_modify(|ends| *ends = now.min(*ends));
    }

    fn lease(&self) -> serde_json::Value {
        json!({"number": self.number, "token": self.token})
    }

    async fn renew(&mut self) -> Result<(), LeaseFailure> {
        let mut body = json!({"leases": [self.lease()]});
        if let Some(ttl_seconds) = self.ttl_seconds {
            body["ttl"] = ttl_seconds.into();
        }
        let Answer { sent, body } = self.post("renew", &body).await?;
        let renewed: Renewed = serde_json::from_slice(&body)?;
        let one = renewed.results.into_iter().next().ok_or(LeaseFailure::NoAnswer(None))?;
        match (one.result.as_str(), one.expires_in) {
            ("renewed", Some(seconds)) => {
                self.ends = sent + Duration::from_secs(seconds.into());
                self.told.send_replace(self.ends);
                Ok(())
            }
            ("blocked", _) => Err(LeaseFailure::Blocked),
            (result, _) => Err(LeaseFailure::Lost(result.to_owned())),
        }
    }

    async fn give_back(&self, outcome: Option<String>) -> Result<(), LeaseFailure> {
        let mut lease = self.lease();
        if let Some(outcome) = outcome {
            lease["outcome"] = outcome.into();
        }
        self.post("return", &json!({"leases": [lease]})).await.map(drop)
    }

    async fn post(&self, call: &str, body: &serde_json::Value) -> Result<Answer, LeaseFailure> {
        let path = format!("{}/{call}", self.path);
        self.requests.send(Method::POST, &path, body, None, self.ends).await
    }
}
