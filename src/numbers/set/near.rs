//! Lookups that try the run of the last lookup first: the next number is likely in the same run.

use crate::coordinates::Rank;
use crate::numbers::number::Number;
use crate::numbers::set::NumberSet;

use super::run::LastRun;

impl<B: AsRef<[u8]>> NumberSet<B> {
    /// As [`NumberSet::rank`], but searches the last run first.
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

    /// As [`NumberSet::select`], but searches the last run first.
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
