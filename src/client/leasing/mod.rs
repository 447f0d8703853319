//! The async client of services: leases that renew themselves, over any member of a cluster.
//!
//! ```no_run
//! # async fn work() -> Result<(), Box<dyn std::error::Error>> {
//! use allotd::client::Server;
//! use allotd::client::leasing::{Client, LeaseOptions};
//!
//! let server: Server = "http://127.0.0.1:7979".parse()?;
//! let pool = Client::new(vec![server])?.pool("demo");
//! let lease = pool.lease(&LeaseOptions::default()).await?;
//! println!("call {}", lease.number());
//! lease.give_back(Some("talked")).await?;
//! # Ok(())
//! # }
//! ```
//!
//! It keeps the rules of `docs/clients.md`: the end of a lease is counted by a monotonic clock from the moment when the
//! call was sent, every lease has a key, what is safe to repeat is repeated.

mod failure;
mod guard;
mod requests;

use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use rustls::crypto::ring;
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

pub use failure::LeaseFailure;
pub use guard::LeaseGuard;

use super::server::Server;
use guard::Leased;
use requests::{Answer, Requests};

/// Random bytes of an `Idempotency-Key`.
const KEY_BYTES: usize = 16;

/// A daemon, or the members of a cluster. Clones share their connections.
#[derive(Clone)]
pub struct Client(Arc<Requests>);

impl Client {
    /// A client of one daemon, or of the members of one cluster in any order. Connects with the first call.
    pub fn new(servers: Vec<Server>) -> Result<Self, LeaseFailure> {
        Ok(Self(Arc::new(Requests::new(servers)?)))
    }

    /// A pool of the daemon, by its name.
    pub fn pool(&self, name: &str) -> PoolClient {
        PoolClient { requests: Arc::clone(&self.0), path: format!("/v1/pools/{name}").into() }
    }
}

/// What a lease is to be.
#[derive(Debug, Clone)]
pub struct LeaseOptions {
    /// How long it lasts without a renewal, in seconds; `None` for the pool's `ttl`.
    pub ttl_seconds: Option<u32>,
    /// Prefixes or ranges to choose within; empty for the whole pool.
    pub within: Vec<String>,
    /// Who holds it, in pools that track holders.
    pub holder: Option<String>,
    /// How long to try, also while the pool is exhausted or paused, or nobody answers.
    pub patience: Duration,
}

impl Default for LeaseOptions {
    fn default() -> Self {
        Self { ttl_seconds: None, within: Vec::new(), holder: None, patience: Duration::from_secs(60) }
    }
}

/// One pool. Clones share the client's connections.
#[derive(Clone)]
pub struct PoolClient {
    requests: Arc<Requests>,
    path: Arc<str>,
}

#[derive(Deserialize)]
struct Leases {
    leases: Vec<Leased>,
}

impl PoolClient {
    /// Leases a number. The guard renews the lease until it is given back or dropped.
    pub async fn lease(&self, options: &LeaseOptions) -> Result<LeaseGuard, LeaseFailure> {
        let mut body = json!({});
        if let Some(ttl_seconds) = options.ttl_seconds {
            body["ttl"] = ttl_seconds.into();
        }
        if !options.within.is_empty() {
            body["within"] = options.within.clone().into();
        }
        if let Some(holder) = &options.holder {
            body["holder"] = holder.as_str().into();
        }
        let (path, until) = (format!("{}/lease", self.path), Instant::now() + options.patience);
        loop {
            // One that is stale belongs to leases that are over: the answer came too late.
            let key = new_key()?;
            let Answer { sent, body: answer } =
                match self.requests.send(Method::POST, &path, &body, Some(&key), until).await {
                    Err(LeaseFailure::Lost(_)) if Instant::now() < until => continue,
                    answer => answer?,
                };
            let answer: Leases = serde_json::from_slice(&answer)?;
            let first = answer.leases.into_iter().next().ok_or(LeaseFailure::NoAnswer(None))?;
            let ends = sent + Duration::from_secs(first.expires_in.into());
            if ends > Instant::now() {
                return Ok(LeaseGuard::new(
                    (Arc::clone(&self.requests), Arc::clone(&self.path)),
                    first,
                    ends,
                    options.ttl_seconds,
                ));
            }
        }
    }
}

fn new_key() -> Result<String, LeaseFailure> {
    let mut bytes = [0; KEY_BYTES];
    ring::default_provider().secure_random.fill(&mut bytes).map_err(|_| LeaseFailure::NoRandomness)?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}
