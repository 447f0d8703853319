//! The atomics of the crate: those of std, or loom's when a model is checked (`--cfg allotd_loom`).

#[cfg(not(allotd_loom))]
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

#[cfg(allotd_loom)]
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Nothing, except under loom: there a full fence.
///
/// The races of "I write A and look at B, you write B and look at A" are decided here by the single
/// order of all `SeqCst` operations. Loom knows that order for fences only, not for loads and
/// read-modify-writes (a documented limit of loom 0.7), so in a model the fence stands beside them.
#[inline]
pub(crate) fn total_order_for_loom() {
    #[cfg(allotd_loom)]
    loom::sync::atomic::fence(Ordering::SeqCst);
}
