//! Takes a request to its response: checks it, hands it to its call, counts and logs it, gates the response.

use std::sync::Arc;

use hyper::body::{Body as _, Incoming};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::{Request, Version};

use crate::auth::role::Permission;
use crate::http::counters::requests::Call;
use crate::http::request::framing;
use crate::http::request::headers::RequestHeaders;
use crate::http::request::origin::is_probe;
use crate::http::request::path;
use crate::http::request::unread;
use crate::http::response::code::Code;
use crate::http::response::problem::Problem;
use crate::sys::monotonic::monotonic_nanos;

use super::access::Access;
use super::actor::Actor;
use super::caller::Caller;
use super::calls::{Api, Handled};
use super::commit_gate::Gate;
use super::in_flight::InFlight;
use super::pending::{Later, Pending};
use super::request_log::{OwnedRequestInfo, RequestInfo};
use super::{permissions, routes};

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
        Ok(seen) => (seen.actor().clone(), None),
        Err(problem) => (Actor::NOBODY, Some(problem)),
    })
}

/// Starts to handle a request that is not one of [`super::plain_call`]. `access` is what the connection remembers of
/// its callers.
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

fn answer_identified(
    api: &Arc<Api>,
    gate: &Gate,
    caller: &Caller,
    identified: Identified,
    started_nanos: u64,
    request: Request<Incoming>,
) -> Pending {
    let given = RequestHeaders::of(&request);
    let in_flight = InFlight {
        call: Call::Other,
        started_nanos,
        has_id: given.is_identified(),
        principal: identified.as_ref().ok().and_then(|(actor, _)| actor.index()),
    };
    match identified {
        Ok((actor, refusal)) => {
            let kept = RequestInfo::of(&request, &given, caller, &actor).keep();
            route(api, gate, caller, (actor, refusal), in_flight, kept, request)
        }
        Err(problem) => {
            let info = || RequestInfo::of(&request, &given, caller, &Actor::NOBODY);
            let problem = if unread::is_in_the_way(&request) { problem.unread() } else { problem };
            Pending::ready(in_flight.finish(info, Err(problem), gate))
        }
    }
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
    let admitted = match refusal.filter(|_| permissions::of(call) != Permission::Open) {
        Some(problem) => Err(problem),
        None => route.and_then(|route| {
            if !caller.calls.has(call) {
                return Err(Problem::not_served_here());
            }
            let pool = path::split_pool(request.uri().path()).map(|(pool, _)| pool);
            actor.admit(call, pool, request.body().size_hint().lower(), in_flight.started_nanos)?;
            Ok(route)
        }),
    };
    let is_in_the_way = unread::is_in_the_way(&request);
    let served = match admitted {
        Ok(route) => {
            let served = (route.handler)(api, &actor, request);
            if is_in_the_way { served.map_err(Problem::unread) } else { served }
        }
        Err(problem) if is_in_the_way => Ok(Handled::Later(
            Box::pin(async { Err(if unread::pass(request).await { problem } else { problem.unread() }) }),
            None,
        )),
        Err(problem) => Err(problem),
    };
    match served {
        Ok(Handled::Later(future, link)) => Pending::Later(Box::new(Later { in_flight, kept, link, future })),
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
    let (call, started_nanos, has_id) = (Call::Other, monotonic_nanos(), given.is_identified());
    let in_flight = InFlight { call, started_nanos, has_id, principal: None };
    let info = || RequestInfo::of(request, &given, caller, &Actor::NOBODY);
    let mut response = in_flight.finish(info, Err(problem), gate);
    if request.version() < Version::HTTP_2 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Pending::ready(response)
}
