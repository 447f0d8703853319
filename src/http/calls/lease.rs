//! `POST /v1/pools/{pool}/lease`

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::{Body as _, Incoming};
use hyper::header::HeaderValue;
use hyper::{Method, Request};
use serde::Deserialize;

use crate::domain::counts::Counts;
use crate::engine::idempotency::MAX_KEY_BYTES;
use crate::engine::operations::lease::{LeaseError, LeaseRequest};
use crate::engine::operations::renew_return::RenewResult;
use crate::engine::pool::Pool;
use crate::engine::segment::within::Within;
use crate::http::blocking::blocking;
use crate::http::calls::{Api, Handled, Reply, pool_of, query_of};
use crate::http::request::body::JsonBody;
use crate::http::request::content_type::check_json;
use crate::http::request::fields::{Count, NotYet, TtlSeconds};
use crate::http::request::headers::RequestHeaders;
use crate::http::request::within::WithinField;
use crate::http::request::{path, query};
use crate::http::response::body::Body;
use crate::http::response::json;
use crate::http::response::problem::{Code, Problem};
use crate::http::worker_state::{self, CallState};
use crate::state::time::Timestamp;

/// Most words that the worker itself reads for the counts of an `exhausted`; more are read on a thread that
/// may block.
const MAX_WORDS_COUNTED_AT_ONCE: u64 = 4_096;
/// How long a call waits for another one with the same key that is under way,
pub(super) const KEY_WAIT: Duration = Duration::from_secs(10);
/// and how long it pauses before it looks again.
pub(super) const KEY_PAUSE: Duration = Duration::from_millis(1);
/// `Retry-After` if no time is known at which a number becomes available, in seconds.
const EXHAUSTED_RETRY_AFTER_SECONDS: u64 = 60;

/// The body of a lease.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object like {\"count\":1,\"ttl\":60,\"within\":[\"7912\"]}")]
struct LeaseBody {
    count: Option<Count>,
    ttl: Option<TtlSeconds>,
    within: Option<WithinField>,
    #[serde(rename = "holder")]
    _holder: Option<NotYet>,
    #[serde(rename = "wait")]
    _wait: Option<NotYet>,
}

/// A lease of any one number: a call without a body.
const PLAIN: LeaseRequest<'static> = LeaseRequest { count: 1, ttl_seconds: None, within: None };

/// The `Idempotency-Key` of a call, by which a repetition is recognised.
pub(super) type Key = Option<HeaderValue>;

/// The key of a call, of 1 to [`MAX_KEY_BYTES`] bytes.
pub(super) fn key_of(given: &RequestHeaders<'_>) -> Result<Key, Problem> {
    let Some(key) = given.key else { return Ok(None) };
    if given.keys > 1 || !(1..=MAX_KEY_BYTES).contains(&key.len()) {
        return Err(Problem::bad_request(format!("Idempotency-Key: give one of 1 to {MAX_KEY_BYTES} bytes")));
    }
    Ok(Some(key.clone()))
}

/// The body of the response to a lease without a body or key, if the request is one. It is checked before the
/// routes and only borrows the request: a lease is the call whose cost matters most, and moving requests and
/// responses costs time.
#[inline]
pub(crate) fn plain_lease(
    request: &Request<Incoming>,
    headers: &RequestHeaders<'_>,
) -> Option<Result<Body, Problem>> {
    let pool = request.uri().path().strip_prefix(path::POOLS_PATH)?.strip_suffix("/lease")?;
    let is_plain = headers.key.is_none() && request.body().is_end_stream();
    if pool.contains('/') || *request.method() != Method::POST || !is_plain {
        return None;
    }
    Some(worker_state::with(|state| {
        // As for any call, a pool that does not exist comes first.
        let Some(pool) = state.pools.load().get(pool) else {
            return Err(Problem::pool_not_found());
        };
        query::none(query_of(request))?;
        plain(pool, &mut state.calls)
    }))
}

/// `POST /v1/pools/{pool}/lease`
pub(crate) fn lease_with_body(api: &Arc<Api>, request: Request<Incoming>) -> Result<Handled, Problem> {
    let pool = pool_of(api, &request)?;
    query::none(query_of(&request))?;
    let key = key_of(&RequestHeaders::of(&request))?;
    // An empty body needs no content type.
    if !request.body().is_end_stream() {
        check_json(request.headers())?;
    }
    Handled::later(with_body(Arc::clone(api), pool, key, request.into_body()))
}

/// Why a lease got nothing.
pub(super) enum Refused {
    Exhausted,
    /// Another call with the key is under way.
    Pending,
    Problem(Problem),
}

/// The body of the response to a call without a body or key: all work happens on the worker.
fn plain(pool: &Pool, state: &mut CallState) -> Result<Body, Problem> {
    lease(pool, state, &PLAIN, None).map_err(|refused| match refused {
        Refused::Exhausted => {
            let now = state.clock.now();
            exhausted(&pool.counts(), pool.next_available_at(None), now)
        }
        Refused::Pending => LeaseError::KeyPending.into(),
        Refused::Problem(problem) => problem,
    })
}

/// The response to a call with a body or a key.
async fn with_body(api: Arc<Api>, pool: Arc<Pool>, key: Key, body: hyper::body::Incoming) -> Reply {
    let bytes = api.bodies.collect_json(body).await?;
    let wanted: LeaseBody = if bytes.is_empty() { LeaseBody::default() } else { bytes.parse().await? };
    let within = match wanted.within {
        Some(field) => Some(Arc::new(field.of(&pool).await?)),
        None => None,
    };
    let call = Arc::new(Call {
        pool,
        count: wanted.count.map_or(1, |count| count.0),
        ttl_seconds: wanted.ttl.map(|ttl| ttl.0),
        within,
        key,
        body: bytes,
    });
    let started = Instant::now();
    loop {
        match call.run().await? {
            Ok(body) => return Ok(json::ok_json(body)),
            Err(Refused::Pending) if started.elapsed() < KEY_WAIT => tokio::time::sleep(KEY_PAUSE).await,
            Err(Refused::Pending) => return Err(LeaseError::KeyPending.into()),
            Err(Refused::Problem(problem)) => return Err(problem),
            Err(Refused::Exhausted) => {
                let now = api.engine.now();
                let (counts, next) = count(&call.pool, call.within.as_ref()).await?;
                return Err(exhausted(&counts, next, now));
            }
        }
    }
}

/// A call with a body or a key.
struct Call {
    pool: Arc<Pool>,
    count: u32,
    ttl_seconds: Option<u32>,
    within: Option<Arc<Within>>,
    key: Key,
    body: JsonBody,
}

impl Call {
    async fn run(self: &Arc<Self>) -> Result<Result<Body, Refused>, Problem> {
        let call = Arc::clone(self);
        let records_per_item = 1 + usize::from(self.key.is_some());
        worker_state::with_items(self.count as usize, records_per_item, move |state| {
            let request = LeaseRequest {
                count: call.count,
                ttl_seconds: call.ttl_seconds,
                within: call.within.as_deref(),
            };
            let once = call.key.as_ref().map(|key| (key.as_bytes(), &**call.body));
            lease(&call.pool, state, &request, once)
        })
        .await
    }
}

/// `once` is the call's idempotency key and its body.
#[inline]
fn lease(
    pool: &Pool,
    state: &mut CallState,
    request: &LeaseRequest<'_>,
    once: Option<(&[u8], &[u8])>,
) -> Result<Body, Refused> {
    let CallState { engine, leases, times, .. } = state;
    let result = match once {
        None => pool.lease(engine, request, leases),
        Some((key, body)) => pool.lease_once(engine, key, body, request, leases),
    };
    match result {
        Ok(position) => {
            let body = json::leases(leases, times);
            Ok(state.confirmed(body, position))
        }
        Err(error) => Err(refused(error, state)),
    }
}

/// Why a lease got nothing, by the engine's error and what it left in the state.
#[cold]
pub(super) fn refused(error: LeaseError, state: &mut CallState) -> Refused {
    match error {
        LeaseError::Exhausted => Refused::Exhausted,
        LeaseError::KeyPending => Refused::Pending,
        LeaseError::KeyStale if !state.leases.is_empty() => {
            let over = state.leases.iter().map(|lease| (lease.number, RenewResult::Stale));
            let results = json::renew_results(over, &mut state.times);
            Refused::Problem(Problem::from(LeaseError::KeyStale).with_results(&results))
        }
        error => Refused::Problem(error.into()),
    }
}

/// Counts the numbers that a call could have chosen from, and finds when the next one can become available.
pub(super) async fn count(
    pool: &Arc<Pool>,
    within: Option<&Arc<Within>>,
) -> Result<(Counts, Option<Timestamp>), Problem> {
    match within {
        Some(within) if within.len() > MAX_WORDS_COUNTED_AT_ONCE => {
            let (pool, within) = (Arc::clone(pool), Arc::clone(within));
            blocking(move || Ok(look(&pool, Some(&within)))).await
        }
        within => Ok(look(pool, within.map(|within| &**within))),
    }
}

fn look(pool: &Pool, within: Option<&Within>) -> (Counts, Option<Timestamp>) {
    (pool.counts_within(within), pool.next_available_at(within))
}

/// When to try again: as text, as JSON, and in seconds.
pub(super) fn when(next: Option<Timestamp>, now: Timestamp) -> (String, String, u64) {
    match next {
        Some(time) => (
            format!("try again at {time}, when the next number can become available"),
            format!("\"{time}\""),
            time.unix_seconds().saturating_sub(now.unix_seconds()).max(1),
        ),
        None => (
            "none will become available without an operator: start the next round, reinstate numbers or add some"
                .to_owned(),
            "null".to_owned(),
            EXHAUSTED_RETRY_AFTER_SECONDS,
        ),
    }
}

fn exhausted(counts: &Counts, next: Option<Timestamp>, now: Timestamp) -> Problem {
    let (when, next_json, retry_after) = when(next, now);
    let detail = if counts.numbers == 0 {
        "The pool has no numbers within the given prefixes and ranges: give others, or add numbers".to_owned()
    } else {
        format!(
            "Of the {} numbers that the call can choose from, {} are leased, {} are resting, {} are done and \
             {} are retired; {when}",
            counts.numbers, counts.leased, counts.resting, counts.done, counts.retired
        )
    };
    Problem::new(Code::Exhausted, detail)
        .with_members(format!(",{},\"next_available_at\":{next_json}", json::counts(counts)))
        .retry_after(retry_after)
}
