//! The numbers of a segment: a sorted set that never changes, or one that grows in the order of addition.

use std::ops::Range;

use crate::coordinates::{self, Rank};
use crate::disk::mapping::MappedBytes;
use crate::numbers::number::{Number, NumberRange};
use crate::numbers::set::NumberSet;
use crate::numbers::set::growing::GrowingSet;
use crate::numbers::set::run::{LastRun, SetId};
use crate::store::growing_file::GrowingFile;

/// The numbers of a segment and their ranks.
pub(crate) struct SegmentNumbers {
    id: SetId,
    kind: Kind,
}

enum Kind {
    Sorted(NumberSet<MappedBytes>),
    Growing(GrowingSet, GrowingFile),
}

impl SegmentNumbers {
    pub(crate) fn sorted(set: NumberSet<MappedBytes>) -> Self {
        Self { id: set.id, kind: Kind::Sorted(set) }
    }

    pub(crate) fn growing(set: GrowingSet, file: GrowingFile) -> Self {
        Self { id: set.id, kind: Kind::Growing(set, file) }
    }

    /// Identifies the set in this process.
    pub(super) fn id(&self) -> SetId {
        self.id
    }

    /// The sorted set, unless this one grows.
    pub(crate) fn as_sorted(&self) -> Option<&NumberSet<MappedBytes>> {
        match &self.kind {
            Kind::Sorted(set) => Some(set),
            Kind::Growing(..) => None,
        }
    }

    /// The set that grows and its file, if this is one.
    pub(crate) fn as_growing(&self) -> Option<(&GrowingSet, &GrowingFile)> {
        match &self.kind {
            Kind::Sorted(_) => None,
            Kind::Growing(set, file) => Some((set, file)),
        }
    }

    /// How many ranks are in use.
    pub(crate) fn len(&self) -> u32 {
        match &self.kind {
            Kind::Sorted(set) => set.len() as u32,
            Kind::Growing(set, _) => set.len(),
        }
    }

    /// The rank of a number. Searches the last run first.
    #[inline]
    pub(crate) fn rank_near(&self, number: Number, last: &mut LastRun) -> Option<Rank> {
        if last.set == Some(self.id)
            && let Some(rank) = last.run.rank(number)
        {
            return Some(rank);
        }
        match &self.kind {
            Kind::Sorted(set) => set.rank_near(number, last),
            Kind::Growing(set, _) => set.rank(number),
        }
    }

    /// The rank of a number.
    pub(crate) fn rank(&self, number: Number) -> Option<Rank> {
        match &self.kind {
            Kind::Sorted(set) => set.rank(number),
            Kind::Growing(set, _) => set.rank(number),
        }
    }

    /// The number at a rank. Searches the last run first.
    #[inline]
    pub(crate) fn select_near(&self, rank: Rank, last: &mut LastRun) -> Option<Number> {
        if last.set == Some(self.id)
            && let Some(number) = last.run.select(rank)
        {
            return Some(number);
        }
        match &self.kind {
            Kind::Sorted(set) => set.select_near(rank, last),
            Kind::Growing(set, _) => set.select(rank),
        }
    }

    /// The number at a rank.
    pub(crate) fn select(&self, rank: Rank) -> Option<Number> {
        match &self.kind {
            Kind::Sorted(set) => set.select(rank),
            Kind::Growing(set, _) => set.select(rank),
        }
    }

    /// Prefetches the memory that the lookup of a rank reads first.
    #[inline]
    pub(crate) fn prefetch(&self, rank: Rank) {
        if let Kind::Sorted(set) = &self.kind {
            set.prefetch(rank);
        }
    }

    /// The ranks of all numbers inside `range`, ascending and disjoint.
    pub(crate) fn rank_ranges(&self, range: NumberRange) -> impl Iterator<Item = Range<Rank>> + use<> {
        let (one, several) = match &self.kind {
            Kind::Sorted(set) => (Some(set.rank_range(range)), Vec::new()),
            Kind::Growing(set, _) => (None, set.rank_ranges(range)),
        };
        one.into_iter().filter(|ranks| !ranks.is_empty()).chain(several)
    }

    /// The numbers inside `range` as runs; the first and the last run may go beyond it.
    pub(crate) fn runs_in(&self, range: NumberRange) -> Vec<NumberRange> {
        match &self.kind {
            Kind::Sorted(set) => {
                let ranks = set.rank_range(range);
                if ranks.is_empty() {
                    return Vec::new();
                }
                set.ranges_from(ranks.start).take_while(|run| run.first() <= range.last()).collect()
            }
            Kind::Growing(set, _) => {
                let ranks = set.rank_ranges(range);
                let numbers = ranks.iter().flat_map(coordinates::each).filter_map(|rank| set.select(rank));
                numbers.map(NumberRange::single).collect()
            }
        }
    }

    /// All numbers in ascending order, as runs.
    pub(crate) fn runs(&self) -> Box<dyn Iterator<Item = NumberRange> + '_> {
        match &self.kind {
            Kind::Sorted(set) => Box::new(set.ranges()),
            Kind::Growing(set, _) => {
                Box::new(set.sorted().into_iter().map(|(number, _)| NumberRange::single(number)))
            }
        }
    }

    /// The lowest and the highest number. Of a set that grows, all numbers there can be.
    pub(crate) fn span(&self) -> Option<(Number, Number)> {
        match &self.kind {
            Kind::Sorted(set) => {
                let last = Rank((set.len() as u32).checked_sub(1)?);
                Some((set.select(Rank(0))?, set.select(last)?))
            }
            Kind::Growing(..) => Some((NumberRange::ALL.first(), NumberRange::ALL.last())),
        }
    }
}
