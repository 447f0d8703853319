//! Whose idempotency keys these are, and how much of their memory is its.

use crate::sys::atomics::{AtomicU64, Ordering};

/// The owner of idempotency keys: keys of different owners are different keys.
#[derive(Debug)]
pub struct KeyOwner {
    name: Box<str>,
    /// Leases that its keys stand for, and those that its calls under way may make.
    leases: AtomicU64,
}

impl KeyOwner {
    /// An owner of this name.
    pub fn new(name: &str) -> Self {
        Self { name: name.into(), leases: AtomicU64::new(0) }
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Counts `count` leases if there are at most `most` then.
    pub(crate) fn reserve(&self, count: u32, most: u64) -> bool {
        let add = |leases: u64| {
            let sum = leases.saturating_add(count.into());
            (sum <= most).then_some(sum)
        };
        self.leases.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
    }

    /// Counts `count` leases no longer.
    pub(crate) fn release(&self, count: u64) {
        self.leases.fetch_sub(count, Ordering::Relaxed);
    }
}
