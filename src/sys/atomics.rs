//! The atomics of the crate: those of std, loom's when a model is checked (`--cfg allotd_loom`), or those of a
//! simulation (`--cfg allotd_shuttle`).

#[cfg(not(any(allotd_loom, allotd_shuttle)))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

#[cfg(allotd_loom)]
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

#[cfg(allotd_shuttle)]
pub(crate) use super::simulation::atomics::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// Lets other threads run before the next read of something that they change.
pub(crate) fn yield_now() {
    #[cfg(not(allotd_loom))]
    super::sync::thread::yield_now();
    #[cfg(allotd_loom)]
    loom::thread::yield_now();
}

/// Sleeps before the next read of something that other threads change.
#[track_caller]
pub(crate) fn sleep(pause: std::time::Duration) {
    #[cfg(not(allotd_loom))]
    super::sync::thread::sleep(pause);
    #[cfg(allotd_loom)]
    {
        let _ = pause;
        loom::thread::yield_now();
    }
}

/// Does nothing, except under loom: there it is a full fence.
///
/// Races of the form "I write A and read B, you write B and read A" are decided by the single order of all
/// `SeqCst` operations. Loom knows that order for fences only, not for loads and read-modify-writes (a
/// documented limit of loom 0.7), so a model needs the fence beside them.
#[inline]
pub(crate) fn total_order_for_loom() {
    #[cfg(allotd_loom)]
    loom::sync::atomic::fence(Ordering::SeqCst);
}
