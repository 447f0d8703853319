//! The batches of one HTTP/2 connection take turns: its calls are under way together, and so would their answers
//! be, each as large as the others. What waits for a client is counted once an answer is there.

use std::sync::Arc;

use hyper::Request;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The turn of a connection's batches.
#[derive(Debug, Clone)]
pub(crate) struct BatchTurn(Arc<Semaphore>);

impl Default for BatchTurn {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

impl BatchTurn {
    /// The turn that a batch has to wait for, if it is of HTTP/2.
    pub(crate) fn of<B>(request: &Request<B>) -> Option<Self> {
        request.extensions().get::<Self>().cloned()
    }

    /// Waits for the turn, which ends when what this returns is dropped.
    pub(crate) async fn take(turn: Option<&Self>) -> Option<OwnedSemaphorePermit> {
        match turn {
            // It is never closed.
            Some(Self(turn)) => Arc::clone(turn).acquire_owned().await.ok(),
            None => None,
        }
    }
}
