//! Every error of the API: its code, status and title, and the body that reports it (RFC 9457).

use std::borrow::Cow;
use std::sync::Arc;

use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};

use crate::backup::error::BackupError;
use crate::domain::settings::SettingsError;
use crate::engine::budgets::BudgetError;
use crate::engine::lists::NoSuchList;
use crate::engine::lists::operations::ListError;
use crate::engine::operations::import::ImportError;
use crate::engine::operations::lease::LeaseError;
use crate::engine::operations::renew_return::ReturnError;
use crate::engine::pool::ChangeError;
use crate::engine::pool::DeleteError;
use crate::journal::handle::JournalError;
use crate::log::mask::without_tokens;

use super::body::Body;
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

/// The stable code of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    BadRequest,
    Unauthorized,
    Forbidden,
    PoolNotFound,
    NumberNotFound,
    NoteNotFound,
    NotFound,
    MethodNotAllowed,
    Exhausted,
    Stale,
    PoolExists,
    InUse,
    ListNotFound,
    ListExists,
    ListInUse,
    BackupExists,
    Paused,
    EventsOff,
    Gone,
    TooLarge,
    UnsupportedMediaType,
    ExpectationFailed,
    IdempotencyMismatch,
    QuotaExceeded,
    UnsupportedCoding,
    Overloaded,
    NotReady,
    NotPrimary,
    StorageFull,
    Internal,
}

impl Code {
    /// Every code. The length comes from the last one, so that none is forgotten.
    const ALL: [Self; Self::Internal as usize + 1] = [
        Self::BadRequest,
        Self::Unauthorized,
        Self::Forbidden,
        Self::PoolNotFound,
        Self::NumberNotFound,
        Self::NoteNotFound,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::Exhausted,
        Self::Stale,
        Self::PoolExists,
        Self::InUse,
        Self::ListNotFound,
        Self::ListExists,
        Self::ListInUse,
        Self::BackupExists,
        Self::Paused,
        Self::EventsOff,
        Self::Gone,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::ExpectationFailed,
        Self::IdempotencyMismatch,
        Self::QuotaExceeded,
        Self::UnsupportedCoding,
        Self::Overloaded,
        Self::NotReady,
        Self::NotPrimary,
        Self::StorageFull,
        Self::Internal,
    ];

    /// Status, code and title.
    fn parts(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::BadRequest => (StatusCode::BAD_REQUEST, "bad_request", "The request is not understood"),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized", "The caller is not known"),
            Self::Forbidden => (StatusCode::FORBIDDEN, "forbidden", "The request is not allowed"),
            Self::PoolNotFound => (StatusCode::NOT_FOUND, "pool_not_found", "No such pool"),
            Self::NumberNotFound => (StatusCode::NOT_FOUND, "number_not_found", "No such number in the pool"),
            Self::NoteNotFound => (StatusCode::NOT_FOUND, "note_not_found", "The pool has no note"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found", "No such resource"),
            Self::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "The resource has no such method")
            }
            Self::Exhausted => (StatusCode::CONFLICT, "exhausted", "No number is available"),
            Self::Stale => (StatusCode::CONFLICT, "stale", "None of the leases is held any more"),
            Self::PoolExists => (StatusCode::CONFLICT, "pool_exists", "The pool already exists"),
            Self::InUse => (StatusCode::CONFLICT, "in_use", "Numbers of the pool are leased"),
            Self::ListNotFound => (StatusCode::NOT_FOUND, "list_not_found", "No such list"),
            Self::ListExists => (StatusCode::CONFLICT, "list_exists", "The list already exists"),
            Self::ListInUse => (StatusCode::CONFLICT, "list_in_use", "Pools use the list"),
            Self::BackupExists => (StatusCode::CONFLICT, "backup_exists", "The backup already exists"),
            Self::Paused => (StatusCode::CONFLICT, "paused", "The pool is paused"),
            Self::EventsOff => (StatusCode::CONFLICT, "events_off", "No events are kept"),
            Self::Gone => (StatusCode::GONE, "gone", "The events are not kept any more"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too_large", "The request is too large"),
            Self::UnsupportedMediaType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "The content type is not supported",
            ),
            Self::ExpectationFailed => {
                (StatusCode::EXPECTATION_FAILED, "expectation_failed", "The expectation is not known")
            }
            Self::UnsupportedCoding => {
                (StatusCode::NOT_IMPLEMENTED, "unsupported_coding", "The transfer coding is not supported")
            }
            Self::IdempotencyMismatch => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency_mismatch",
                "The Idempotency-Key was used for another request",
            ),
            Self::QuotaExceeded => {
                (StatusCode::TOO_MANY_REQUESTS, "quota_exceeded", "The caller uses more than it may")
            }
            Self::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "overloaded", "The server is overloaded"),
            Self::NotReady => (StatusCode::SERVICE_UNAVAILABLE, "not_ready", "The server is not ready"),
            Self::NotPrimary => {
                (StatusCode::SERVICE_UNAVAILABLE, "not_primary", "This member is not the primary")
            }
            Self::StorageFull => (StatusCode::INSUFFICIENT_STORAGE, "storage_full", "The disk is full"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "The server failed"),
        }
    }
}

/// The title of the error with this code, if there is one.
pub(crate) fn title(code: &str) -> Option<&'static str> {
    Code::ALL
        .iter()
        .map(|known| known.parts())
        .find(|(_, known, _)| *known == code)
        .map(|(_, _, title)| title)
}

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

impl From<JournalError> for Problem {
    fn from(error: JournalError) -> Self {
        let code = match error {
            JournalError::Full => Code::StorageFull,
            JournalError::Poisoned | JournalError::TooFewReplicas => Code::NotReady,
        };
        Self::new(code, error.to_string())
    }
}

impl From<SettingsError> for Problem {
    fn from(error: SettingsError) -> Self {
        Problem::bad_request(error.to_string())
    }
}

impl From<LeaseError> for Problem {
    fn from(error: LeaseError) -> Self {
        let code = match error {
            LeaseError::Exhausted => Code::Exhausted,
            LeaseError::Paused => Code::Paused,
            LeaseError::Deleted => return Self::pool_not_found(),
            LeaseError::HoursUnsettled
            | LeaseError::Busy
            | LeaseError::TooManyKeys
            | LeaseError::TooManyHolders
            | LeaseError::KeyPending
            | LeaseError::Deleting => Code::Overloaded,
            LeaseError::TooManyOwnKeys | LeaseError::HolderQuota(_) => {
                return Self::quota_exceeded(error.to_string(), RETRY_AFTER_SECONDS);
            }
            LeaseError::KeyStale => Code::Stale,
            LeaseError::KeyMismatch => Code::IdempotencyMismatch,
            LeaseError::Journal(error) => return error.into(),
            LeaseError::TtlOutOfBounds { .. }
            | LeaseError::EndsTooLate
            | LeaseError::CountOutOfBounds(_)
            | LeaseError::NoHolders => Code::BadRequest,
        };
        Self::new(code, error.to_string())
    }
}

impl From<ReturnError> for Problem {
    fn from(error: ReturnError) -> Self {
        match error {
            ReturnError::Journal(error) => error.into(),
            ReturnError::RestEndsTooLate | ReturnError::ListFull(_) => Self::bad_request(error.to_string()),
            ReturnError::List(error) => error.into(),
        }
    }
}

impl From<ChangeError> for Problem {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Settings(error) => error.into(),
            ChangeError::List(error) => error.into(),
            ChangeError::Deleted => Self::pool_not_found(),
            ChangeError::SegmentComing => Self::new(Code::Overloaded, error.to_string()),
            ChangeError::NoMoreRounds | ChangeError::TooManyGenerations => {
                Self::new(Code::BadRequest, error.to_string())
            }
            ChangeError::Io(source) => ImportError::from(source).into(),
            ChangeError::Journal(error) => error.into(),
        }
    }
}

impl From<NoSuchList> for Problem {
    fn from(error: NoSuchList) -> Self {
        let detail = format!("{error}: PUT /v1/lists/{} creates it, GET /v1/lists names all", error.0);
        Self::new(Code::ListNotFound, detail)
    }
}

impl From<ListError> for Problem {
    fn from(error: ListError) -> Self {
        let code = match &error {
            ListError::NotFound(error) => return (*error).into(),
            ListError::Exists(_) => Code::ListExists,
            ListError::InUse { .. } => Code::ListInUse,
            ListError::TooMany(_) | ListError::TooManyNumbers(_) => Code::BadRequest,
            ListError::Import(_) => {
                let ListError::Import(error) = error else { return Self::internal(&error) };
                return error.into();
            }
        };
        Self::new(code, error.to_string())
    }
}

impl From<DeleteError> for Problem {
    fn from(error: DeleteError) -> Self {
        match error {
            DeleteError::NotFound(_) => Self::pool_not_found(),
            DeleteError::InUse(_) => Self::new(Code::InUse, error.to_string()),
            DeleteError::Io(_) => Self::internal(&error),
            DeleteError::Journal(error) => error.into(),
        }
    }
}

impl From<BackupError> for Problem {
    fn from(error: BackupError) -> Self {
        let code = match &error {
            BackupError::Name(_) => Code::BadRequest,
            BackupError::Exists(_) => Code::BackupExists,
            BackupError::Busy | BackupError::TooSlow => Code::Overloaded,
            BackupError::StorageFull | BackupError::Space(_) | BackupError::TooMany(_) => Code::StorageFull,
            BackupError::Ended => Code::NotReady,
            BackupError::Journal(error) => return (*error).into(),
            BackupError::Damaged(..) | BackupError::Io(..) => Code::Internal,
        };
        Self::new(code, error.to_string())
    }
}

impl From<ImportError> for Problem {
    fn from(error: ImportError) -> Self {
        let code = match &error {
            ImportError::PoolExists(_) => Code::PoolExists,
            ImportError::Deleted => return Self::pool_not_found(),
            ImportError::List(error) => return (*error).into(),
            ImportError::Journal(error) => return (*error).into(),
            ImportError::StorageFull
            | ImportError::Budget(BudgetError::Space { .. } | BudgetError::Numbers { .. }) => {
                Code::StorageFull
            }
            ImportError::Import(crate::numbers::list::error::ListError::TooMuchMemory { .. }) => {
                Code::TooLarge
            }
            ImportError::Import(_) | ImportError::Set(_) | ImportError::TooManyPools(_) => Code::BadRequest,
            ImportError::TooManySegments | ImportError::Budget(BudgetError::Descriptors) => Code::Overloaded,
            ImportError::Io(_) | ImportError::Segment(_) => Code::Internal,
        };
        let problem = Self::new(code, error.to_string());
        match &error {
            ImportError::Import(error) => match error.line() {
                Some(line) => problem.with_members(format!(",\"line\":{line}")),
                None => problem,
            },
            _ => problem,
        }
    }
}
