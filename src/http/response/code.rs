//! The stable codes of the API's errors, with their statuses and titles.

use hyper::StatusCode;

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
    pub(super) fn parts(self) -> (StatusCode, &'static str, &'static str) {
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
