//! The limits on what the pace of a client may cost: times, rates and memory.

use std::time::Duration;

/// A connection on which no request begins or is in progress, and no byte of a response leaves, for this long
/// is closed, in seconds. An incomplete head counts as no request, so this also limits how slowly a head may
/// be sent.
pub const IDLE_SECONDS: u64 = 60;
/// How long a client may pause within a body, in seconds.
pub const BODY_PAUSE_SECONDS: u64 = 30;
/// The least average rate of a body, once it is under way for [`BODY_GRACE_SECONDS`].
pub const MIN_BODY_BYTES_PER_SECOND: u64 = 1 << 10;
/// How long a body may arrive at any rate, in seconds.
pub const BODY_GRACE_SECONDS: u64 = 30;
/// How long a JSON body may take, in seconds.
pub const JSON_BODY_SECONDS: u64 = 120;
/// How long a list of numbers may take, in seconds.
pub const UPLOAD_SECONDS: u64 = 6 * 3_600;
/// Memory of all bodies that are under way, in bytes. A body that is complete when it is first looked at is
/// not counted: no more is needed than the buffer of its connection.
pub const BODY_MEMORY_BYTES: usize = 256 << 20;

/// The limits of one server. The defaults are the constants of this module; tests have shorter ones.
#[derive(Debug, Clone)]
pub struct Limits {
    /// See [`IDLE_SECONDS`].
    pub idle: Duration,
    /// See [`BODY_PAUSE_SECONDS`].
    pub body_pause: Duration,
    /// See [`BODY_GRACE_SECONDS`].
    pub body_grace: Duration,
    /// See [`MIN_BODY_BYTES_PER_SECOND`].
    pub min_body_bytes_per_second: u64,
    /// See [`JSON_BODY_SECONDS`].
    pub json_body: Duration,
    /// See [`UPLOAD_SECONDS`].
    pub upload: Duration,
    /// See [`BODY_MEMORY_BYTES`].
    pub body_memory_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(IDLE_SECONDS),
            body_pause: Duration::from_secs(BODY_PAUSE_SECONDS),
            body_grace: Duration::from_secs(BODY_GRACE_SECONDS),
            min_body_bytes_per_second: MIN_BODY_BYTES_PER_SECOND,
            json_body: Duration::from_secs(JSON_BODY_SECONDS),
            upload: Duration::from_secs(UPLOAD_SECONDS),
            body_memory_bytes: BODY_MEMORY_BYTES,
        }
    }
}
