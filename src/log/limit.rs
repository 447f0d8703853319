//! Limits repeated events: the log shows a few per second of each kind, and counts the others.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use tracing::warn;

/// Most events of one kind that are logged per second.
pub const MAX_EVENTS_PER_SECOND: u32 = 5;

/// The limit of one kind of events.
#[derive(Debug)]
pub(crate) struct Limit {
    kind: &'static str,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// When the current second began.
    began: Option<Instant>,
    /// Events logged in that second.
    told: u32,
    /// Events not logged since the last one that was.
    suppressed: u64,
}

/// Calls that took long.
pub(crate) static SLOW_CALL: Limit = Limit::new("slow_call");
/// Syncs that took long.
pub(crate) static SLOW_SYNC: Limit = Limit::new("slow_sync");
/// Responses with a status of 500 or more.
pub(crate) static REQUEST_FAILED: Limit = Limit::new("request_failed");
/// Checkpoints that failed because the disk was full.
pub(crate) static CHECKPOINT_FAILED: Limit = Limit::new("checkpoint_failed");
/// Merges of segments that failed.
pub(crate) static MERGE_FAILED: Limit = Limit::new("merge_failed");
/// Connections that could not be accepted.
pub(crate) static ACCEPT_FAILED: Limit = Limit::new("accept_failed");
/// TLS handshakes that were not completed.
pub(crate) static HANDSHAKE_FAILED: Limit = Limit::new("handshake_failed");

/// Requests that were refused for who made them.
pub(crate) static ACCESS_REFUSED: Limit = Limit::new("access_refused");

/// Totals that could not be saved.
pub(crate) static TOTALS_FAILED: Limit = Limit::new("totals_failed");
/// Calls that could not be written to the audit log.
pub(crate) static AUDIT_FAILED: Limit = Limit::new("audit_failed");
/// A standby whose step failed.
pub(crate) static STANDBY_FAILED: Limit = Limit::new("standby_failed");

const ALL: [&Limit; 11] = [
    &AUDIT_FAILED,
    &SLOW_CALL,
    &SLOW_SYNC,
    &REQUEST_FAILED,
    &CHECKPOINT_FAILED,
    &MERGE_FAILED,
    &ACCEPT_FAILED,
    &ACCESS_REFUSED,
    &HANDSHAKE_FAILED,
    &TOTALS_FAILED,
    &STANDBY_FAILED,
];

impl Limit {
    const fn new(kind: &'static str) -> Self {
        Self { kind, state: Mutex::new(State { began: None, told: 0, suppressed: 0 }) }
    }

    /// If one more event may be logged now, the number of events that were suppressed since the last one.
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

/// Logs how many events were suppressed, for each kind that has not been logged since.
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
                "there were more of these than the log shows per second: the stats count them"
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
