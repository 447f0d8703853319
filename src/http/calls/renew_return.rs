//! `POST /v1/pools/{pool}/renew` and `POST /v1/pools/{pool}/return`

use std::ops::Range;
use std::sync::Arc;

use bytes::BytesMut;
use hyper::body::{Body as _, Incoming};
use hyper::{Request, Version};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::domain::settings::{NextState, SettingsError, check_outcome_name};
use crate::engine::operations::renew_return::{LeaseRef, MAX_ITEMS, RenewResult, ReturnItem, ReturnResult};
use crate::engine::pool::Pool;
use crate::http::calls::{Api, Handled, Reply, pool_of, query_of};
use crate::http::request::content_type::check_json;
use crate::http::request::fields::{NumberField, TokenField, TtlSeconds};
use crate::http::request::query;
use crate::http::response::body::Body;
use crate::http::response::json;
use crate::http::response::problem::{Code, Problem};
use crate::http::worker_state::{self, WorkerState};
use crate::journal::queue::Position;

/// Most items that the worker works on before it lets other connections go on.
const ITEMS_AT_ONCE: usize = 4_096;
/// How the results of a part begin
const RESULTS_BEGIN: &[u8] = b"{\"results\":[";
/// and end.
const RESULTS_END: &[u8] = b"]}";

const STALE_DETAIL: &str = "Someone else has leased them since, the leases ended and the pool's on_expiry decided \
                            what became of them, the tokens are wrong, or the numbers are not in the pool: lease again";

#[derive(Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "an object like {\"leases\":[{\"number\":1,\"token\":\"…\"}],\"ttl\":60}"
)]
struct RenewBody {
    leases: Vec<RenewItemBody>,
    ttl: Option<TtlSeconds>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "in leases an object like {\"number\":1,\"token\":\"…\"}")]
struct RenewItemBody {
    number: NumberField,
    token: TokenField,
}

#[derive(Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "an object like {\"leases\":[{\"number\":1,\"token\":\"…\"}],\"outcome\":\"answered\"}"
)]
struct ReturnBody {
    leases: Vec<ReturnItemBody>,
    outcome: Option<String>,
    then: Option<NextState>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "in leases an object like {\"number\":1,\"token\":\"…\"}")]
struct ReturnItemBody {
    number: NumberField,
    token: TokenField,
    outcome: Option<String>,
    then: Option<NextState>,
}

fn check_items(count: usize) -> Result<(), Problem> {
    if (1..=MAX_ITEMS).contains(&count) {
        Ok(())
    } else {
        Err(Problem::bad_request(format!("leases has {count} items: give 1 to {MAX_ITEMS}")))
    }
}

/// `POST /v1/pools/{pool}/renew`
pub(crate) fn renew_leases(api: &Arc<Api>, request: Request<Incoming>) -> Result<Handled, Problem> {
    with_body::<RenewBody>(api, request)
}

/// `POST /v1/pools/{pool}/return`
pub(crate) fn return_leases(api: &Arc<Api>, request: Request<Incoming>) -> Result<Handled, Problem> {
    with_body::<ReturnBody>(api, request)
}

/// A call over items, which are worked on a part at a time.
trait OverItems: DeserializeOwned + Send + 'static {
    fn count(&self) -> usize;

    /// Works on all items.
    fn at_once(&self, pool: &Pool) -> Reply {
        let mut answer = Collected::default();
        self.part(pool, 0..self.count(), &mut answer)?;
        answer.into_reply()
    }

    /// Works on some items, and adds their results.
    fn part(&self, pool: &Pool, items: Range<usize>, answer: &mut Collected) -> Result<(), Problem>;
}

/// Calls `answer` once the body has arrived.
fn with_body<T: OverItems>(api: &Arc<Api>, request: Request<Incoming>) -> Result<Handled, Problem> {
    let pool = pool_of(api, &request)?;
    query::none(query_of(&request))?;
    // An empty body needs no content type: it is refused for being empty.
    if !request.body().is_end_stream() {
        check_json(request.headers())?;
    }
    // With HTTP/2 the calls of a connection would be under way together, and so would their answers.
    let in_parts = request.version() < Version::HTTP_2;
    // Moves only the body into the future: the whole request would be copied into it and out of it.
    let (api, body) = (Arc::clone(api), request.into_body());
    Handled::later(async move {
        let wanted: T = api.bodies.collect_json(body).await?.parse().await?;
        let count = wanted.count();
        check_items(count)?;
        if !in_parts || count <= ITEMS_AT_ONCE {
            return wanted.at_once(&pool);
        }
        let mut answer = Collected::default();
        for begin in (0..count).step_by(ITEMS_AT_ONCE) {
            wanted.part(&pool, begin..count.min(begin + ITEMS_AT_ONCE), &mut answer)?;
            // Other connections of the worker go on.
            tokio::task::yield_now().await;
        }
        answer.into_reply()
    })
}

/// The answer to the parts so far.
#[derive(Default)]
struct Collected {
    /// `{"results":[…]}`, empty at first.
    text: BytesMut,
    succeeded: bool,
    waits_for: Option<Position>,
}

impl Collected {
    fn add(&mut self, results: BytesMut, succeeded: bool, position: Position) {
        if self.text.is_empty() {
            self.text = results;
        } else {
            // Between the brackets of both.
            self.text.truncate(self.text.len() - RESULTS_END.len());
            self.text.extend_from_slice(b",");
            self.text.extend_from_slice(&results[RESULTS_BEGIN.len()..]);
        }
        self.succeeded |= succeeded;
        self.waits_for = Some(self.waits_for.map_or(position, |before| Position {
            own: before.own.max(position.own),
            group: before.group.max(position.group),
        }));
    }

    /// Status 200 if any item succeeded, else `stale` with the same results.
    fn into_reply(self) -> Reply {
        match self.waits_for {
            Some(position) if self.succeeded => {
                Ok(json::ok_json(Body::confirmed(self.text.freeze(), position)))
            }
            _ => Err(Problem::new(Code::Stale, STALE_DETAIL).with_results(&self.text)),
        }
    }
}

impl OverItems for RenewBody {
    fn count(&self) -> usize {
        self.leases.len()
    }

    fn part(&self, pool: &Pool, items: Range<usize>, answer: &mut Collected) -> Result<(), Problem> {
        let ttl_seconds = self.ttl.as_ref().map(|ttl| ttl.0);
        worker_state::with(|WorkerState { calls: state, .. }| {
            state.held.clear();
            let items = self.leases[items].iter();
            state.held.extend(items.map(|item| LeaseRef { number: item.number.0, token: item.token.0 }));
            let position = pool.renew(&mut state.engine, &state.held, ttl_seconds, &mut state.renewed)?;
            let succeeded = state.renewed.iter().any(|result| matches!(result, RenewResult::Renewed { .. }));
            let numbers = state.held.iter().map(|item| item.number);
            let body = json::renew_results(numbers.zip(state.renewed.drain(..)), &mut state.times);
            answer.add(body, succeeded, position);
            Ok(())
        })
    }
}

impl OverItems for ReturnBody {
    fn count(&self) -> usize {
        self.leases.len()
    }

    fn part(&self, pool: &Pool, items: Range<usize>, answer: &mut Collected) -> Result<(), Problem> {
        let settings = pool.settings();
        let check =
            |then: Option<NextState>, outcome: Option<&str>| -> Result<Option<NextState>, SettingsError> {
                outcome.map_or(Ok(()), check_outcome_name)?;
                then.map(|then| then.checked("then")).transpose()
            };
        let then_of_all = check(self.then, self.outcome.as_deref())?;
        // All of them before the first is returned.
        if items.start == 0 {
            for item in &self.leases {
                check(item.then, item.outcome.as_deref())?;
            }
        }
        let outcome_of_all = self.outcome.as_deref().map(|name| pool.outcome(name));
        worker_state::with(|WorkerState { calls: state, .. }| {
            state.to_return.clear();
            for item in &self.leases[items] {
                let own_then = check(item.then, item.outcome.as_deref())?;
                // The item's own `then` or outcome wins over the call's.
                let then = match (own_then, item.outcome.as_deref()) {
                    (None, None) => settings.then_for(then_of_all, self.outcome.as_deref()),
                    (then, outcome) => settings.then_for(then, outcome),
                };
                let outcome = match item.outcome.as_deref() {
                    Some(own) => Some(pool.outcome(own)),
                    None => outcome_of_all,
                };
                let lease = LeaseRef { number: item.number.0, token: item.token.0 };
                state.to_return.push(ReturnItem { lease, then, outcome });
            }
            let position = pool.return_leases(&mut state.engine, &state.to_return, &mut state.returned)?;
            let succeeded =
                state.returned.iter().any(|result| matches!(result, ReturnResult::Returned { .. }));
            let numbers = state.to_return.iter().map(|item| item.lease.number);
            let body = json::return_results(numbers.zip(state.returned.drain(..)), &mut state.times);
            answer.add(body, succeeded, position);
            Ok(())
        })
    }
}
