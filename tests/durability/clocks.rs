//! Clocks that the test moves.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use allotd::engine::clock::Clocks;
use allotd::state::time::EPOCH_UNIX_SECONDS;

/// Where the wall clock begins, in seconds since 2020.
pub(crate) const BEGINNING_SECONDS: u64 = 200_000_000;

/// Clocks that stand still until the test moves them.
#[derive(Debug)]
pub(crate) struct FakeClocks {
    wall_seconds: AtomicU64,
    boot_seconds: AtomicU64,
    boot: AtomicU64,
}

impl FakeClocks {
    /// At a time, in seconds since 2020, some seconds after a boot.
    pub(crate) fn at(wall_seconds: u64, boot: u64) -> Self {
        Self {
            wall_seconds: AtomicU64::new(wall_seconds),
            boot_seconds: AtomicU64::new(100),
            boot: AtomicU64::new(boot),
        }
    }

    pub(crate) fn advance(&self, seconds: u64) {
        self.wall_seconds.fetch_add(seconds, Ordering::SeqCst);
        self.boot_seconds.fetch_add(seconds, Ordering::SeqCst);
    }

    /// The wall clock, in seconds since 2020.
    pub(crate) fn now(&self) -> u64 {
        self.wall_seconds.load(Ordering::SeqCst)
    }
}

impl Default for FakeClocks {
    fn default() -> Self {
        Self::at(BEGINNING_SECONDS, 1)
    }
}

impl Clocks for FakeClocks {
    fn wall(&self) -> Duration {
        Duration::from_secs(EPOCH_UNIX_SECONDS + self.now())
    }

    fn boot_nanos(&self) -> u64 {
        self.boot_seconds.load(Ordering::SeqCst) * 1_000_000_000
    }

    fn boot_id(&self) -> [u8; 16] {
        let boot = self.boot.load(Ordering::SeqCst).to_le_bytes();
        std::array::from_fn(|i| boot[i % 8])
    }
}
