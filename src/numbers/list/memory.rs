//! Refuses a list that takes more memory than is free, before the system ends the process for it.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};

use crate::sys::memory;

use super::error::ListError;

/// How much is gathered between two looks at the free memory.
const STEP_BYTES: u64 = 64 << 20;
/// What stays free for everything else.
const RESERVE_BYTES: u64 = 128 << 20;

/// The memory of a list that is being read, by all threads that read it.
#[derive(Debug)]
pub(super) struct MemoryCheck {
    available: fn() -> Option<u64>,
    kept: AtomicU64,
    looked_at: AtomicU64,
    is_short: AtomicBool,
}

impl MemoryCheck {
    pub(super) fn new() -> Self {
        Self::with(memory::available_bytes)
    }

    fn with(available: fn() -> Option<u64>) -> Self {
        let zero = || AtomicU64::new(0);
        Self { available, kept: zero(), looked_at: zero(), is_short: AtomicBool::new(false) }
    }

    /// Counts bytes that are kept until the list is complete. Returns whether there is room for it.
    pub(super) fn keep(&self, bytes: u64) -> bool {
        let kept = self.kept.fetch_add(bytes, Relaxed) + bytes;
        if kept >= self.looked_at.load(Relaxed) + STEP_BYTES {
            self.looked_at.store(kept, Relaxed);
            // At the end its parts are put together: then it is there twice.
            if (self.available)().is_some_and(|available| available < kept + RESERVE_BYTES) {
                self.is_short.store(true, Relaxed);
            }
        }
        !self.is_short.load(Relaxed)
    }

    /// The refusal, if there was no room.
    pub(super) fn refusal(&self) -> Result<(), ListError> {
        if self.is_short.load(Relaxed) {
            return Err(ListError::TooMuchMemory { mib: self.kept.load(Relaxed) >> 20 });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_takes_all_memory_is_refused() {
        let check = MemoryCheck::with(|| Some(1 << 30));
        let mut kept = 0;
        while check.keep(16 << 20) {
            kept += 16 << 20;
            assert!(kept < 1 << 30);
        }
        // There is room for it a second time, and for the reserve, but for a step.
        let most = (1 << 30) - RESERVE_BYTES + STEP_BYTES;
        assert!((most - 2 * STEP_BYTES..most).contains(&kept), "{kept}");
        assert!(!check.keep(0), "it stays refused");
        let refusal = check.refusal().unwrap_err().to_string();
        assert!(refusal.contains("MiB") && refusal.contains("ranges"), "{refusal}");
        let unknown = MemoryCheck::with(|| None);
        assert!(unknown.keep(1 << 50) && unknown.refusal().is_ok());
    }
}
