//! Calls without a body that their worker answers at once: a lease of any one number, and the renewal or return of
//! one lease. They are looked for before the routes, and only borrow the request: a lease is the call whose cost
//! matters most, and moving requests and responses costs time.

use std::sync::Arc;

use hyper::body::{Body as _, Incoming};
use hyper::{Method, Request, StatusCode};

use crate::http::calls::lease::plain_lease;
use crate::http::calls::one_lease::renew_or_return;
use crate::http::counters::requests::Call;
use crate::http::request::headers::RequestHeaders;
use crate::http::request::path;
use crate::http::response::body::Body;
use crate::http::response::json::ok_json;
use crate::http::response::problem::Problem;
use crate::http::response::protection::protect;
use crate::sys::monotonic::monotonic_nanos;

use super::access::Access;
use super::actor::Actor;
use super::caller::Caller;
use super::calls::{Api, Made};
use super::commit_gate::Gate;
use super::in_flight::InFlight;
use super::pending::Pending;
use super::request_log::RequestInfo;
use super::worker_state::{self, WorkerState};

/// One of these calls, as the path names it.
#[derive(Clone, Copy)]
struct PlainCall<'r> {
    call: Call,
    /// The pool; with a slash in it, the path is that of another call or of none.
    pool: &'r str,
    /// The number; empty for a lease.
    digits: &'r str,
}

impl<'r> PlainCall<'r> {
    #[inline]
    fn of(request: &'r Request<Incoming>) -> Option<Self> {
        let rest = request.uri().path().strip_prefix(path::POOLS_PATH)?;
        let (pool, call, digits) = if let Some(pool) = rest.strip_suffix("/lease") {
            (pool, Call::Lease, "")
        } else {
            let (numbers, call) = match rest.strip_suffix("/return") {
                Some(numbers) => (numbers, Call::Return),
                None => (rest.strip_suffix("/renew")?, Call::Renew),
            };
            let is_digit = |byte: &&u8| byte.is_ascii_digit();
            let digits = numbers.as_bytes().iter().rev().take_while(is_digit).count();
            let (pool, digits) = numbers.split_at_checked(numbers.len() - digits)?;
            (pool.strip_suffix("/numbers/")?, call, digits)
        };
        let is_plain = *request.method() == Method::POST && request.body().is_end_stream();
        is_plain.then_some(Self { call, pool, digits })
    }

    /// Makes the call. `None` if it takes longer than the worker may, or is none of these.
    #[inline]
    fn run(
        self,
        request: &Request<Incoming>,
        given: &RequestHeaders<'_>,
        actor: &Actor,
        state: &mut WorkerState,
    ) -> Option<Result<Made, Problem>> {
        // As for any call, a pool that does not exist comes first.
        let Some(pool) = state.pools.load().get(self.pool) else {
            return (!self.pool.contains('/')).then(|| Err(Problem::pool_not_found()));
        };
        if self.call == Call::Lease {
            plain_lease(pool, request.uri().query(), actor, &mut state.calls)
        } else {
            Some(renew_or_return(self.call, pool, self.digits, request, given, actor, &mut state.calls))
        }
    }
}

/// Answers a request if it is one of these calls. `None` sends it the general way, which also words why it is
/// refused.
#[inline]
pub(crate) fn answer(
    api: &Arc<Api>,
    gate: &Gate,
    caller: &Caller,
    access: &Access,
    request: &Request<Incoming>,
) -> Option<Pending> {
    let plain = PlainCall::of(request)?;
    let given = RequestHeaders::of(request);
    if (given.key.is_some() && plain.call == Call::Lease)
        || given.expect.is_some()
        || api.names.check(caller.via, request, &given).is_err()
    {
        return None;
    }
    let started_nanos = monotonic_nanos();
    let seen = access.actor(api, caller, &given, started_nanos).ok()?;
    let actor = seen.actor();
    actor.admit(plain.call, Some(plain.pool), 0, started_nanos).ok()?;
    let in_flight =
        InFlight { call: plain.call, started_nanos, has_id: given.is_identified(), principal: actor.index() };
    let info = || RequestInfo::of(request, &given, caller, actor);
    let made = worker_state::with(|state| {
        let made = plain.run(request, &given, actor, state)?;
        Some(made.map(|Made { body, position }| {
            gate.raise(position);
            (in_flight.count(state, StatusCode::OK, None, || Some(plain.pool)), Body::Whole(body))
        }))
    });
    let Some(made) = made else {
        actor.withdraw();
        return None;
    };
    Some(match made {
        Ok((None, body)) if !given.is_of_browser() => Pending::Json(body),
        Ok((took_nanos, body)) => told(plain.call, info, body, took_nanos),
        Err(problem) => Pending::ready(in_flight.finish(info, Err(problem), gate)),
    })
}

/// The response to a call that is logged, has an id, or is of a browser.
#[cold]
fn told<'r>(
    call: Call,
    info: impl FnOnce() -> RequestInfo<'r>,
    body: Body,
    took_nanos: Option<u64>,
) -> Pending {
    let mut response = ok_json(body);
    protect(response.headers_mut());
    if let Some(took_nanos) = took_nanos {
        info().answered(call, took_nanos, &mut response);
    }
    Pending::ready(response)
}
