//! Runs of consecutive numbers: what a lookup in a set finds, and what the next one is likely to be in too.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};

use super::container::Run;
use super::directory::Entry;
use super::mapped::NumberSet;
use super::number::{Number, Rank};

/// Consecutive numbers of a set, and their ranks.
#[derive(Debug, Clone, Copy)]
pub(super) struct NumberRun {
    pub(super) first_number: u64,
    pub(super) first_rank: u32,
    pub(super) len: u32,
}

impl NumberRun {
    /// The run of a container. A damaged container may count more than its header says; no rank passes that.
    #[inline]
    pub(super) fn new(entry: &Entry, cardinality: u32, run: Run) -> Option<Self> {
        let len = run.len.min(cardinality.checked_sub(run.index)?);
        let first_number = entry.key() << 16 | u64::from(run.low);
        Some(Self { first_number, first_rank: entry.first_rank + run.index, len })
    }

    /// The rank of a number, if the run holds it.
    #[inline]
    pub(super) fn rank(&self, number: Number) -> Option<Rank> {
        let into = number.get().wrapping_sub(self.first_number);
        (into < u64::from(self.len)).then(|| Rank(self.first_rank + into as u32))
    }

    /// The number at a rank, if the run holds it.
    #[inline]
    pub(super) fn select(&self, rank: Rank) -> Option<Number> {
        let into = rank.0.wrapping_sub(self.first_rank);
        if into < self.len { Number::new(self.first_number + u64::from(into)).ok() } else { None }
    }
}

/// Tells sets apart that a process opened, also after one of them is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SetId(NonZeroU64);

impl SetId {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NonZeroU64::new(NEXT.fetch_add(1, Ordering::Relaxed)).unwrap_or(NonZeroU64::MAX))
    }
}

/// The run that a thread's last lookup ended in. Lookups in order find all they need in it: a guess that the
/// processor makes right, where a search waits for one load after another (16 of 33 ns a lease and return).
#[derive(Debug, Clone, Copy)]
pub struct LastRun {
    set: Option<SetId>,
    run: NumberRun,
}

impl Default for LastRun {
    fn default() -> Self {
        Self { set: None, run: NumberRun { first_number: 0, first_rank: 0, len: 0 } }
    }
}

impl<B: AsRef<[u8]>> NumberSet<B> {
    /// As [`NumberSet::rank`], looking into the last run first.
    #[inline]
    pub fn rank_near(&self, number: Number, last: &mut LastRun) -> Option<Rank> {
        if last.set == Some(self.id)
            && let Some(rank) = last.run.rank(number)
        {
            return Some(rank);
        }
        *last = LastRun { set: Some(self.id), run: self.run_of(number)? };
        last.run.rank(number)
    }

    /// As [`NumberSet::select`], looking into the last run first.
    #[inline]
    pub fn select_near(&self, rank: Rank, last: &mut LastRun) -> Option<Number> {
        if last.set == Some(self.id)
            && let Some(number) = last.run.select(rank)
        {
            return Some(number);
        }
        *last = LastRun { set: Some(self.id), run: self.run_at(rank)? };
        last.run.select(rank)
    }
}

#[cfg(test)]
mod tests {
    use roaring::RoaringTreemap;

    use super::*;

    fn set(numbers: impl IntoIterator<Item = u64>) -> NumberSet<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut bitmap = numbers.into_iter().collect::<RoaringTreemap>();
        bitmap.optimize();
        bitmap.serialize_into(&mut bytes).unwrap();
        NumberSet::open(bytes).unwrap()
    }

    #[test]
    fn the_last_run_changes_no_answer() {
        let (runs, array) =
            (set((100..5_000).chain(70_000..80_000).chain([90_000])), set([100, 70_000, 90_000]));
        let (mut by_rank, mut by_number) = (LastRun::default(), LastRun::default());
        for step in 0..200_000_u64 {
            let set = if step % 7 < 4 { &runs } else { &array };
            let (rank, number) =
                (Rank((step * 31 % 15_000) as u32), Number::new(step * 17 % 91_000 + 1).unwrap());
            assert_eq!(set.select_near(rank, &mut by_rank), set.select(rank), "{rank:?}");
            assert_eq!(set.rank_near(number, &mut by_number), set.rank(number), "{number:?}");
        }
    }

    #[test]
    fn a_run_of_one_set_says_nothing_of_another() {
        let (one, other) = (set(100..5_000), set(200..5_000));
        let mut last = LastRun::default();
        assert_eq!(one.select_near(Rank(0), &mut last), Number::new(100).ok());
        assert_eq!(other.select_near(Rank(0), &mut last), Number::new(200).ok());
    }
}
