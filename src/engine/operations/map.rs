//! A map of a pool: how many numbers are in each state, in equal buckets of the number space.

use std::ops::Range;

use crate::coordinates::{self, Rank};
use crate::domain::counts::Counts;
use crate::engine::pool::Pool;
use crate::engine::segment::{Segment, Segments};
use crate::numbers::number::{Number, NumberRange};
use crate::state::block::BlockIndex;
use crate::state::number_state::State;
use crate::state::word::Word;

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
        let (now, on_expiry) = (self.shared.clock.now(), self.on_expiry());
        let seen = &|word: Word| word.seen(now, on_expiry).state();
        let bucket = |index: u64| {
            let begin = Number::new(first.get() + index * bucket_width).ok()?;
            let end = Number::new((begin.get() + bucket_width - 1).min(last.get())).ok()?;
            let bucket = NumberRange::new(begin, end).ok()?;
            let mut counts = Counts::default();
            let from = ranges.partition_point(|range| range.last() < begin);
            for range in ranges[from..].iter().map_while(|range| range.intersection(bucket)) {
                for segment in &segments.list {
                    count_ranks(segment, segment.set.rank_range(range), seen, &mut counts);
                }
            }
            Some(counts)
        };
        let buckets = (0..buckets).map(bucket).collect::<Option<_>>()?;
        Some(Map { span, bucket_width, buckets })
    }
}

/// Adds the counts of some ranks of a segment; `seen` returns the state that a word is seen in.
fn count_ranks(segment: &Segment, ranks: Range<Rank>, seen: &impl Fn(Word) -> State, counts: &mut Counts) {
    let len = segment.state.free.len();
    let mut rank = ranks.start;
    while rank < ranks.end {
        let block = BlockIndex::of(rank).ranks(len);
        let of_block = segment.state.blocks.of_block(&block);
        let end = block.end.min(ranks.end);
        let (part, words) = (coordinates::count(&(rank..end)), coordinates::count(&block));
        if part == words {
            counts.add_block(of_block);
        } else if of_block.contains(&words) {
            // The whole block is in one state.
            counts.add_block(of_block.map(|count| if count == words { part } else { 0 }));
        } else {
            coordinates::each(&(rank..end)).for_each(|rank| counts.add(seen(segment.state.words.get(rank))));
        }
        rank = end;
    }
}

/// The lowest and the highest number of the ranges.
fn bounds(segments: &Segments, ranges: &[NumberRange]) -> Option<(Number, Number)> {
    let ends = segments.list.iter().flat_map(|segment| {
        ranges.iter().filter_map(|range| {
            let ranks = segment.set.rank_range(*range);
            let last = ranks.end.0.checked_sub(1).map(Rank).filter(|last| *last >= ranks.start)?;
            Some((segment.set.select(ranks.start)?, segment.set.select(last)?))
        })
    });
    ends.reduce(|(first, last), (other_first, other_last)| (first.min(other_first), last.max(other_last)))
}
