//! Which requests are logged: all at level debug, else those that fail, those that take long, and operators'
//! calls that change something.

use std::time::{Duration, SystemTime};

use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::http::Extensions;
use hyper::http::uri::PathAndQuery;
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use tracing::{debug, error, info, warn};

use crate::auth::principal::Principal;
use crate::http::actor::Actor;
use crate::http::audit::{After, Before};
use crate::http::caller::Caller;
use crate::http::counters::requests::Call;
use crate::http::operator_calls::{event_of, is_slow_by_nature};
use crate::http::request::headers::{REQUEST_ID, RequestHeaders};
use crate::http::request::path;
use crate::http::request::query;
use crate::http::request::trace::{TRACEPARENT, Trace};
use crate::http::response::body::Body;
use crate::http::response::code::Code;
use crate::http::response::problem::{Problem, Unseen};
use crate::http::response::protection::protect;
use crate::http::worker_state;
use crate::log::{self, limit};

use super::request_ids::{Ids, is_safe, made_id};

/// What the log says about a request, borrowed from it.
#[derive(Clone, Copy)]
pub(crate) struct RequestInfo<'a> {
    method: &'a Method,
    /// Includes the query.
    path: Option<&'a PathAndQuery>,
    id: Option<&'a HeaderValue>,
    traceparent: Option<&'a HeaderValue>,
    caller: &'a Caller,
    actor: &'a Actor,
}

/// [`RequestInfo`] for a request that its handler consumes.
pub(crate) struct OwnedRequestInfo {
    method: Method,
    // Shared with the request: a copy, or a box, would be an allocation for every renewal and return.
    path: Option<PathAndQuery>,
    id: Option<HeaderValue>,
    traceparent: Option<HeaderValue>,
    actor: Actor,
}

/// How a request ended.
#[derive(Clone, Copy)]
struct Outcome<'a> {
    call: Call,
    status: StatusCode,
    took: Duration,
    body: &'a Body,
    /// The pool that the request's body names and its caller does not see.
    unseen: Option<&'a str>,
}

impl<'a> RequestInfo<'a> {
    #[inline]
    pub(crate) fn of(
        request: &'a Request<Incoming>,
        given: &RequestHeaders<'a>,
        caller: &'a Caller,
        actor: &'a Actor,
    ) -> Self {
        let id = given.request_id.filter(|id| is_safe(id.as_bytes()));
        let path = request.uri().path_and_query();
        Self { method: request.method(), path, id, traceparent: given.traceparent, caller, actor }
    }

    pub(crate) fn keep(self) -> OwnedRequestInfo {
        OwnedRequestInfo {
            method: self.method.clone(),
            path: self.path.cloned(),
            id: self.id.cloned(),
            traceparent: self.traceparent.cloned(),
            actor: self.actor.clone(),
        }
    }

    /// Echoes the request's id and its trace in its response, logs the request if it should be logged, and adds it to
    /// the audit log if it is a change that an operator asked for.
    #[cold]
    pub(crate) fn answered(self, call: Call, took_nanos: u64, response: &mut Response<Body>) {
        if let Some(id) = self.id {
            response.headers_mut().insert(&REQUEST_ID, id.clone());
        }
        let trace = self.traceparent.and_then(|given| Trace::below(given.as_bytes()));
        let status = response.status();
        if should_log(call, status.as_u16(), took_nanos) {
            let took = Duration::from_nanos(took_nanos);
            let id = self.id.and_then(|id| id.to_str().ok()).map_or_else(made_id, str::to_owned);
            let unseen = response.extensions().get::<Unseen>().map(|Unseen(pool)| &**pool);
            let ids = Ids { request: &id, trace: trace.as_ref() };
            let end = Outcome { call, status, took, body: response.body(), unseen };
            self.tell(end, ids);
            if event_of(call).is_some() && !self.is_dry_run() && !self.is_access_refused(end) {
                let record = self.record(end, response.extensions(), &id);
                worker_state::audit().add(record);
            }
            if status == StatusCode::INTERNAL_SERVER_ERROR {
                *response = failed(&id);
            }
        }
        if let Some(header) = trace.and_then(|trace| trace.header()) {
            response.headers_mut().insert(&TRACEPARENT, header);
        }
    }

    /// Whether it asks what a change would do: nothing is changed by it.
    fn is_dry_run(self) -> bool {
        let query = self.path.and_then(|path| path.query());
        query.and_then(|query| query::one(query, "dry_run")).is_some_and(|value| value == "true")
    }

    /// The record of a change, or of one that was refused, for the audit log.
    fn record(self, end: Outcome<'_>, extensions: &Extensions, id: &str) -> Value {
        let now = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        let list = self.path.and_then(|path| Some(path::split_list(path.path())?.0)).map(log::text);
        let reason =
            self.path.and_then(|path| query::one(path.query()?, "reason")).map(|text| log::text(&text));
        let mut record = json!({
            "at": now,
            "call": end.call.as_str(),
            "status": end.status.as_u16(),
            "pool": self.pool_name().map(log::text),
            "list": list,
            "path": self.path(),
            "principal": self.principal(),
            "peer": self.caller.peer.to_string(),
            "listener": &*self.caller.listener,
            "request_id": id,
            "reason": reason,
        });
        if end.status.is_success() {
            let before = extensions.get::<Before>().map(|Before(before)| before.clone());
            let after = extensions.get::<After>().map(|After(after)| after.clone());
            record["before"] = before.unwrap_or_default();
            record["after"] = after.unwrap_or_else(|| scalars_of(end.body));
        } else {
            let (code, detail) = problem_of(end.body);
            record["code"] = code.into();
            record["detail"] = log::text(&detail).into();
        }
        record
    }

    fn tell(self, end: Outcome<'_>, ids: Ids<'_>) {
        if log::logs_requests() {
            debug!(
                event = "request",
                method = %self.method,
                path = self.path(),
                pool = self.pool(),
                call = end.call.as_str(),
                status = end.status.as_u16(),
                took_us = end.took.as_micros() as u64,
                principal = self.principal(),
                peer = %self.caller.peer,
                listener = &*self.caller.listener,
                request_id = ids.request,
                trace_id = ids.trace_id(),
                span_id = ids.span_id(),
                "answered"
            );
        }
        if end.status.is_server_error() {
            self.log_failure(end, ids);
        } else if self.is_access_refused(end) {
            self.log_refusal(end, ids);
        } else if end.status.is_success()
            && !self.is_dry_run()
            && let Some((event, message)) = event_of(end.call)
        {
            info!(
                event,
                pool = self.pool(),
                path = self.path(),
                status = end.status.as_u16(),
                took_ms = end.took.as_millis() as u64,
                principal = self.principal(),
                peer = %self.caller.peer,
                listener = &*self.caller.listener,
                request_id = ids.request,
                trace_id = ids.trace_id(),
                span_id = ids.span_id(),
                "{message}"
            );
        }
        if log::is_slow(end.took.as_nanos() as u64) && !is_slow_by_nature(end.call) {
            self.log_slowness(end, ids);
        }
    }

    fn log_failure(self, end: Outcome<'_>, ids: Ids<'_>) {
        let Some(suppressed) = limit::REQUEST_FAILED.admit() else { return };
        let (code, detail) = problem_of(end.body);
        macro_rules! failed {
            ($level:ident) => {
                $level!(
                    event = "request_failed",
                    method = %self.method,
                    path = self.path(),
                    pool = self.pool(),
                    call = end.call.as_str(),
                    status = end.status.as_u16(),
                    code,
                    took_us = end.took.as_micros() as u64,
                    request_id = ids.request,
                    trace_id = ids.trace_id(),
                    span_id = ids.span_id(),
                    suppressed,
                    "{}",
                    log::text(&detail)
                )
            };
        }
        // With other statuses the daemon refuses for now; it did not fail.
        if end.status == StatusCode::INTERNAL_SERVER_ERROR { failed!(error) } else { failed!(warn) }
    }

    /// Whether the request was refused for who made it. A pool that its actor does not see is refused as if it
    /// did not exist.
    fn is_access_refused(self, Outcome { status, unseen, .. }: Outcome<'_>) -> bool {
        matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS)
            || (status == StatusCode::NOT_FOUND
                && (unseen.is_some() || self.pool_name().is_some_and(|pool| !self.actor.sees(pool))))
    }

    fn log_refusal(self, end: Outcome<'_>, ids: Ids<'_>) {
        let Some(suppressed) = limit::ACCESS_REFUSED.admit() else { return };
        let (code, detail) = problem_of(end.body);
        warn!(
            event = "access_refused",
            method = %self.method,
            path = self.path(),
            pool = end.unseen.map_or_else(|| self.pool(), log::text),
            call = end.call.as_str(),
            status = end.status.as_u16(),
            code,
            principal = self.principal(),
            peer = %self.caller.peer,
            listener = &*self.caller.listener,
            request_id = ids.request,
            trace_id = ids.trace_id(),
            span_id = ids.span_id(),
            suppressed,
            "{}",
            log::text(&detail)
        );
    }

    fn log_slowness(self, end: Outcome<'_>, ids: Ids<'_>) {
        let Some(suppressed) = limit::SLOW_CALL.admit() else { return };
        warn!(
            event = "slow_call",
            method = %self.method,
            path = self.path(),
            pool = self.pool(),
            call = end.call.as_str(),
            status = end.status.as_u16(),
            took_ms = end.took.as_millis() as u64,
            request_id = ids.request,
            trace_id = ids.trace_id(),
            span_id = ids.span_id(),
            suppressed,
            "a call took longer than --slow-call-ms: check the latencies in GET /v1/stats, and what else the \
             machine is doing"
        );
    }

    fn path(self) -> String {
        log::path(self.path.map_or("", PathAndQuery::as_str))
    }

    /// The pool that the path names; empty for none.
    fn pool(self) -> String {
        log::text(self.pool_name().unwrap_or_default())
    }

    /// The pool that the path names.
    pub(crate) fn pool_name(self) -> Option<&'a str> {
        Some(path::split_pool(self.path?.path())?.0)
    }

    /// The name of the principal; none for nobody in particular.
    fn principal(self) -> Option<&'a str> {
        self.actor.principal().map(Principal::name)
    }
}

/// Whether the log may have to show an error with this status: the daemon failed, or refused for who called. A
/// pool that is not there may be one that its caller must not see.
fn is_audited(status: u16) -> bool {
    matches!(status, 401 | 403 | 404 | 429 | 500..)
}

/// What a caller is told of a failure of the server. Its reason may name files, so it is in the log only.
fn failed(id: &str) -> Response<Body> {
    let detail = format!(
        "The call failed inside the server: the reason is in its log, in the event request_failed with \
         request_id {id}"
    );
    let mut response = Problem::new(Code::Internal, detail).into_response();
    protect(response.headers_mut());
    if let Ok(id) = HeaderValue::from_str(id) {
        response.headers_mut().insert(&REQUEST_ID, id);
    }
    response
}

/// Whether a request with this outcome is logged.
#[inline]
pub(crate) fn should_log(call: Call, status: u16, took_nanos: u64) -> bool {
    (status >= 400 && is_audited(status)) || log::logs_call_of(took_nanos) || event_of(call).is_some()
}

impl OwnedRequestInfo {
    pub(crate) fn info<'a>(&'a self, caller: &'a Caller) -> RequestInfo<'a> {
        let Self { method, path, id, traceparent, actor } = self;
        let (path, id, traceparent) = (path.as_ref(), id.as_ref(), traceparent.as_ref());
        RequestInfo { method, path, id, traceparent, caller, actor }
    }
}

/// What a response says in figures and words, without lines of lists, which hold numbers.
fn scalars_of(body: &Body) -> Value {
    let Body::Whole(bytes) = body else { return Value::Null };
    let Ok(Value::Object(mut members)) = serde_json::from_slice(bytes) else { return Value::Null };
    members.retain(|_, value| !value.is_array() && !value.is_object());
    members.into()
}

/// The code and the detail of an error.
fn problem_of(body: &Body) -> (String, String) {
    let Body::Whole(bytes) = body else { return Default::default() };
    let problem: serde_json::Value = serde_json::from_slice(bytes).unwrap_or_default();
    let text = |member: &str| problem[member].as_str().unwrap_or_default().to_owned();
    (text("code"), text("detail"))
}
