//! The clocks of a simulated machine: the time of the run, and what the run adds to it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use allotd::engine::clock::Clocks;
use allotd::state::time::EPOCH_UNIX_SECONDS;
use allotd::sys::simulation::world;

/// Where the wall clock begins, in seconds since 2020.
const BEGINNING_SECONDS: u64 = 200_000_000;

#[derive(Debug, Default)]
pub(crate) struct SimulatedClocks {
    added_seconds: AtomicU64,
    /// How much the wall clock is slow, in seconds.
    slow_seconds: AtomicU64,
    boot: AtomicU64,
}

impl SimulatedClocks {
    /// Lets time pass, without any thread having had a turn.
    pub(crate) fn advance(&self, seconds: u64) {
        self.added_seconds.fetch_add(seconds, Ordering::Relaxed);
    }

    /// Sets the wall clock back.
    pub(crate) fn set_back(&self, seconds: u64) {
        self.slow_seconds.fetch_add(seconds, Ordering::Relaxed);
    }

    /// The machine has booted again.
    pub(crate) fn reboot(&self) {
        self.boot.fetch_add(1, Ordering::Relaxed);
    }

    fn seconds(&self) -> u64 {
        self.added_seconds.load(Ordering::Relaxed)
    }
}

impl Clocks for SimulatedClocks {
    fn wall(&self) -> Duration {
        let seconds = EPOCH_UNIX_SECONDS + BEGINNING_SECONDS + self.seconds();
        world::now() + Duration::from_secs(seconds - self.slow_seconds.load(Ordering::Relaxed))
    }

    fn boot_nanos(&self) -> u64 {
        (world::now() + Duration::from_secs(self.seconds())).as_nanos() as u64
    }

    fn boot_id(&self) -> [u8; 16] {
        [1 + self.boot.load(Ordering::Relaxed) as u8; 16]
    }
}
