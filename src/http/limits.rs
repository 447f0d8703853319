//! The limits on what the pace of a client may cost: times, rates and memory.

use std::time::Duration;

/// A connection on which no request begins or is in progress, and no byte of an answer leaves, for this long is
/// closed, in seconds. A PING of HTTP/2 is no request.
pub const IDLE_SECONDS: u64 = 60;
/// How long the head of an HTTP/1 request may take once it has begun, in seconds.
pub const HEAD_SECONDS: u64 = 10;
/// How long a client may take nothing of an answer that waits for it, in seconds.
pub const ANSWER_PAUSE_SECONDS: u64 = 30;
/// How long a connection that is refused stays open, in seconds.
pub const REFUSED_SECONDS: u64 = 2;
/// How long a client may pause within a body, in seconds.
pub const BODY_PAUSE_SECONDS: u64 = 30;
/// How long a JSON body may take, in seconds, and one more for each [`JSON_BYTES_PER_SECOND`].
pub const JSON_BODY_SECONDS: u64 = 20;
/// See [`JSON_BODY_SECONDS`].
pub const JSON_BYTES_PER_SECOND: u64 = 100_000;
/// How long a list of numbers may arrive at any rate, in seconds.
pub const UPLOAD_GRACE_SECONDS: u64 = 10;
/// The least average rate of a list of numbers after [`UPLOAD_GRACE_SECONDS`].
pub const MIN_UPLOAD_BYTES_PER_SECOND: u64 = 10_000;
/// How long a list of numbers may take, in seconds.
pub const UPLOAD_SECONDS: u64 = 6 * 3_600;
/// Longest JSON body by default, in bytes.
pub const JSON_BODY_BYTES: u64 = 1 << 20;
/// Most that the longest JSON body can be set to, in bytes: parsed, a body takes several times its length.
pub const MAX_JSON_BODY_BYTES: u64 = 8 << 20;
/// The least that it can be set to, in bytes.
pub const MIN_JSON_BODY_BYTES: u64 = 1 << 10;
/// Longest list of numbers by default, in bytes.
pub const UPLOAD_BYTES: u64 = 4 << 30;
/// Memory of all bodies that are under way, in bytes. A body that is complete when it is first looked at is
/// not counted: no more is needed than the buffer of its connection.
pub const BODY_MEMORY_BYTES: usize = 256 << 20;

/// The limits of one server. The defaults are the constants of this module; tests have shorter ones.
#[derive(Debug, Clone)]
pub struct Limits {
    /// See [`IDLE_SECONDS`].
    pub idle: Duration,
    /// See [`HEAD_SECONDS`].
    pub head: Duration,
    /// See [`ANSWER_PAUSE_SECONDS`].
    pub answer: Duration,
    /// See [`REFUSED_SECONDS`].
    pub refused: Duration,
    /// See [`BODY_PAUSE_SECONDS`].
    pub body_pause: Duration,
    /// See [`JSON_BODY_SECONDS`].
    pub json_body: Duration,
    /// See [`JSON_BYTES_PER_SECOND`].
    pub json_bytes_per_second: u64,
    /// See [`UPLOAD_GRACE_SECONDS`].
    pub upload_grace: Duration,
    /// See [`MIN_UPLOAD_BYTES_PER_SECOND`].
    pub min_upload_bytes_per_second: u64,
    /// See [`UPLOAD_SECONDS`].
    pub upload: Duration,
    /// See [`JSON_BODY_BYTES`].
    pub json_body_bytes: u64,
    /// See [`UPLOAD_BYTES`].
    pub upload_bytes: u64,
    /// See [`BODY_MEMORY_BYTES`].
    pub body_memory_bytes: usize,
    /// Connections of one address; `None` for a part of all.
    pub connections_per_address: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(IDLE_SECONDS),
            head: Duration::from_secs(HEAD_SECONDS),
            answer: Duration::from_secs(ANSWER_PAUSE_SECONDS),
            refused: Duration::from_secs(REFUSED_SECONDS),
            body_pause: Duration::from_secs(BODY_PAUSE_SECONDS),
            json_body: Duration::from_secs(JSON_BODY_SECONDS),
            json_bytes_per_second: JSON_BYTES_PER_SECOND,
            upload_grace: Duration::from_secs(UPLOAD_GRACE_SECONDS),
            min_upload_bytes_per_second: MIN_UPLOAD_BYTES_PER_SECOND,
            upload: Duration::from_secs(UPLOAD_SECONDS),
            json_body_bytes: JSON_BODY_BYTES,
            upload_bytes: UPLOAD_BYTES,
            body_memory_bytes: BODY_MEMORY_BYTES,
            connections_per_address: None,
        }
    }
}
