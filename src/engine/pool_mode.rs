//! Whether a pool hands out numbers, and whether it does so to calls that do not wait.

use crate::sys::atomics::{AtomicU32, Ordering};

/// Whether a pool hands out numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Mode {
    Open,
    Paused,
    /// A deletion looks whether it may delete the pool.
    Deleting,
    Deleted,
}

/// Set in a pool's mode while a call that waits has precedence over those that do not.
const PRECEDENCE: u32 = 1 << 31;

/// The mode of a pool, and whether a call that waits has precedence: each lease reads both by one load.
pub(super) struct PoolMode(AtomicU32);

impl PoolMode {
    pub(super) fn new(mode: Mode) -> Self {
        Self(AtomicU32::new(mode as u32))
    }

    #[inline]
    pub(super) fn get(&self) -> Mode {
        match self.0.load(Ordering::SeqCst) & !PRECEDENCE {
            0 => Mode::Open,
            1 => Mode::Paused,
            2 => Mode::Deleting,
            _ => Mode::Deleted,
        }
    }

    pub(super) fn set(&self, mode: Mode) {
        self.change(|before| before & PRECEDENCE | mode as u32);
    }

    fn change(&self, change: impl Fn(u32) -> u32) {
        let change = |before| Some(change(before));
        // It always succeeds.
        let _ = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, change);
    }

    /// Whether the mode is open and no call that waits has precedence.
    #[inline]
    pub(super) fn is_open_to_all(&self) -> bool {
        self.0.load(Ordering::SeqCst) == Mode::Open as u32
    }

    /// Says whether a call that waits has precedence.
    pub(super) fn set_precedence(&self, has_precedence: bool) {
        if (self.0.load(Ordering::SeqCst) & PRECEDENCE != 0) != has_precedence {
            let bit = if has_precedence { PRECEDENCE } else { 0 };
            self.change(|before| before & !PRECEDENCE | bit);
        }
    }
}
