//! A map of a pool: how many numbers are in each state, in equal buckets of the number space.

use std::ops::Range;

use crate::coordinates::{self, Rank};
use crate::domain::counts::Counts;
use crate::engine::pool::Pool;
use crate::engine::segment::spans::{SegmentIndex, Spans};
use crate::engine::segment::{Segment, Segments};
use crate::numbers::number::{Number, NumberRange};
use crate::numbers::set::run::LastRun;
use crate::state::block::BlockIndex;
use crate::state::number_state::State;
use crate::state::time::Timestamp;

/// Maximum buckets of one map. Each end of a bucket reads up to one block of words, so this bounds the cost
/// of a map regardless of the size of the pool.
pub const MAX_MAP_BUCKETS: u32 = 4_096;
/// Default number of buckets of a map.
pub const DEFAULT_MAP_BUCKETS: u32 = 1_024;

/// How many numbers are in each state, per bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Map {
    /// The lowest and the highest number of the pool (or of the ranges).
    pub span: NumberRange,
    /// The width of each bucket in the number space; the last one may extend beyond the span.
    pub bucket_width: u64,
    /// The counts of each bucket, in order: bucket `i` begins at the lowest number + `i * bucket_width`.
    /// At most as many as requested; fewer if the span is narrow.
    pub buckets: Vec<Counts>,
}

impl Pool {
    /// The map of the numbers in `ranges` (the whole pool if not given) in up to `buckets` buckets, 1 to
    /// [`MAX_MAP_BUCKETS`]; `None` if there are no numbers. Reads no word of a block within one bucket.
    pub fn map(&self, ranges: Option<&[NumberRange]>, buckets: u32) -> Option<Map> {
        let segments = self.segments.load();
        let ranges = NumberRange::disjoint(ranges.map_or_else(|| vec![NumberRange::ALL], <[_]>::to_vec));
        let (first, last) = bounds(&segments, &ranges)?;
        let span = NumberRange::new(first, last).ok()?;
        let bucket_width = span.len().div_ceil(u64::from(buckets.clamp(1, MAX_MAP_BUCKETS)));
        let buckets = span.len().div_ceil(bucket_width);
        let (now, rules) = (self.shared.clock.now(), self.end_rules());
        let shown = &|segment: &Segment, rank| segment.shown(rank, segment.word(rank).seen(now, rules));
        let closed = ClosedRanks::new(&segments, now);
        // Decided once: a merge may begin at any moment.
        let (counted, others): (Vec<_>, Vec<_>) =
            segments.visible().partition(|(_, segment)| has_block_counts(segment));
        let bucket = |index: u64| {
            let begin = Number::new(first.get() + index * bucket_width).ok()?;
            let end = Number::new((begin.get() + bucket_width - 1).min(last.get())).ok()?;
            let bucket = NumberRange::new(begin, end).ok()?;
            let mut counts = Counts::default();
            let from = ranges.partition_point(|range| range.last() < begin);
            for range in ranges[from..].iter().map_while(|range| range.intersection(bucket)) {
                for (index, segment) in &counted {
                    for ranks in segment.set.rank_ranges(range) {
                        count_ranks(segment, ranks.clone(), shown, &mut counts);
                        counts.close(closed.count_in(*index, segment, ranks));
                    }
                }
            }
            Some(counts)
        };
        let mut buckets = (0..buckets).map(bucket).collect::<Option<Vec<_>>>()?;
        for (index, segment) in others {
            for (number, rank) in numbers_in(segment, &ranges) {
                let bucket = (number.get() - first.get()) / bucket_width;
                if let Some(bucket) = buckets.get_mut(bucket as usize) {
                    let state = shown(segment, rank);
                    bucket.add(state);
                    let is_closed = state == State::Available && closed.contains(index, rank);
                    bucket.close(u64::from(is_closed));
                }
            }
        }
        Some(Map { span, bucket_width, buckets })
    }
}

/// The ranks that the hours of a pool close at present.
struct ClosedRanks<'a> {
    has_hours: bool,
    /// What is open; `None` while that is worked out, when nothing is.
    open: Option<&'a Spans>,
}

impl<'a> ClosedRanks<'a> {
    fn new(segments: &'a Segments, now: Timestamp) -> Self {
        let open = segments.open.as_ref().and_then(|open| open.at(now));
        Self { has_hours: segments.open.is_some(), open }
    }

    /// How many of some ranks are free, but closed.
    fn count_in(&self, index: SegmentIndex, segment: &Segment, ranks: Range<Rank>) -> u64 {
        if !self.has_hours {
            return 0;
        }
        let free = |ranks: Range<Rank>| segment.state.free.count_in(&ranks);
        let open = self.open.map_or(0, |open| open.inside(index, ranks.clone()).map(free).sum());
        free(ranks).saturating_sub(open)
    }

    fn contains(&self, index: SegmentIndex, rank: Rank) -> bool {
        let ranks = || rank..Rank(rank.0 + 1);
        self.has_hours && self.open.is_none_or(|open| open.inside(index, ranks()).next().is_none())
    }
}

/// Whether the ranks of a block are neighbors among the segment's numbers, and its words are all here.
fn has_block_counts(segment: &Segment) -> bool {
    segment.set.as_sorted().is_some() && segment.merging.target().is_none()
}

/// The numbers of a segment in the ranges, and their ranks.
fn numbers_in(segment: &Segment, ranges: &[NumberRange]) -> impl Iterator<Item = (Number, Rank)> {
    let mut last = LastRun::default();
    ranges
        .iter()
        .flat_map(|range| segment.set.rank_ranges(*range))
        .flat_map(|ranks| coordinates::each(&ranks))
        .filter_map(move |rank| Some((segment.set.select_near(rank, &mut last)?, rank)))
}

/// Adds the counts of some ranks of a segment; `shown` returns the state that a number is shown in.
fn count_ranks(
    segment: &Segment,
    ranks: Range<Rank>,
    shown: &impl Fn(&Segment, Rank) -> State,
    counts: &mut Counts,
) {
    let len = segment.state.free.len();
    let mut rank = ranks.start;
    while rank < ranks.end {
        let block = BlockIndex::of(rank).ranks(len);
        let of_block = segment.state.blocks.of_block(&block);
        let end = block.end.min(ranks.end);
        let (part, words) = (coordinates::count(&(rank..end)), coordinates::count(&block));
        let blocked = u64::from(segment.state.free.blocked().parked_in(&(rank..end)));
        if part == words {
            counts.add_block(of_block, blocked);
        } else if of_block.contains(&words) {
            // All words of the block are in one state.
            counts.add_block(of_block.map(|count| if count == words { part } else { 0 }), blocked);
        } else {
            coordinates::each(&(rank..end)).for_each(|rank| counts.add(shown(segment, rank)));
        }
        rank = end;
    }
}

/// The lowest and the highest number of the ranges.
fn bounds(segments: &Segments, ranges: &[NumberRange]) -> Option<(Number, Number)> {
    let in_sorted = |segment: &Segment| {
        let ranks = ranges.iter().flat_map(|range| segment.set.rank_ranges(*range));
        let ends = |ranks: Range<Rank>| {
            Some((segment.set.select(ranks.start)?, segment.set.select(Rank(ranks.end.0 - 1))?))
        };
        ranks.filter_map(ends).collect::<Vec<_>>()
    };
    let ends = segments.visible().flat_map(|(_, segment)| match segment.set.as_sorted() {
        Some(_) => in_sorted(segment),
        None => numbers_in(segment, ranges).map(|(number, _)| (number, number)).collect(),
    });
    ends.reduce(|(first, last), (other_first, other_last)| (first.min(other_first), last.max(other_last)))
}
