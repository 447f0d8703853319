//! A map of a pool: how many numbers are in each state, over the space of its numbers.

use std::ops::Range;

use crate::domain::counts::Counts;
use crate::engine::pool::Pool;
use crate::engine::segment::{Segment, Segments};
use crate::numbers::number::{Number, NumberRange, Rank};
use crate::state::due_hints::BLOCK_WORDS;
use crate::state::word::{State, Word};

/// Most buckets of one map. Up to a block of words is looked at for each end of a bucket: with so many
/// a map costs at most about 4 million words, however large the pool is.
pub const MAX_MAP_BUCKETS: u32 = 4_096;
/// Buckets of a map unless told otherwise.
pub const DEFAULT_MAP_BUCKETS: u32 = 1_024;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Map {
    /// The lowest number of the pool (or of the ranges) and the highest.
    pub span: NumberRange,
    /// How many numbers of the number space each bucket spans; the last one may reach beyond the span.
    pub bucket_width: u64,
    /// The counts of each bucket, in order: bucket `i` begins at the lowest number + `i * bucket_width`.
    /// As many as asked for, or fewer where the span is narrower.
    pub buckets: Vec<Counts>,
}

impl Pool {
    /// The map of the numbers in `ranges` (the whole pool if not given) in up to `buckets` buckets, 1 to
    /// [`MAX_MAP_BUCKETS`]; `None` if there are none. Of blocks that lie in one bucket no word is looked at.
    pub fn map(&self, ranges: Option<&[NumberRange]>, buckets: u32) -> Option<Map> {
        let segments = self.segments.load();
        let ranges = NumberRange::disjoint(ranges.map_or_else(|| vec![NumberRange::ALL], <[_]>::to_vec));
        let (first, last) = bounds(&segments, &ranges)?;
        let span = NumberRange::new(first, last).ok()?;
        let bucket_width = span.len().div_ceil(u64::from(buckets.clamp(1, MAX_MAP_BUCKETS)));
        let buckets = span.len().div_ceil(bucket_width);
        let (now, on_expiry, round) = (self.shared.clock.now(), self.on_expiry(), self.round());
        let seen = &|word: Word| word.seen(now, on_expiry, round).state();
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

/// Adds the counts of some ranks of a segment; `seen` tells what a word is seen as.
fn count_ranks(segment: &Segment, ranks: Range<u32>, seen: &impl Fn(Word) -> State, counts: &mut Counts) {
    let len = segment.ranks.free.len();
    let mut rank = ranks.start;
    while rank < ranks.end {
        let block = rank - rank % BLOCK_WORDS..(rank - rank % BLOCK_WORDS + BLOCK_WORDS).min(len);
        let of_block = segment.ranks.blocks.of_block(&block);
        let end = block.end.min(ranks.end);
        let (part, words) = (end - rank, block.end - block.start);
        if part == words {
            counts.add_block(of_block);
        } else if of_block.contains(&words) {
            // All are in one state.
            counts.add_block(of_block.map(|count| if count == words { part } else { 0 }));
        } else {
            (rank..end).for_each(|rank| counts.add(seen(segment.ranks.words.get(rank))));
        }
        rank = end;
    }
}

/// The lowest and the highest number of the ranges.
fn bounds(segments: &Segments, ranges: &[NumberRange]) -> Option<(Number, Number)> {
    let ends = segments.list.iter().flat_map(|segment| {
        ranges.iter().filter_map(|range| {
            let ranks = segment.set.rank_range(*range);
            let last = ranks.end.checked_sub(1).filter(|last| *last >= ranks.start)?;
            Some((segment.set.select(Rank(ranks.start))?, segment.set.select(Rank(last))?))
        })
    });
    ends.reduce(|(first, last), (other_first, other_last)| (first.min(other_first), last.max(other_last)))
}
