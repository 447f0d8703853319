//! How often the log repeats itself: a few times a second each kind, then it counts.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use tracing::warn;

/// Events of one kind that are told in a second.
pub const MAX_EVENTS_PER_SECOND: u32 = 5;

/// The limit of one kind of events.
#[derive(Debug)]
pub(crate) struct Limit {
    kind: &'static str,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// When the second began in which so many were told.
    began: Option<Instant>,
    told: u32,
    suppressed: u64,
}

/// Calls that took long.
pub(crate) static SLOW_CALL: Limit = Limit::new("slow_call");
/// Syncs that took long.
pub(crate) static SLOW_SYNC: Limit = Limit::new("slow_sync");
/// Answers of 500 and more.
pub(crate) static REQUEST_FAILED: Limit = Limit::new("request_failed");
/// Checkpoints that the disk had no room for.
pub(crate) static CHECKPOINT_FAILED: Limit = Limit::new("checkpoint_failed");
/// Connections that could not be accepted.
pub(crate) static ACCEPT_FAILED: Limit = Limit::new("accept_failed");

const ALL: [&Limit; 5] = [&SLOW_CALL, &SLOW_SYNC, &REQUEST_FAILED, &CHECKPOINT_FAILED, &ACCEPT_FAILED];

impl Limit {
    const fn new(kind: &'static str) -> Self {
        Self { kind, state: Mutex::new(State { began: None, told: 0, suppressed: 0 }) }
    }

    /// Whether one more may be told now; if so, how many were not since the last.
    pub(crate) fn admit(&self) -> Option<u64> {
        self.lock().admit(Instant::now())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_new_second(&self, now: Instant) -> bool {
        self.began.is_none_or(|began| now.duration_since(began).as_secs() >= 1)
    }

    fn admit(&mut self, now: Instant) -> Option<u64> {
        if self.is_new_second(now) {
            (self.began, self.told) = (Some(now), 0);
        }
        if self.told == MAX_EVENTS_PER_SECOND {
            self.suppressed += 1;
            return None;
        }
        self.told += 1;
        Some(std::mem::take(&mut self.suppressed))
    }
}

/// Tells how many events were not told, of each kind that has gone quiet since.
pub(crate) fn log_suppressed() {
    for limit in ALL {
        let mut state = limit.lock();
        if state.suppressed > 0 && state.is_new_second(Instant::now()) {
            let suppressed = std::mem::take(&mut state.suppressed);
            drop(state);
            warn!(
                event = "suppressed",
                kind = limit.kind,
                suppressed,
                "there were more of these than the log tells in a second: the stats count them"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn so_many_a_second_are_told_and_the_others_counted() {
        let limit = Limit::new("test");
        let (mut state, start) = (limit.lock(), Instant::now());
        let half = Duration::from_millis(500);
        for _ in 0..MAX_EVENTS_PER_SECOND {
            assert_eq!(state.admit(start), Some(0));
        }
        assert_eq!(state.admit(start), None);
        assert_eq!(state.admit(start + half), None);
        assert_eq!(state.admit(start + 2 * half), Some(2), "of the second before");
        assert_eq!(state.admit(start + 3 * half), Some(0));
    }
}
