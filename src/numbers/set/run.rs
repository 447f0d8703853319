//! Runs of consecutive numbers of a set, and the run that a thread used last.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::coordinates::Rank;
use crate::numbers::number::Number;

use super::container::Run;
use super::container_index::Entry;

/// Consecutive numbers of a set, and their ranks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NumberRun {
    pub(crate) first_number: u64,
    pub(crate) first_rank: u32,
    pub(crate) len: u32,
}

impl NumberRun {
    /// The run of a container. A damaged container may count more than its header says; ranks stay within the
    /// header's count.
    #[inline]
    pub(crate) fn new(entry: &Entry, cardinality: u32, run: Run) -> Option<Self> {
        let len = run.len.min(cardinality.checked_sub(run.index)?);
        let first_number = entry.key() << 16 | u64::from(run.low);
        Some(Self { first_number, first_rank: entry.first_rank + run.index, len })
    }

    /// The rank of a number, if the run holds it.
    #[inline]
    pub(crate) fn rank(&self, number: Number) -> Option<Rank> {
        let into = number.get().wrapping_sub(self.first_number);
        (into < u64::from(self.len)).then(|| Rank(self.first_rank + into as u32))
    }

    /// The number at a rank, if the run holds it.
    #[inline]
    pub(crate) fn select(&self, rank: Rank) -> Option<Number> {
        let into = rank.0.wrapping_sub(self.first_rank);
        if into < self.len { Number::new(self.first_number + u64::from(into)).ok() } else { None }
    }
}

/// Distinguishes the sets that a process opens, also from those that it closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SetId(NonZeroU64);

impl SetId {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NonZeroU64::new(NEXT.fetch_add(1, Ordering::Relaxed)).unwrap_or(NonZeroU64::MAX))
    }
}

/// The run that a thread's last lookup found. Lookups in order mostly hit it: that is a branch which the
/// processor predicts, where a search waits for one load after another.
#[derive(Debug, Clone, Copy)]
pub struct LastRun {
    pub(crate) set: Option<SetId>,
    pub(crate) run: NumberRun,
}

impl Default for LastRun {
    fn default() -> Self {
        Self { set: None, run: NumberRun { first_number: 0, first_rank: 0, len: 0 } }
    }
}
