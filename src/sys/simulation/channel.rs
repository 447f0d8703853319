//! Channels of the simulated machine, with the parts of [`std::sync::mpsc`] that the crate uses.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::clock::Instant;
use super::lock::{Condvar, Mutex, MutexGuard};

pub use std::sync::mpsc::{RecvTimeoutError, SendError};

struct State<T> {
    items: VecDeque<T>,
    senders: usize,
    has_receiver: bool,
}

struct Channel<T> {
    bound: usize,
    state: Mutex<State<T>>,
    changed: Condvar,
}

impl<T> Channel<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The sending end.
pub struct SyncSender<T>(Arc<Channel<T>>);

/// The receiving end.
pub struct Receiver<T>(Arc<Channel<T>>);

impl<T> std::fmt::Debug for SyncSender<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SyncSender")
    }
}

impl<T> std::fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Receiver")
    }
}

/// A channel for `bound` items; a bound of 0 is taken for 1.
pub fn sync_channel<T>(bound: usize) -> (SyncSender<T>, Receiver<T>) {
    let state = State { items: VecDeque::new(), senders: 1, has_receiver: true };
    let channel =
        Arc::new(Channel { bound: bound.max(1), state: Mutex::new(state), changed: Condvar::new() });
    (SyncSender(Arc::clone(&channel)), Receiver(channel))
}

impl<T> SyncSender<T> {
    /// Sends an item, and waits for space if needed.
    pub fn send(&self, item: T) -> Result<(), SendError<T>> {
        let mut state = self.0.lock();
        while state.has_receiver && state.items.len() == self.0.bound {
            state = self.0.changed.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        if !state.has_receiver {
            return Err(SendError(item));
        }
        state.items.push_back(item);
        drop(state);
        self.0.changed.notify_all();
        Ok(())
    }
}

impl<T> Clone for SyncSender<T> {
    fn clone(&self) -> Self {
        self.0.lock().senders += 1;
        Self(Arc::clone(&self.0))
    }
}

impl<T> Drop for SyncSender<T> {
    fn drop(&mut self) {
        self.0.lock().senders -= 1;
        self.0.changed.notify_all();
    }
}

impl<T> Receiver<T> {
    /// Waits for an item for some time.
    #[track_caller]
    pub fn recv_timeout(&self, limit: Duration) -> Result<T, RecvTimeoutError> {
        let end = Instant::now() + limit;
        let mut state = self.0.lock();
        loop {
            if let Some(item) = state.items.pop_front() {
                drop(state);
                self.0.changed.notify_all();
                return Ok(item);
            }
            if state.senders == 0 {
                return Err(RecvTimeoutError::Disconnected);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(RecvTimeoutError::Timeout);
            }
            let waited = self.0.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.0.lock().has_receiver = false;
        self.0.changed.notify_all();
    }
}
