//! Takes a request to its response: checks it, hands it to its call, counts and logs it, gates the response.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::{Request, Response, StatusCode, Version};

use crate::http::calls::lease::plain_lease;
use crate::http::counters::requests::Call;
use crate::http::request::framing;
use crate::http::request::headers::RequestHeaders;
use crate::http::request::origin::{Via, is_probe};
use crate::http::response::body::Body;
use crate::http::response::json::ok_json;
use crate::http::response::problem::{Code, Problem};
use crate::http::response::protection::protect;
use crate::sys::monotonic::monotonic_nanos;

use super::calls::{Api, Handled, Reply};
use super::commit_gate::Gate;
use super::request_log::{self, OwnedRequestInfo, RequestInfo};
use super::{routes, worker_state};

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
            if let Some(code) = refused {
                state.stats.refusals.record(code, state.calls.clock.now().seconds());
            }
            // Health reports no number, so it waits for nothing.
            if self.call != Call::Health {
                gate.raise(state.calls.engine.position(!body.is_of_own_changes()));
            }
        });
        (self.has_id || request_log::should_log(self.call, status, took_nanos)).then_some(took_nanos)
    }
}

impl Pending {
    fn ready(response: Response<Body>) -> Self {
        Self::Ready(Some(Box::new(response)))
    }

    /// The response, once it is ready.
    #[inline]
    pub(crate) fn poll(&mut self, gate: &Gate, cx: &mut Context<'_>) -> Poll<Response<Body>> {
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
                let response = later.in_flight.finish(|| later.kept.info(), reply, gate);
                *self = Self::Ready(None);
                Poll::Ready(response)
            }
        }
    }
}

/// Starts to handle a request.
#[inline]
pub(crate) fn answer(api: &Arc<Api>, gate: &Gate, via: Via, request: Request<Incoming>) -> Pending {
    let started_nanos = monotonic_nanos();
    let given = RequestHeaders::of(&request);
    let in_flight = |call| InFlight { call, started_nanos, has_id: given.request_id.is_some() };
    let info = || RequestInfo::of(&request, &given);
    let checked = api.names.check(via, &request, &given).and_then(|()| match given.expect {
        None => Ok(()),
        Some(expect) => framing::check_expect(expect),
    });
    if let Err(problem) = checked {
        return Pending::ready(in_flight(Call::Other).finish(info, Err(problem), gate));
    }
    match plain_lease(&request, &given) {
        Some(Ok(body)) => {
            let in_flight = in_flight(Call::Lease);
            match in_flight.count(StatusCode::OK, &body, None, gate) {
                None if !given.is_of_browser() => Pending::Json(body),
                took_nanos => {
                    let mut response = ok_json(body);
                    protect(response.headers_mut());
                    if let Some(took_nanos) = took_nanos {
                        info().answered(Call::Lease, took_nanos, &mut response);
                    }
                    Pending::ready(response)
                }
            }
        }
        Some(Err(problem)) => Pending::ready(in_flight(Call::Lease).finish(info, Err(problem), gate)),
        None => {
            let (in_flight, kept) = (in_flight(Call::Other), info().keep());
            route(api, gate, in_flight, kept, request)
        }
    }
}

/// Hands a request to its call.
fn route(
    api: &Arc<Api>,
    gate: &Gate,
    in_flight: InFlight,
    kept: OwnedRequestInfo,
    request: Request<Incoming>,
) -> Pending {
    let route = routes::find(request.method(), request.uri().path());
    let call = route.as_ref().map_or(Call::Other, |route| route.call);
    let in_flight = InFlight { call, ..in_flight };
    match route.and_then(|route| (route.handler)(api, request)) {
        Ok(Handled::Later(future)) => Pending::Later(Box::new(Later { in_flight, kept, future })),
        Ok(Handled::Ready(response)) => Pending::ready(in_flight.finish(|| kept.info(), Ok(response), gate)),
        Err(problem) => Pending::ready(in_flight.finish(|| kept.info(), Err(problem), gate)),
    }
}

/// Answers a request on a connection beyond the limit: only a health probe is served.
pub(crate) fn refuse(api: &Arc<Api>, gate: &Gate, via: Via, request: Request<Incoming>) -> Pending {
    if is_probe(&request) {
        let closes = request.version() < Version::HTTP_2;
        let mut pending = answer(api, gate, via, request);
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
    refuse_with(gate, &request, problem)
}

/// Refuses a request and closes its connection.
pub(crate) fn refuse_with(gate: &Gate, request: &Request<Incoming>, problem: Problem) -> Pending {
    let given = RequestHeaders::of(request);
    let has_id = given.request_id.is_some();
    let in_flight = InFlight { call: Call::Other, started_nanos: monotonic_nanos(), has_id };
    let info = || RequestInfo::of(request, &given);
    let mut response = in_flight.finish(info, Err(problem), gate);
    if request.version() < Version::HTTP_2 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Pending::ready(response)
}
