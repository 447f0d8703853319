//! The engine's time: a monotonic clock anchored to the wall clock when the daemon starts.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::state::time::{EPOCH_UNIX_SECONDS, Timestamp};
use crate::sync::{AtomicU64, Ordering};

const NANOS_A_SECOND: u64 = 1_000_000_000;

/// Time that never steps: a change of the wall clock while the daemon runs is not seen. Tests move it
/// forward by hand.
pub struct Clock {
    started: Instant,
    started_at: Duration,
    skipped_nanos: AtomicU64,
}

impl Clock {
    /// A clock that goes on from the wall clock's time now.
    pub fn start() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            started: Instant::now(),
            started_at: unix.saturating_sub(Duration::from_secs(EPOCH_UNIX_SECONDS)),
            skipped_nanos: AtomicU64::new(0),
        }
    }

    fn nanos(&self) -> u64 {
        let since = self.started_at + self.started.elapsed();
        since.as_nanos() as u64 + self.skipped_nanos.load(Ordering::Relaxed)
    }

    /// The last whole second.
    #[inline]
    pub fn now(&self) -> Timestamp {
        Timestamp::new(u32::try_from(self.nanos() / NANOS_A_SECOND).unwrap_or(u32::MAX))
    }

    /// The first whole second at least so many seconds from now: a lease until then never ends early.
    #[inline]
    pub fn deadline(&self, seconds: u32) -> Timestamp {
        Timestamp::new(u32::try_from(self.nanos().div_ceil(NANOS_A_SECOND)).unwrap_or(u32::MAX))
            .after(seconds)
    }

    /// Lets time jump forward, for tests and benchmarks.
    pub fn skip(&self, seconds: u32) {
        self.skipped_nanos.fetch_add(u64::from(seconds) * NANOS_A_SECOND, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_never_early() {
        let clock = Clock::start();
        for seconds in [0, 1, 60] {
            let (before, deadline) = (clock.nanos(), clock.deadline(seconds));
            assert!(
                u64::from(deadline.seconds()) * NANOS_A_SECOND
                    >= before + u64::from(seconds) * NANOS_A_SECOND
            );
            assert!(deadline <= clock.now().after(seconds + 1));
        }
        let now = clock.now();
        clock.skip(100);
        assert!(clock.now() >= now.after(100));
    }
}
