//! A segment: a set of numbers and, indexed by their ranks, their words, the free index and the due hints. A
//! sorted set never changes; a set that grows has its numbers in the order of their addition.

pub(crate) mod choice;
pub(crate) mod holders;
pub(crate) mod merging;
pub(crate) mod moving;
pub(crate) mod numbers;
pub(crate) mod open_hours;
pub(crate) mod opened_files;
pub(crate) mod plausible;
pub(crate) mod rebuild;
pub(crate) mod spans;
pub mod within;

use std::borrow::Cow;
use std::ops::Range;
use std::sync::{Arc, OnceLock, Weak};

use crate::coordinates::{Rank, SegmentId};
use crate::disk::mapping::MappedWords;
use crate::engine::calendar::Calendar;
use crate::numbers::number::{Number, NumberRange};
use crate::numbers::set::run::LastRun;
use crate::state::holder_column::HolderColumn;
use crate::state::number_state::State;
use crate::state::segment_state::SegmentState;
use crate::state::time::Timestamp;
use crate::state::word::Word;
use crate::store::table::TableFile;

use merging::Merging;
use numbers::SegmentNumbers;
use open_hours::{OpenNumbers, Zoned};
use spans::{SegmentIndex, Spans};

/// Larger segments are not merged: moving their words takes long, and a pool has few of them.
pub(crate) const MAX_MERGED_NUMBERS: u32 = 1 << 22;
/// Maximum segments of one pool: each number that a call names is looked up in each of them.
const MAX_SEGMENTS: usize = 1_000;
/// Most of them that wait to be merged. Merges keep the number far below.
const MAX_UNMERGED_SEGMENTS: usize = 128;

/// A set of numbers with their state.
pub(crate) struct Segment {
    pub(crate) id: SegmentId,
    pub(crate) set: SegmentNumbers,
    pub(crate) state: SegmentState<MappedWords>,
    table: TableFile,
    /// The file of the column of holders.
    holders_file: OnceLock<TableFile>,
    pub(crate) merging: Merging<Segment>,
    /// The lowest and the highest number.
    span: Option<(Number, Number)>,
}

impl Segment {
    pub(crate) fn new(
        id: SegmentId,
        set: SegmentNumbers,
        state: SegmentState<MappedWords>,
        table: TableFile,
        sources: Vec<Weak<Segment>>,
    ) -> Self {
        let span = set.span();
        let holders_file = OnceLock::new();
        Self { id, set, state, table, holders_file, merging: Merging::new(sources), span }
    }

    /// Closes the files after the last checkpoint.
    pub(crate) fn close(&self) -> std::io::Result<()> {
        self.table.close(&self.state.words)?;
        match (self.state.holders.get(), self.holders_file.get()) {
            (Some(column), Some(file)) => file.close(&column.entries),
            _ => Ok(()),
        }
    }

    /// Begins to use a column of holders.
    pub(crate) fn use_holders(&self, column: HolderColumn<MappedWords>, file: TableFile) {
        // The file first: a checkpoint writes what has both.
        let _ = self.holders_file.set(file);
        let _ = self.state.holders.set(column);
    }

    /// The state that a number is shown in whose word, by its rank here, is seen as `seen`: blocked instead of
    /// available if a list blocks it.
    #[inline]
    pub(crate) fn shown(&self, rank: Rank, seen: Word) -> State {
        let state = seen.state();
        let is_blocked = state == State::Available && self.state.free.blocked().contains(rank);
        if is_blocked { State::Blocked } else { state }
    }

    /// The ranks in use.
    pub(crate) fn ranks(&self) -> Range<Rank> {
        Rank(0)..Rank(self.set.len())
    }

    /// How many numbers can be added.
    pub(crate) fn room(&self) -> u32 {
        self.set.as_growing().map_or(0, |(set, _)| set.room())
    }
}

/// The clock has gone on further than what is open was worked out for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unsettled;

/// Where a number is searched.
struct Searched {
    first: Number,
    last: Number,
    index: SegmentIndex,
}

/// The segments of a pool. Immutable: a change of the list creates a new value.
pub(crate) struct Segments {
    /// All segments. One that a merge moves numbers into comes after those that they come from.
    pub(crate) list: Vec<Arc<Segment>>,
    pub(crate) whole: Spans,
    /// The segment that a merge moves numbers into. Its numbers are also in other segments of the list, and
    /// its words count only where those say that they have moved.
    receiving: Option<SegmentIndex>,
    /// How many merges the pool has begun in this process.
    pub(crate) merges_begun: u64,
    /// Ranks from these on are of numbers that were added later: they are neither found nor chosen.
    ends: Vec<Rank>,
    /// What is searched for a number: the largest first.
    lookup: Vec<Searched>,
    /// What is open, if the pool has hours.
    pub(crate) open: Option<OpenNumbers>,
}

impl Segments {
    /// The segment at a position.
    #[inline]
    pub(crate) fn get(&self, index: SegmentIndex) -> &Arc<Segment> {
        &self.list[index.0 as usize]
    }

    pub(crate) fn new(list: Vec<Arc<Segment>>) -> Self {
        Self::with(list, None, 0, None)
    }

    fn with(
        list: Vec<Arc<Segment>>,
        receiving: Option<SegmentIndex>,
        merges_begun: u64,
        before: Option<(&Arc<Calendar>, Option<&OpenNumbers>)>,
    ) -> Self {
        let indexes = || (0..).map(SegmentIndex).zip(&list);
        let mut lookup: Vec<_> = indexes()
            .filter(|(index, _)| receiving != Some(*index))
            .filter_map(|(index, segment)| {
                let span = segment.span?;
                Some(Searched { first: span.0, last: span.1, index })
            })
            .collect();
        lookup.sort_by_key(|searched| std::cmp::Reverse(list[searched.index.0 as usize].state.free.len()));
        // Read once: a segment can grow meanwhile.
        let ends: Vec<Rank> = list.iter().map(|segment| segment.ranks().end).collect();
        let spans = indexes().zip(&ends).map(|((index, _), end)| (index, Rank(0)..*end));
        let whole = Spans::new(spans, receiving);
        let open = before.map(|(calendar, before)| {
            let zoned = list.iter().zip(&ends).map(|(segment, end)| Zoned { set: &segment.set, end: *end });
            OpenNumbers::new(calendar, zoned, receiving, before)
        });
        Self { list, whole, receiving, merges_begun, ends, lookup, open }
    }

    fn calendar(&self) -> Option<(&Arc<Calendar>, Option<&OpenNumbers>)> {
        self.open.as_ref().map(|open| (open.calendar(), Some(open)))
    }

    /// The same segments, with the numbers that they have now, and what is open now.
    pub(crate) fn renewed(&self) -> Self {
        Self::with(self.list.clone(), self.receiving, self.merges_begun, self.calendar())
    }

    /// The same segments with other hours.
    pub(crate) fn with_calendar(&self, calendar: Option<&Arc<Calendar>>) -> Self {
        let calendar = calendar.map(|calendar| (calendar, None));
        Self::with(self.list.clone(), self.receiving, self.merges_begun, calendar)
    }

    /// What is open of some ranks, or of all; `None` if there are no hours.
    pub(crate) fn open_among(
        &self,
        ranks: Option<&Spans>,
        now: Timestamp,
    ) -> Option<Result<Cow<'_, Spans>, Unsettled>> {
        let open = self.open.as_ref()?;
        let among = |spans| match ranks {
            None => Cow::Borrowed(spans),
            Some(ranks) => Cow::Owned(ranks.common(spans, self.receiving)),
        };
        Some(open.at(now).map(among).ok_or(Unsettled))
    }

    /// How many numbers are open at a time, and when that changes; `None` if there are no hours.
    pub(crate) fn open_at(&self, time: Timestamp) -> Option<(u64, Timestamp)> {
        self.open.as_ref().map(|open| open.open_at(time, self.receiving))
    }

    /// With another segment.
    pub(crate) fn with_segment(&self, segment: Arc<Segment>) -> Self {
        // A segment that receives keeps its place.
        let list = self.list.iter().cloned().chain([segment]).collect();
        Self::with(list, self.receiving, self.merges_begun, self.calendar())
    }

    /// With a segment that a merge moves numbers into.
    pub(crate) fn with_receiving(&self, segment: Arc<Segment>) -> Self {
        let receiving = Some(SegmentIndex(self.list.len() as u32));
        let list = self.list.iter().cloned().chain([segment]).collect();
        Self::with(list, receiving, self.merges_begun + 1, self.calendar())
    }

    /// After the merge: without the segments that the numbers came from.
    pub(crate) fn merged(&self, sources: &[SegmentId]) -> Self {
        let list = self.list.iter().filter(|segment| !sources.contains(&segment.id)).cloned().collect();
        Self::with(list, None, self.merges_begun, self.calendar())
    }

    /// Whether numbers can be added only once segments have been merged.
    pub(crate) fn are_too_many(&self) -> bool {
        let unmerged = self.list.iter().filter(|segment| segment.set.len() < MAX_MERGED_NUMBERS);
        self.list.len() >= MAX_SEGMENTS || unmerged.count() >= MAX_UNMERGED_SEGMENTS
    }

    /// The segment that a merge moves numbers into.
    pub(crate) fn receiving(&self) -> Option<&Arc<Segment>> {
        self.receiving.map(|index| self.get(index))
    }

    /// Whether a segment is not one that a merge moves numbers into.
    pub(crate) fn is_visible(&self, index: SegmentIndex) -> bool {
        self.receiving != Some(index)
    }

    /// The segments that together have each number once: all but the one that a merge moves numbers into.
    pub(crate) fn visible(&self) -> impl Iterator<Item = (SegmentIndex, &Arc<Segment>)> {
        let all = (0..).map(SegmentIndex).zip(&self.list);
        all.filter(|(index, _)| self.is_visible(*index))
    }

    /// Which segment a number is in, and its rank there. Its word may have moved from there.
    #[inline]
    pub(crate) fn locate(&self, number: Number, last: &mut LastRun) -> Option<(SegmentIndex, Rank)> {
        let mut candidates =
            self.lookup.iter().filter(|searched| (searched.first..=searched.last).contains(&number));
        candidates.find_map(|searched| {
            let rank = self.get(searched.index).set.rank_near(number, last)?;
            (rank < self.end(searched.index)).then_some((searched.index, rank))
        })
    }

    /// Where the ranks in use of a segment end.
    #[inline]
    pub(crate) fn end(&self, index: SegmentIndex) -> Rank {
        self.ends[index.0 as usize]
    }

    /// Some ranks of the segments.
    pub(crate) fn spans(&self, ranks: impl Iterator<Item = (SegmentIndex, Range<Rank>)>) -> Spans {
        Spans::new(ranks, self.receiving)
    }
}

impl Segments {
    /// The parts of a range that no segment has.
    pub(crate) fn missing(&self, range: NumberRange) -> Vec<NumberRange> {
        let mut existing: Vec<NumberRange> =
            self.visible().flat_map(|(_, segment)| segment.set.runs_in(range)).collect();
        existing.sort_unstable_by_key(|run| run.first());
        let mut missing = Vec::new();
        let mut next = range.first().get();
        let mut gap = |next: u64, end: u64| {
            if let (Ok(first), Ok(last)) = (Number::new(next), Number::new(end)) {
                missing.extend(NumberRange::new(first, last));
            }
        };
        for run in existing {
            if run.first().get() > next {
                gap(next, run.first().get() - 1);
            }
            next = next.max(run.last().get() + 1);
        }
        if next <= range.last().get() {
            gap(next, range.last().get());
        }
        missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_and_places_in_spans() {
        let span = |segment, ranks: Range<u32>| (SegmentIndex(segment), Rank(ranks.start)..Rank(ranks.end));
        let within =
            Spans::new([span(0, 5..8), span(0, 9..9), span(2, 0..2), span(2, 10..11)].into_iter(), None);
        assert_eq!((within.numbers(), within.positions()), (6, 6));
        let all: Vec<_> =
            (0..6).map(|position| within.at(position)).map(|(span, rank)| (span, rank.0)).collect();
        assert_eq!(all, [(0, 5), (0, 6), (0, 7), (1, 0), (1, 1), (2, 10)]);
        for (place, found) in [
            ((0, 0), (0, 5)),
            ((0, 7), (0, 7)),
            ((0, 8), (1, 0)),
            ((1, 3), (1, 0)),
            ((2, 1), (1, 1)),
            ((2, 2), (2, 10)),
            ((2, 11), (0, 5)),
            ((9, 9), (0, 5)),
        ] {
            assert_eq!(
                within.from(SegmentIndex(place.0), Rank(place.1)),
                (found.0, Rank(found.1)),
                "{place:?}"
            );
        }
    }
}
