//! What the crate uses of the machine: atomics (real, loom's or simulated), threads, memory.

pub(crate) mod atomics;
pub(crate) mod background;
pub(crate) mod clock_sync;
pub(crate) mod descriptors;
pub(crate) mod lock;
pub(crate) mod memory;
pub(crate) mod monotonic;
pub(crate) mod parallel;
pub(crate) mod prefetch;
pub(crate) mod random;
#[cfg(allotd_shuttle)]
pub mod simulation;
pub mod slot;
pub(crate) mod sync;
pub(crate) mod umask;
pub(crate) mod users;
