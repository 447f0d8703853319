//! The threads that may block, beside those that serve.
//!
//! Each kind of work has threads of its own in each worker, so that none waits for another kind: however many
//! imports are in progress, an operator's pause finds a thread. Work that finds no thread waits as a task.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinHandle};

/// A kind of work.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Lane {
    /// Short calls: settings, pause, deletion, counts of a scan.
    Short,
    /// Writes of a part of an upload.
    Staging,
    /// Makes the next part of an export.
    Export,
    /// Imports, lists to retire, sets to export, backups.
    Long,
    /// Large batches of leases, renewals and returns.
    Batch,
}

/// Threads of a worker, by [`Lane`].
const LANE_THREADS: [usize; 5] = [4, 2, 2, 4, 1];
/// Threads of one worker that may block.
pub(crate) const BLOCKING_THREADS_PER_WORKER: usize =
    LANE_THREADS[0] + LANE_THREADS[1] + LANE_THREADS[2] + LANE_THREADS[3] + LANE_THREADS[4];

thread_local! {
    /// The free threads of this worker, by [`Lane`].
    static FREE: [Arc<Semaphore>; 5] = LANE_THREADS.map(|threads| Arc::new(Semaphore::new(threads)));
}

/// Runs `work` on a thread of `lane`. Once it has begun it runs to its end, even if nobody waits any more.
///
/// # Panics
///
/// Never: work that panics is an error.
pub(crate) async fn run<T: Send + 'static>(
    lane: Lane,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    let result = Arc::new(Mutex::new(None));
    let slot = Arc::clone(&result);
    run_boxed(lane, Box::new(move || *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(work())))
        .await?;
    let result = result.lock().unwrap_or_else(PoisonError::into_inner).take();
    Ok(result.expect("work that ended without a panic has left its result"))
}

/// One type for all calls: each type of task is compiled anew, with the runtime's part of it.
async fn run_boxed(lane: Lane, work: Box<dyn FnOnce() + Send>) -> Result<(), JoinError> {
    let free = FREE.with(|free| Arc::clone(&free[lane as usize]));
    // A task of its own takes the thread: the task of a connection may not ask for the result until its
    // client has read something, and would keep the thread from others.
    let mut job = Job(tokio::spawn(async move {
        // Fails only for a closed semaphore, which these never are.
        let thread = free.acquire_owned().await.ok();
        let done = tokio::task::spawn_blocking(move || {
            work();
            drop(thread);
        });
        done.await
    }));
    (&mut job.0).await?
}

/// A job that is dropped with its caller, unless it has begun.
struct Job(JoinHandle<Result<(), JoinError>>);

impl Drop for Job {
    fn drop(&mut self) {
        self.0.abort();
    }
}
