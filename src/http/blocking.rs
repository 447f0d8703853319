//! Runs work that may block on other threads than those that serve.

use crate::http::response::problem::Problem;

/// Runs `work` on a thread that may block.
pub(crate) fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> impl Future<Output = Result<T, Problem>> {
    let job = tokio::task::spawn_blocking(work);
    async move {
        job.await.unwrap_or_else(|_| {
            Err(Problem::internal(
                &"The call failed inside the server: check its log, and report the failure",
            ))
        })
    }
}
