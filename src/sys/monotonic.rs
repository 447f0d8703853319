//! Time since some instant, for durations of requests: as a plain count, because `Instant` costs several times as
//! much to subtract.

use rustix::time::{ClockId, clock_gettime};

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// Nanoseconds of a clock that never steps and does not count sleep.
#[inline]
pub(crate) fn monotonic_nanos() -> u64 {
    nanos_of(ClockId::Monotonic)
}

/// Nanoseconds since the boot, sleep included.
#[inline]
#[cfg(not(allotd_shuttle))]
pub(crate) fn boot_nanos() -> u64 {
    nanos_of(ClockId::Boottime)
}

/// Nanoseconds since the boot of the simulation.
#[cfg(allotd_shuttle)]
pub(crate) fn boot_nanos() -> u64 {
    super::simulation::world::now().as_nanos() as u64
}

#[inline]
fn nanos_of(clock: ClockId) -> u64 {
    let now = clock_gettime(clock);
    now.tv_sec.cast_unsigned() * NANOS_PER_SECOND + now.tv_nsec.cast_unsigned()
}
