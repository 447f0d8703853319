//! The place of a thread among the per-thread counters.

/// The place of one thread among the per-thread counters; no two threads use one at the same time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slot(pub usize);
