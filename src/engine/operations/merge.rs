//! Merging segments, so that a pool has few of them however its numbers were added.
//!
//! Segments have levels by their size, each four times as large as the one below. When a level has four, or a
//! high level two, a sorted segment is made of their numbers, and their words are moved to it one by one
//! (see [`crate::engine::segment::merging`]). The manifest names the new segment, and what it merges, before
//! the first word moves. Once the last has moved, the new segment is written to its table, and the manifest
//! drops the others. A start that finds a merge in the manifest completes it.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::coordinates::{self, Rank, SegmentId};
use crate::disk::paced::Pacer;
use crate::domain::counts::Counts;
use crate::engine::pool::Pool;
use crate::engine::segment::moving::Moved;
use crate::engine::segment::opened_files::OpenedSegment;
use crate::engine::segment::{MAX_MERGED_NUMBERS, Segment, Segments};
use crate::engine::shared::MERGER_SLOT;
use crate::numbers::number::NumberRange;
use crate::state::number_state::State;
use crate::store::manifest::SegmentEntry;
use crate::store::pool_dir::SegmentPaths;
use crate::store::segment_writer::{make_segment, write_ranges};
use crate::store::staging::Staging;
use crate::sys::slot::Slot;
use crate::sys::sync::thread;

use super::grow::STAGED;
use super::import_error::ImportError;

/// Segments of a level that are merged.
const MERGED_SEGMENTS: usize = 4;
/// From this level on two are merged: most numbers are then in the one or two largest segments, which lookups try
/// first.
const HIGH_LEVEL: u32 = 3;
/// Segments of a high level that are merged.
const MERGED_LARGE_SEGMENTS: usize = 2;
/// Most segments of one merge.
const MAX_SOURCES: usize = 64;
/// How long a thread waits for another that is about to change a word.
const LATER_PAUSE: Duration = Duration::from_micros(50);

/// How fast a merge works.
pub(crate) struct Pace<'a> {
    /// Called after each word. Returns whether to go on.
    pub(crate) after_word: &'a dyn Fn() -> bool,
    /// Called after each part that is written.
    pub(crate) after_part: &'a Pacer<'a>,
}

/// The level of a segment: 0 up to four times the room of a segment that grows, then one more for each
/// fourfold.
fn level(numbers: u32, growing_numbers: u32) -> u32 {
    (numbers / growing_numbers).max(1).ilog2() / 2
}

/// All numbers of some segments in ascending order.
fn all_runs(segments: &[Arc<Segment>]) -> impl Iterator<Item = NumberRange> {
    let mut sources: Vec<_> = segments.iter().map(|segment| segment.set.runs()).collect();
    let next = |source: &mut Box<dyn Iterator<Item = NumberRange> + '_>, index| {
        source.next().map(|run| Reverse((run.first(), run.last(), index)))
    };
    let mut heads: BinaryHeap<_> =
        sources.iter_mut().enumerate().filter_map(|(index, source)| next(source, index)).collect();
    std::iter::from_fn(move || {
        let Reverse((first, last, index)) = heads.pop()?;
        heads.extend(next(&mut sources[index], index));
        NumberRange::new(first, last).ok()
    })
}

impl Pool {
    /// Merges segments now, up to `words` words, instead of when the merger comes to it.
    pub fn merge_now(&self, words: u64) -> Result<(), ImportError> {
        let left = Cell::new(words);
        let after_word = || {
            left.set(left.get().saturating_sub(1));
            left.get() > 0
        };
        self.merge(MERGER_SLOT, &Pace { after_word: &after_word, after_part: &|_| () })
    }

    /// Merges what there is to merge, until there is nothing or the pace says stop. `slot` is only used by
    /// merges: one thread at a time uses it.
    pub(crate) fn merge(&self, slot: Slot, pace: &Pace<'_>) -> Result<(), ImportError> {
        let _one_on_the_slot = self.shared.merging.lock().unwrap_or_else(PoisonError::into_inner);
        let _one_at_a_time = self.growth.merging();
        if self.growth.has_recovered_merge() {
            self.end_recovered_merges(slot, pace)?;
        }
        loop {
            let segments = self.segments.load_full();
            let target = match segments.receiving() {
                Some(target) => Arc::clone(target),
                None => match self.to_merge(&segments) {
                    sources if sources.is_empty() => return Ok(()),
                    sources => self.begin_merge(&sources)?,
                },
            };
            let sources = target.merging.sources();
            for source in &sources {
                source.begin_merge(&target);
                if !self.move_all(source, slot, pace) {
                    return Ok(());
                }
            }
            target.merging.set_complete();
            self.end_merge(&target, &sources, slot, pace)?;
        }
    }

    /// The segments to merge next; none if no level has enough.
    fn to_merge(&self, segments: &Segments) -> Vec<Arc<Segment>> {
        if segments.list.len() < MERGED_LARGE_SEGMENTS {
            return Vec::new();
        }
        let active = self.growth.active();
        let active = active.as_ref().filter(|segment| segment.room() > 0).map(|segment| segment.id);
        let is_small =
            |segment: &&Arc<Segment>| Some(segment.id) != active && segment.set.len() < MAX_MERGED_NUMBERS;
        let level = |numbers| level(numbers, self.shared.growing_numbers);
        for wanted in 0..=level(MAX_MERGED_NUMBERS) {
            let of_level = segments.list.iter().filter(is_small).filter(|s| level(s.set.len()) == wanted);
            let of_level: Vec<_> = of_level.take(MAX_SOURCES).cloned().collect();
            let enough = if wanted < HIGH_LEVEL { MERGED_SEGMENTS } else { MERGED_LARGE_SEGMENTS };
            if of_level.len() >= enough {
                return of_level;
            }
        }
        Vec::new()
    }

    /// Makes the segment that takes over the numbers of `sources`.
    fn begin_merge(&self, sources: &[Arc<Segment>]) -> Result<Arc<Segment>, ImportError> {
        let disk = &*self.shared.disk;
        let staging = Staging::new(&self.shared.disk, &self.shared.staging_dir)?;
        let entry =
            make_segment(disk, staging.path(), STAGED, |path| write_ranges(disk, path, all_runs(sources)))?;
        let mut merges: Vec<_> = sources.iter().map(|segment| segment.id).collect();
        merges.sort_unstable();
        let entry = SegmentEntry { merges, ..entry };
        let weak = sources.iter().map(Arc::downgrade).collect();
        let activate = |raw: OpenedSegment| raw.activate_for_merge(self.shared.slots, weak);
        let add = |segments: &Segments, segment: &Arc<Segment>| segments.with_receiving(Arc::clone(segment));
        self.publish(&staging, &entry, activate, add)
    }

    /// Moves all words of a segment. Returns whether it was not stopped.
    fn move_all(&self, source: &Segment, slot: Slot, pace: &Pace<'_>) -> bool {
        let mut later = Vec::new();
        for rank in coordinates::each(&source.ranks()) {
            if self.move_word(source, rank, slot) == Moved::Later {
                later.push(rank);
            }
            if !(pace.after_word)() {
                return false;
            }
        }
        while !later.is_empty() {
            thread::sleep(LATER_PAUSE);
            if !(pace.after_word)() {
                return false;
            }
            later.retain(|rank| self.move_word(source, *rank, slot) == Moved::Later);
        }
        true
    }

    fn move_word(&self, source: &Segment, rank: Rank, slot: Slot) -> Moved {
        let _changing = self.shared.journal.change(slot);
        let moved = source.move_word(rank, slot);
        if let (Moved::Done(Some((place, word))), Some(target)) = (moved, source.merging.target())
            && word.state() == State::Done
        {
            // The thread that marked it done may have looked at the word in the source, after it had moved.
            self.catch_up_with_round(target, slot, place);
        }
        moved
    }

    /// Moves the words of some ranks. For the checkpoint, which must not leave one behind.
    pub(crate) fn move_ranks(&self, source: &Segment, ranks: &std::ops::Range<Rank>, slot: Slot) {
        let in_use = ranks.start..ranks.end.min(source.ranks().end);
        for rank in coordinates::each(&in_use) {
            while self.move_word(source, rank, slot) == Moved::Later {
                thread::sleep(LATER_PAUSE);
            }
        }
    }

    /// Makes a merged segment durable and drops those whose words it has.
    fn end_merge(
        &self,
        target: &Segment,
        sources: &[Arc<Segment>],
        slot: Slot,
        pace: &Pace<'_>,
    ) -> Result<(), ImportError> {
        target.checkpoint(pace.after_part, &|source, ranks| self.move_ranks(source, &ranks, slot))?;
        let manifest = self.manifest();
        let merge = manifest.merges().find(|(into, _)| *into == target.id);
        let merged = merge.map_or(&[][..], |(_, merged)| merged);
        self.change_manifest(
            |manifest| {
                manifest.end_merge(target.id);
                Ok::<_, ImportError>(())
            },
            // Under the manifest's lock: the directory belongs to this pool as long as it is not deleted.
            |_| self.drop_merged(merged),
        )?;
        // Numbers that damage has taken do not come along.
        let lost = sources.iter().flat_map(|source| {
            coordinates::each(&source.ranks()).filter(|rank| source.set.select(*rank).is_none())
        });
        let lost = (lost.count() as u64).wrapping_neg();
        self.counters.found(slot, Counts { numbers: lost, retired: lost, ..Counts::default() });
        Ok(())
    }

    /// Drops segments that the manifest does not name any more, and their files.
    fn drop_merged(&self, merged: &[SegmentId]) {
        if let Some(events) = &self.shared.events {
            let segments = self.segments.load();
            let removed = segments.list.iter().filter(|segment| merged.contains(&segment.id));
            let removed: Vec<_> = removed.cloned().collect();
            events.keep_removed(&self.shared.journal, self.id, &removed);
        }
        self.segments.rcu(|segments| segments.merged(merged));
        self.growth.removed(merged, self.shared.journal.checkpoints());
        for id in merged {
            let [sorted, growing] =
                [SegmentPaths::new(&self.dir, *id), SegmentPaths::growing(&self.dir, *id)];
            for path in sorted.all().into_iter().chain([&growing.set]).chain(sorted.of_holders()) {
                // The next start removes what cannot be removed now.
                let _ = self.shared.disk.remove_file(path);
            }
        }
    }

    /// Ends merges that a start has completed in memory.
    fn end_recovered_merges(&self, slot: Slot, pace: &Pace<'_>) -> Result<(), ImportError> {
        let merges: Vec<_> = self.manifest().merges().map(|(target, _)| target).collect();
        for target in merges {
            let segments = self.segments.load();
            if let Some(target) = segments.list.iter().find(|segment| segment.id == target) {
                self.end_merge(target, &[], slot, pace)?;
            }
        }
        self.growth.forget_recovered_merge();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_segments_of_a_level_make_one_of_the_next() {
        for (numbers, expected) in [(1, 0), (1_024, 0), (4_095, 0), (4_096, 1), (16_384, 2), (1 << 20, 5)] {
            assert_eq!(level(numbers, 1_024), expected, "{numbers}");
        }
    }
}
