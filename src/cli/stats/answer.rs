//! The answer of `GET /v1/stats`, and its words for people.

use crate::client::ClientError;
use crate::http::response::code;
use crate::http::response::stats::Stats;

/// Reads the answer.
pub(in crate::cli) fn parse(answer: &str) -> Result<Stats, ClientError> {
    serde_json::from_str(answer).map_err(|error| ClientError::Answer(error.to_string()))
}

/// The state of the daemon in words that say what to do.
pub(in crate::cli) fn state_in_words(state: &str) -> &str {
    match state {
        "draining" => "draining: it shuts down",
        "storage_full" => "storage full: changes are refused, free some disk space",
        "poisoned" => "poisoned: the disk failed, look at the log",
        other => other,
    }
}

/// Why requests with this error code are refused.
pub(in crate::cli) fn refusal_in_words(code: &str) -> &'static str {
    code::title(code).unwrap_or("An error that this version does not know")
}

/// The path of the daemon's statistics.
pub(crate) const STATS_PATH: &str = "/v1/stats";
