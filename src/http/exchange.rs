//! Takes a request to its response: checks it, hands it to its call, counts and logs it, gates the response.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::body::{Body as _, Incoming};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::{Request, Response, StatusCode, Version};

use crate::auth::role::Permission;
use crate::auth::usage::NameIndex;
use crate::http::calls::lease::{plain_lease, pool_of_plain_lease};
use crate::http::calls::one_lease::plain_renew_or_return;
use crate::http::counters::requests::Call;
use crate::http::request::framing;
use crate::http::request::headers::RequestHeaders;
use crate::http::request::origin::is_probe;
use crate::http::request::path;
use crate::http::response::body::Body;
use crate::http::response::json::ok_json;
use crate::http::response::problem::{Code, Problem};
use crate::http::response::protection::protect;
use crate::sys::monotonic::monotonic_nanos;

use super::access::Access;
use super::actor::Actor;
use super::caller::Caller;
use super::calls::{Api, Handled, Reply};
use super::commit_gate::Gate;
use super::request_log::{self, OwnedRequestInfo, RequestInfo};
use super::{permissions, routes, worker_state};

/// A response that is ready or still being made. It is moved from hand to hand before it is polled, so it is
/// small.
pub(crate) enum Pending {
    /// A JSON body for a `200`.
    Json(Body),
    /// Ready; `None` once it is taken.
    Ready(Option<Box<Response<Body>>>),
    /// Waits for a body or for a thread that may block.
    Later(Box<Later>),
}

/// A response that waits for something.
pub(crate) struct Later {
    in_flight: InFlight,
    kept: OwnedRequestInfo,
    future: Pin<Box<dyn Future<Output = Reply> + Send>>,
}

/// What is counted and logged of a request once its response is ready.
#[derive(Clone, Copy)]
pub(crate) struct InFlight {
    call: Call,
    started_nanos: u64,
    /// Whether the request has an id, which the response may have to repeat.
    has_id: bool,
    /// The principal that made it, if any.
    principal: Option<NameIndex>,
}

impl InFlight {
    /// Counts the request, and raises the connection's gate to what the response waits for. `info` is called
    /// only if the request is logged or has an id.
    #[inline]
    fn finish<'r>(self, info: impl FnOnce() -> RequestInfo<'r>, reply: Reply, gate: &Gate) -> Response<Body> {
        let (mut response, refused) = match reply {
            Ok(response) => (response, None),
            Err(problem) => {
                let code = problem.code();
                (problem.into_response(), Some(code))
            }
        };
        protect(response.headers_mut());
        if let Some(took_nanos) = self.count(response.status(), response.body(), refused, gate) {
            info().answered(self.call, took_nanos, &mut response);
        }
        response
    }

    /// Returns how long the request took, in nanoseconds, if it is logged or has an id.
    #[inline]
    fn count(
        self,
        status: StatusCode,
        body: &Body,
        refused: Option<&'static str>,
        gate: &Gate,
    ) -> Option<u64> {
        let status = status.as_u16();
        let took_nanos = monotonic_nanos().saturating_sub(self.started_nanos);
        worker_state::with(|state| {
            state.stats.requests.record(self.call, status, took_nanos);
            if let Some(principal) = self.principal {
                state.stats.principals.request(principal, refused.is_some());
            }
            if let Some(code) = refused {
                state.stats.refusals.record(code, state.calls.clock.now().seconds());
            }
            // Health reports no number, so it waits for nothing.
            if self.call != Call::Health {
                gate.raise(state.calls.engine.position(!body.is_of_own_changes()));
            }
        });
        let should_log = request_log::should_log(self.call, status, took_nanos);
        (self.has_id || should_log).then_some(took_nanos)
    }
}

impl Pending {
    fn ready(response: Response<Body>) -> Self {
        Self::Ready(Some(Box::new(response)))
    }

    /// The response, once it is ready.
    #[inline]
    pub(crate) fn poll(
        &mut self,
        gate: &Gate,
        caller: &Caller,
        cx: &mut Context<'_>,
    ) -> Poll<Response<Body>> {
        match self {
            Self::Json(body) => {
                let body = std::mem::take(body);
                *self = Self::Ready(None);
                Poll::Ready(ok_json(body))
            }
            Self::Ready(response) => match response.take() {
                Some(response) => Poll::Ready(*response),
                None => Poll::Ready(
                    Problem::internal(&"a response was polled after it was taken").into_response(),
                ),
            },
            Self::Later(later) => {
                let reply = ready!(later.future.as_mut().poll(cx));
                let response = later.in_flight.finish(|| later.kept.info(caller), reply, gate);
                *self = Self::Ready(None);
                Poll::Ready(response)
            }
        }
    }
}

/// Who makes a request, and why that is not known, if it is not. Fails if the request is refused whoever makes it.
pub(crate) type Identified = Result<(Actor, Option<Problem>), Problem>;

/// Finds out who makes a request. `access` is what the connection remembers of its callers.
pub(crate) fn identify(
    api: &Api,
    caller: &Caller,
    access: &Access,
    request: &Request<Incoming>,
) -> Identified {
    identified(api, caller, access, request, &RequestHeaders::of(request), monotonic_nanos())
}

#[inline]
fn identified(
    api: &Api,
    caller: &Caller,
    access: &Access,
    request: &Request<Incoming>,
    given: &RequestHeaders<'_>,
    now_nanos: u64,
) -> Identified {
    api.names.check(caller.via, request, given)?;
    if let Some(expect) = given.expect {
        framing::check_expect(expect)?;
    }
    Ok(match access.actor(api, caller, given, now_nanos) {
        Ok(actor) => (actor, None),
        Err(problem) => (Actor::NOBODY, Some(problem)),
    })
}

/// Starts to handle a request. `access` is what the connection remembers of its callers.
#[inline]
pub(crate) fn answer(
    api: &Arc<Api>,
    gate: &Gate,
    caller: &Caller,
    access: &Access,
    request: Request<Incoming>,
) -> Pending {
    let started_nanos = monotonic_nanos();
    let given = RequestHeaders::of(&request);
    let identified = identified(api, caller, access, &request, &given, started_nanos);
    answer_identified(api, gate, caller, identified, started_nanos, request)
}

/// Starts to handle a request that was found out about earlier, and had to wait.
pub(crate) fn answer_later(
    api: &Arc<Api>,
    gate: &Gate,
    caller: &Caller,
    identified: Identified,
    request: Request<Incoming>,
) -> Pending {
    answer_identified(api, gate, caller, identified, monotonic_nanos(), request)
}

#[inline]
fn answer_identified(
    api: &Arc<Api>,
    gate: &Gate,
    caller: &Caller,
    identified: Identified,
    started_nanos: u64,
    request: Request<Incoming>,
) -> Pending {
    let given = RequestHeaders::of(&request);
    let has_id = given.request_id.is_some();
    let (actor, mut refusal) = match identified {
        Ok(identified) => identified,
        Err(problem) => {
            let in_flight = InFlight { call: Call::Other, started_nanos, has_id, principal: None };
            let info = || RequestInfo::of(&request, &given, caller, &Actor::NOBODY);
            return Pending::ready(in_flight.finish(info, Err(problem), gate));
        }
    };
    let in_flight = |call| InFlight { call, started_nanos, has_id, principal: actor.index() };
    let info = || RequestInfo::of(&request, &given, caller, &actor);
    let leased = match (pool_of_plain_lease(&request, &given), &mut refusal) {
        (None, _) => None,
        (Some(_), refusal @ Some(_)) => refusal.take().map(Err),
        (Some(pool), None) => match actor.admit(Call::Lease, Some(pool), 0, started_nanos) {
            Ok(()) => plain_lease(pool, request.uri().query(), &actor),
            Err(problem) => Some(Err(problem)),
        },
    };
    let of_browser = given.is_of_browser();
    let Some(leased) = leased else {
        if refusal.is_none()
            && let Some((call, reply)) = plain_renew_or_return(&request, &given, &actor, started_nanos)
        {
            return plain(in_flight(call), info, reply, of_browser, gate);
        }
        let (in_flight, kept) = (in_flight(Call::Other), info().keep());
        return route(api, gate, caller, (actor, refusal), in_flight, kept, request);
    };
    let in_flight = in_flight(Call::Lease);
    match leased {
        Ok(body) => match in_flight.count(StatusCode::OK, &body, None, gate) {
            None if !of_browser => Pending::Json(body),
            took_nanos => told(in_flight.call, info, body, took_nanos),
        },
        Err(problem) => Pending::ready(in_flight.finish(info, Err(problem), gate)),
    }
}

/// The response to a call without a body. A plain lease has these lines of its own: what it would be passed in
/// and out here is more than the rest of its way through this file.
fn plain<'r>(
    in_flight: InFlight,
    info: impl FnOnce() -> RequestInfo<'r>,
    reply: Result<Body, Problem>,
    of_browser: bool,
    gate: &Gate,
) -> Pending {
    let body = match reply {
        Ok(body) => body,
        Err(problem) => return Pending::ready(in_flight.finish(info, Err(problem), gate)),
    };
    match in_flight.count(StatusCode::OK, &body, None, gate) {
        None if !of_browser => Pending::Json(body),
        took_nanos => told(in_flight.call, info, body, took_nanos),
    }
}

/// The response to a call without a body that is logged, has an id, or is of a browser.
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

/// Hands a request to its call. `refusal` is why its actor is not known, if it is not.
fn route(
    api: &Arc<Api>,
    gate: &Gate,
    caller: &Caller,
    (actor, refusal): (Actor, Option<Problem>),
    in_flight: InFlight,
    kept: OwnedRequestInfo,
    request: Request<Incoming>,
) -> Pending {
    let route = routes::find(request.method(), request.uri().path());
    let call = route.as_ref().map_or(Call::Other, |route| route.call);
    let in_flight = InFlight { call, ..in_flight };
    let served = match refusal.filter(|_| permissions::of(call) != Permission::Open) {
        Some(problem) => Err(problem),
        None => route.and_then(|route| {
            if !caller.calls.has(call) {
                return Err(Problem::not_served_here());
            }
            let pool = path::split_pool(request.uri().path()).map(|(pool, _)| pool);
            actor.admit(call, pool, request.body().size_hint().lower(), in_flight.started_nanos)?;
            (route.handler)(api, &actor, request)
        }),
    };
    match served {
        Ok(Handled::Later(future)) => Pending::Later(Box::new(Later { in_flight, kept, future })),
        Ok(Handled::Ready(response)) => {
            Pending::ready(in_flight.finish(|| kept.info(caller), Ok(response), gate))
        }
        Err(problem) => Pending::ready(in_flight.finish(|| kept.info(caller), Err(problem), gate)),
    }
}

/// Answers a request on a connection beyond the limit: only a health probe is served.
pub(crate) fn refuse(
    api: &Arc<Api>,
    gate: &Gate,
    caller: &Caller,
    access: &Access,
    request: Request<Incoming>,
) -> Pending {
    if is_probe(&request) {
        let closes = request.version() < Version::HTTP_2;
        let mut pending = answer(api, gate, caller, access, request);
        if let Pending::Ready(Some(response)) = &mut pending
            && closes
        {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        return pending;
    }
    let problem = Problem::new(
        Code::Overloaded,
        "The server has as many connections as it serves at a time, or as many of this address: reuse those that you \
         have, try later, or raise --max-connections or --max-connections-per-address",
    );
    refuse_with(gate, caller, &request, problem)
}

/// Refuses a request and closes its connection.
pub(crate) fn refuse_with(
    gate: &Gate,
    caller: &Caller,
    request: &Request<Incoming>,
    problem: Problem,
) -> Pending {
    let given = RequestHeaders::of(request);
    let (call, started_nanos, has_id) = (Call::Other, monotonic_nanos(), given.request_id.is_some());
    let in_flight = InFlight { call, started_nanos, has_id, principal: None };
    let info = || RequestInfo::of(request, &given, caller, &Actor::NOBODY);
    let mut response = in_flight.finish(info, Err(problem), gate);
    if request.version() < Version::HTTP_2 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Pending::ready(response)
}
