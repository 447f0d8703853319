//! The memory that all request bodies under way share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A body up to this size may use all of the memory, larger ones leave a part of it free.
const SMALL_BODY_BYTES: usize = 64 << 10;
/// The part of the memory that is for small bodies only.
const RESERVED_PART: usize = 8;

/// How much of a limit is used. Only a count, so its accesses need no order.
#[derive(Debug)]
pub(crate) struct BodyMemory {
    limit_bytes: usize,
    used_bytes: AtomicUsize,
}

impl BodyMemory {
    pub(crate) fn new(limit_bytes: usize) -> Self {
        Self { limit_bytes, used_bytes: AtomicUsize::new(0) }
    }

    /// The memory of one body: nothing yet.
    pub(crate) fn hold(self: &Arc<Self>) -> HeldMemory {
        HeldMemory { memory: Arc::clone(self), bytes: 0 }
    }
}

/// What one body holds; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct HeldMemory {
    memory: Arc<BodyMemory>,
    bytes: usize,
}

impl HeldMemory {
    /// Makes it hold `bytes` in all. Returns `false`, and changes nothing, if that is beyond the limit.
    #[must_use]
    pub(crate) fn resize(&mut self, bytes: usize) -> bool {
        let memory = &*self.memory;
        if bytes <= self.bytes {
            memory.used_bytes.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        } else {
            let reserved_bytes =
                if bytes <= SMALL_BODY_BYTES { 0 } else { memory.limit_bytes / RESERVED_PART };
            let limit_bytes = memory.limit_bytes - reserved_bytes;
            let more_bytes = bytes - self.bytes;
            let taken = memory.used_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(more_bytes).filter(|used| *used <= limit_bytes)
            });
            if taken.is_err() {
                return false;
            }
        }
        self.bytes = bytes;
        true
    }
}

impl Drop for HeldMemory {
    fn drop(&mut self) {
        self.memory.used_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_bodies_leave_room_for_small_ones() {
        let memory = Arc::new(BodyMemory::new(1 << 20));
        let (mut large, mut small) = (memory.hold(), memory.hold());
        assert!(!large.resize(1 << 20), "an eighth is reserved");
        assert!(large.resize(7 << 17));
        let mut other = memory.hold();
        assert!(!other.resize(SMALL_BODY_BYTES + 1));
        assert!(small.resize(SMALL_BODY_BYTES) && other.resize(SMALL_BODY_BYTES));
        assert!(!memory.hold().resize(1), "now it is used up");
        assert!(other.resize(1) && memory.hold().resize(SMALL_BODY_BYTES - 1));
        drop((large, small, other));
        assert_eq!(memory.used_bytes.load(Ordering::Relaxed), 0);
    }
}
