//! Runs the blocking part of a call on other threads than those that serve.

use crate::http::lanes::{self, Lane};
use crate::http::response::problem::Problem;

/// Runs a short call on a thread that may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    answer(Lane::Short, work).await
}

/// Runs a call on a thread of `lane`.
pub(crate) async fn answer<T: Send + 'static>(
    lane: Lane,
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    lanes::run(lane, work).await.unwrap_or_else(|_| {
        Err(Problem::internal(&"The call failed inside the server: check its log, and report the failure"))
    })
}
