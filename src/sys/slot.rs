//! The index of a thread among the per-thread counters and queues.

/// The index of one thread among the per-thread counters and queues. No two threads use one at the same time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slot(pub usize);
