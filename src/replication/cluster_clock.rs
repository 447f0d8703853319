//! The time of all members: that of the primary, which the others estimate from the entries as they come.
//!
//! An entry is seen a while after it was made. So each one gives an estimate that is late by that while and never
//! ahead, and the latest estimate from the entries of the last primary counts. A new primary goes on from it: a lease
//! never ends earlier than its holder was told. Its time may be behind that of primaries before, and then its own leases
//! end by it.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::state::time::EPOCH_UNIX_SECONDS;
use crate::sys::atomics::{AtomicBool, AtomicU64, Ordering};
use crate::sys::monotonic::boot_nanos;

/// The clock of a member.
pub struct ClusterClock {
    /// The system's time, in nanoseconds since 2020.
    system_nanos: Box<dyn Fn() -> u64 + Send + Sync>,
    /// How far the cluster's time is ahead of the time since this machine's boot, in nanoseconds. It wraps, as the
    /// boot may be before 2020 by a clock that is not set; 0 until something is known.
    ahead_nanos: AtomicU64,
    /// The epoch of the entries that this is from.
    epoch: AtomicU64,
    /// Whether an entry was seen as it came, or this member is the primary.
    is_measured: AtomicBool,
}

impl Default for ClusterClock {
    fn default() -> Self {
        Self::over(system_nanos)
    }
}

impl fmt::Debug for ClusterClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterClock").finish_non_exhaustive()
    }
}

impl ClusterClock {
    /// A clock over another clock than the system's, which gives nanoseconds since 2020.
    pub fn over(system_nanos: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self {
            system_nanos: Box::new(system_nanos),
            ahead_nanos: AtomicU64::new(0),
            epoch: AtomicU64::new(0),
            is_measured: AtomicBool::new(false),
        }
    }

    /// Takes the time of an entry that was read just now, by one thread. `is_fresh` is whether it was waited for.
    pub fn observe(&self, time_nanos: u64, epoch: u64, is_fresh: bool) {
        let ahead = time_nanos.wrapping_sub(boot_nanos());
        // Relaxed: each value is all that is read of it, and only this thread changes them.
        let before = self.ahead_nanos.load(Ordering::Relaxed);
        let is_newer = epoch > self.epoch.load(Ordering::Relaxed);
        if is_newer || before == 0 || ahead.wrapping_sub(before).cast_signed() > 0 {
            self.ahead_nanos.store(ahead, Ordering::Relaxed);
            self.epoch.fetch_max(epoch, Ordering::Relaxed);
        }
        if is_fresh {
            self.is_measured.store(true, Ordering::Relaxed);
        }
    }

    /// What is known of the cluster's time by the entries, in nanoseconds since 2020: never ahead of it. 0 if nothing is.
    pub fn known_nanos(&self) -> u64 {
        let ahead = self.ahead_nanos.load(Ordering::Relaxed);
        if ahead == 0 { 0 } else { ahead.wrapping_add(boot_nanos()) }
    }

    /// The cluster's time, in nanoseconds since 2020. Before an entry was seen as it came, the system's clock counts if
    /// it is later: nobody knows how long there was no primary.
    pub fn now_nanos(&self) -> u64 {
        let estimated = self.known_nanos();
        if self.is_measured.load(Ordering::Relaxed) {
            estimated
        } else {
            estimated.max((self.system_nanos)())
        }
    }

    /// Whether the cluster's time is known from an entry that was seen as it came.
    pub fn is_measured(&self) -> bool {
        self.is_measured.load(Ordering::Relaxed)
    }

    /// How far the system's clock is ahead of the cluster's time, in seconds, or behind it if negative.
    pub fn system_ahead_seconds(&self) -> i64 {
        let ahead = (self.system_nanos)().wrapping_sub(self.now_nanos()).cast_signed();
        ahead / 1_000_000_000
    }
}

/// The system's time, in nanoseconds since 2020; 0 if it is before.
fn system_nanos() -> u64 {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let since = unix.saturating_sub(Duration::from_secs(EPOCH_UNIX_SECONDS));
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_NANOS: u64 = 3_600_000_000_000;

    #[test]
    fn the_latest_estimate_counts_and_the_system_only_until_one_is_fresh() {
        let clock = ClusterClock::default();
        let now = system_nanos();
        clock.observe(now - 5 * HOUR_NANOS, 1, false);
        assert!(clock.now_nanos() >= now, "nobody knows how old the entry is");
        clock.observe(now - 2 * HOUR_NANOS, 1, true);
        let estimated = clock.now_nanos();
        assert!(estimated < now - HOUR_NANOS && estimated >= now - 2 * HOUR_NANOS);
        clock.observe(now - 4 * HOUR_NANOS, 1, true);
        assert!(clock.now_nanos() >= estimated, "never back");
        assert_eq!(clock.system_ahead_seconds() / 3_600, 2);
    }

    #[test]
    fn the_time_of_the_last_primary_counts_though_it_is_behind() {
        let clock = ClusterClock::default();
        let now = system_nanos();
        clock.observe(now, 1, true);
        clock.observe(now - HOUR_NANOS, 2, false);
        let behind = clock.now_nanos();
        assert!(behind >= now - HOUR_NANOS && behind < now, "its leases end by its time");
    }
}
