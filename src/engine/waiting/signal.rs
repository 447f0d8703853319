//! What wakes the task of a call that waits.

use std::sync::PoisonError;
use std::task::{Context, Poll, Waker};

use crate::sys::sync::{Mutex, MutexGuard};

/// Wakes one call, which may wait in the lines of several pools.
#[derive(Debug, Default)]
pub struct Signal(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    is_given: bool,
    waker: Option<Waker>,
}

impl Signal {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the call, now or when it next looks.
    pub fn give(&self) {
        let waker = {
            let mut state = self.state();
            state.is_given = true;
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Ready once the signal is given, which this takes back.
    pub fn poll_given(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if std::mem::take(&mut state.is_given) {
            return Poll::Ready(());
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}
