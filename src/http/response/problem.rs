//! An error on its way to the caller, and the body that reports it (RFC 9457).

use std::borrow::Cow;
use std::sync::Arc;

use hyper::Response;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};

use crate::log::mask::without_tokens;

use super::body::Body;
use super::code::Code;
use super::json;

/// `Retry-After` of `overloaded` and `not_ready`, in seconds.
pub(crate) const RETRY_AFTER_SECONDS: u64 = 1;
/// `Retry-After` of `storage_full`, in seconds: somebody has to free some space.
const STORAGE_FULL_RETRY_AFTER_SECONDS: u64 = 10;
/// `Retry-After` of `paused`, in seconds: an operator has to resume the pool.
const PAUSED_RETRY_AFTER_SECONDS: u64 = 60;
/// `WWW-Authenticate` without a token,
const CHALLENGE: &str = "Bearer realm=\"allotd\"";
/// and with one that is not valid.
const CHALLENGE_INVALID: &str = "Bearer realm=\"allotd\", error=\"invalid_token\"";

/// Marks the response to a request that was not read to its end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unread;

/// Marks the response to a call that named this pool, which its caller does not see. The response itself is that of
/// a pool that does not exist; the log tells them apart.
#[derive(Debug, Clone)]
pub(crate) struct Unseen(pub(crate) Arc<str>);

/// An error on its way to the caller. It is boxed as it is rare and every result reserves space for it.
#[derive(Debug)]
pub(crate) struct Problem(Box<Parts>);

#[derive(Debug)]
struct Parts {
    code: Code,
    detail: Cow<'static, str>,
    allow: Option<String>,
    authenticate: Option<&'static str>,
    retry_after_seconds: Option<u64>,
    /// Whether its request was not read to its end.
    is_unread: bool,
    /// The pool that its caller does not see and has named.
    unseen: Option<Unseen>,
    /// Additional members of the body, as JSON that begins with a comma; empty for none.
    members: String,
}

impl Problem {
    /// An error whose detail says what to do.
    pub(crate) fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        let retry_after_seconds = match code {
            Code::Overloaded | Code::NotReady | Code::NotPrimary => Some(RETRY_AFTER_SECONDS),
            Code::StorageFull => Some(STORAGE_FULL_RETRY_AFTER_SECONDS),
            Code::Paused => Some(PAUSED_RETRY_AFTER_SECONDS),
            _ => None,
        };
        Self(Box::new(Parts {
            code,
            detail: detail.into(),
            allow: None,
            authenticate: None,
            retry_after_seconds,
            is_unread: false,
            unseen: None,
            members: String::new(),
        }))
    }

    /// `bad_request` with a detail that names the field and what to give.
    pub(crate) fn bad_request(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::BadRequest, detail)
    }

    /// `unauthorized`: no token was given.
    pub(crate) fn no_token() -> Self {
        let mut problem = Self::new(
            Code::Unauthorized,
            "This daemon serves callers with a token: send Authorization: Bearer with the one you were given",
        );
        problem.0.authenticate = Some(CHALLENGE);
        problem
    }

    /// `unauthorized`: what was given is not a valid token.
    pub(crate) fn invalid_token(detail: impl Into<Cow<'static, str>>) -> Self {
        let mut problem = Self::new(Code::Unauthorized, detail);
        problem.0.authenticate = Some(CHALLENGE_INVALID);
        problem
    }

    /// `forbidden`, with what to do.
    pub(crate) fn forbidden(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::Forbidden, detail)
    }

    /// `quota_exceeded`, with the seconds until it is worth to try again.
    pub(crate) fn quota_exceeded(detail: impl Into<Cow<'static, str>>, retry_after_seconds: u64) -> Self {
        Self::new(Code::QuotaExceeded, detail).retry_after(retry_after_seconds)
    }

    /// `pool_not_found`.
    pub(crate) fn pool_not_found() -> Self {
        Self::new(
            Code::PoolNotFound,
            "There is no pool with this name: list them with GET /v1/pools, or create it with PUT \
             /v1/pools/{pool}",
        )
    }

    /// The listener does not serve the call.
    pub(crate) fn not_served_here() -> Self {
        Self::new(
            Code::Forbidden,
            "This address serves lease, renew, return, the figures of a pool and health only \
             (calls=lease of --listen): use another address of the server",
        )
    }

    /// `not_found`.
    pub(crate) fn not_found() -> Self {
        Self::new(
            Code::NotFound,
            "There is nothing at this path: the calls are under /v1/pools and /v1/stats",
        )
    }

    /// `method_not_allowed`, with the methods that the path has.
    pub(crate) fn method_not_allowed(allow: &str) -> Self {
        let mut problem = Self::new(Code::MethodNotAllowed, format!("Use {allow} here"));
        problem.0.allow = Some(allow.to_owned());
        problem
    }

    /// `internal`: an error of the disk or of the daemon itself.
    pub(crate) fn internal(error: &dyn std::fmt::Display) -> Self {
        Self::new(Code::Internal, error.to_string())
    }

    /// The stable code.
    pub(crate) fn code(&self) -> &'static str {
        self.0.code.parts().1
    }

    /// Adds `Retry-After`.
    pub(crate) fn retry_after(mut self, seconds: u64) -> Self {
        self.0.retry_after_seconds = Some(seconds);
        self
    }

    /// Says that the request was not read to its end: a connection of HTTP/1 may have to end with the response.
    pub(crate) fn unread(mut self) -> Self {
        self.0.is_unread = true;
        self
    }

    /// Says that the pool is one that the caller does not see.
    pub(crate) fn of_unseen(mut self, pool: &str) -> Self {
        self.0.unseen = Some(Unseen(pool.into()));
        self
    }

    /// Adds the members of a JSON object.
    pub(crate) fn with_results(self, object: &[u8]) -> Self {
        let members = String::from_utf8_lossy(&object[1..object.len() - 1]);
        self.with_members(format!(",{members}"))
    }

    /// Adds members to the body: JSON that begins with a comma.
    pub(crate) fn with_members(mut self, members: String) -> Self {
        self.0.members = members;
        self
    }

    /// The response that reports this error.
    pub(crate) fn into_response(self) -> Response<Body> {
        let (status, code, title) = self.0.code.parts();
        let mut text = format!(
            "{{\"type\":\"about:blank\",\"title\":{},\"status\":{},\"code\":\"{code}\",\"detail\":{}",
            json::quoted(title),
            status.as_u16(),
            json::quoted(&without_tokens(&self.0.detail)),
        );
        text.push_str(&self.0.members);
        text.push('}');
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(allow) = self.0.allow.and_then(|allow| HeaderValue::try_from(allow).ok()) {
            headers.insert(ALLOW, allow);
        }
        if let Some(challenge) = self.0.authenticate {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if let Some(seconds) = self.0.retry_after_seconds {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.0.is_unread {
            response.extensions_mut().insert(Unread);
        }
        if let Some(unseen) = self.0.unseen {
            response.extensions_mut().insert(unseen);
        }
        response
    }
}
