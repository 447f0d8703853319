//! The directory of a number set: where each container lies and at which rank it starts.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::sys::prefetch::prefetch;

use super::container::{BITMAP_SAMPLES, run_samples};

/// Set in [`Entry::samples`] once the samples are filled.
pub(super) const SAMPLES_READY: u32 = 1 << 31;

/// How a container is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Array,
    Bitmap,
    Runs,
}

/// One container: 24 bytes, so that a lookup touches one cache line of the directory.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Key (upper 34 bits of 50), then the count of runs (16 bits).
    key_and_runs: u64,
    /// Offset of the body, then two bits of the kind.
    offset_and_kind: u64,
    /// Rank of its first number.
    pub(crate) first_rank: u32,
    /// Index of its first sample, and [`SAMPLES_READY`].
    samples: AtomicU32,
}

impl Entry {
    /// `samples` is the index of its first sample, with [`SAMPLES_READY`] if it needs none.
    pub(super) fn new(
        (key, runs): (u64, u16),
        (offset, kind): (u64, Kind),
        first_rank: u32,
        samples: u32,
    ) -> Self {
        Self {
            key_and_runs: key << 16 | u64::from(runs),
            offset_and_kind: offset << 2 | kind as u64,
            first_rank,
            samples: AtomicU32::new(samples),
        }
    }

    /// The upper bits of its numbers: a number shifted right by 16.
    pub(crate) fn key(&self) -> u64 {
        self.key_and_runs >> 16
    }

    pub(crate) fn run_count(&self) -> usize {
        (self.key_and_runs & 0xFFFF) as usize
    }

    /// Byte offset of its values, bits or runs.
    pub(crate) fn offset(&self) -> usize {
        (self.offset_and_kind >> 2) as usize
    }

    pub(crate) fn kind(&self) -> Kind {
        match self.offset_and_kind & 3 {
            0 => Kind::Array,
            1 => Kind::Bitmap,
            _ => Kind::Runs,
        }
    }

    /// Index and count of its samples.
    pub(crate) fn sample_place(&self) -> (usize, usize) {
        let first = (self.samples.load(Ordering::Relaxed) & !SAMPLES_READY) as usize;
        match self.kind() {
            Kind::Array => (0, 0),
            Kind::Bitmap => (first, BITMAP_SAMPLES),
            Kind::Runs => (first, run_samples(self.run_count())),
        }
    }

    /// Whether the samples may be read. Acquire pairs with the release below: a thread that sees the flag
    /// sees the samples.
    pub(crate) fn samples_ready(&self) -> bool {
        self.samples.load(Ordering::Acquire) & SAMPLES_READY != 0
    }

    /// Marks the samples as filled.
    pub(crate) fn set_samples_ready(&self) {
        self.samples.fetch_or(SAMPLES_READY, Ordering::Release);
    }
}

/// The containers of a set in ascending order.
#[derive(Debug)]
pub(crate) struct Directory {
    /// One per container, and a last one that only holds the rank after all others.
    entries: Vec<Entry>,
    by_key: TopTable,
    by_rank: TopTable,
    /// Samples of all containers together.
    pub(crate) samples_len: usize,
}

impl Directory {
    /// The directory of containers that have `total` numbers and `samples` samples.
    pub(super) fn new(mut entries: Vec<Entry>, total: u64, samples: u64) -> Directory {
        let containers = entries.len();
        entries.push(Entry {
            key_and_runs: u64::MAX,
            offset_and_kind: 0,
            first_rank: total as u32,
            samples: AtomicU32::new(0),
        });
        entries.shrink_to_fit();
        let max_slots = max_slots(containers);
        let first_key = entries[0].key();
        let last_key = entries[containers.saturating_sub(1)].key();
        let mut index = 0;
        let by_key = TopTable::new(last_key - first_key, max_slots, |start| {
            while index < containers && entries[index].key() - first_key < start {
                index += 1;
            }
            index
        });
        let mut index = 0;
        let by_rank = TopTable::new(total, max_slots, |start| {
            while index + 1 < containers && u64::from(entries[index + 1].first_rank) <= start {
                index += 1;
            }
            index
        });
        Directory { entries, by_key, by_rank, samples_len: samples as usize }
    }

    /// Bytes of memory that it uses.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>()
            + (self.by_key.slots.capacity() + self.by_rank.slots.capacity()) * size_of::<u32>()
    }

    /// The count of numbers in the set.
    pub(crate) fn len(&self) -> u32 {
        self.entries.last().map_or(0, |end| end.first_rank)
    }

    pub(crate) fn containers(&self) -> &[Entry] {
        &self.entries[..self.entries.len() - 1]
    }

    /// A container and how many numbers it holds.
    #[inline]
    pub(crate) fn container(&self, index: usize) -> Option<(&Entry, u32)> {
        let next = self.entries.get(index + 1)?;
        let entry = &self.entries[index];
        Some((entry, next.first_rank - entry.first_rank))
    }

    /// The container that holds `rank`, which is below [`Directory::len`].
    #[inline]
    pub(crate) fn by_rank(&self, rank: u32) -> usize {
        let (from, to) = self.by_rank.bounds(u64::from(rank)).unwrap_or((0, self.entries.len() - 1));
        // Mostly the first one: that is a predicted branch, where a search waits for its loads.
        if self.entries.get(from + 1).is_some_and(|next| rank < next.first_rank) {
            return from;
        }
        from + self.entries[from + 1..=to].partition_point(|entry| entry.first_rank <= rank)
    }

    /// Prefetches the entry of the first container that may hold `rank`.
    #[inline]
    pub(crate) fn prefetch(&self, rank: u32) {
        if let Some((from, _)) = self.by_rank.bounds(u64::from(rank)) {
            prefetch(&self.entries[from]);
        }
    }

    /// The container with `key`, or else the one that would follow it.
    #[inline]
    pub(crate) fn by_key(&self, key: u64) -> Result<usize, usize> {
        let containers = self.containers();
        let Some(from_first) = containers.first().and_then(|first| key.checked_sub(first.key())) else {
            return Err(0);
        };
        let Some((from, to)) = self.by_key.bounds(from_first) else { return Err(containers.len()) };
        if containers.get(from).is_some_and(|entry| entry.key() == key) {
            return Ok(from);
        }
        let index = from + containers[from..to].partition_point(|entry| entry.key() < key);
        if containers.get(index).is_some_and(|entry| entry.key() == key) { Ok(index) } else { Err(index) }
    }
}

/// For each equal slice of a coordinate, the first container that matters to it. It narrows a search to few
/// containers, to one or two if they are dense.
#[derive(Debug)]
struct TopTable {
    shift: u32,
    slots: Vec<u32>,
}

impl TopTable {
    /// A table of at most `max_slots` slices over 0 to `last`. `first_of(start)` returns the first container
    /// that matters to a slice that starts at `start`. It never decreases.
    fn new(last: u64, max_slots: u64, mut first_of: impl FnMut(u64) -> usize) -> TopTable {
        let shift = (0..63).find(|shift| last >> shift < max_slots).unwrap_or(63);
        let slots = (0..=(last >> shift) + 1).map(|slot| first_of(slot << shift) as u32).collect();
        TopTable { shift, slots }
    }

    /// The containers between which a coordinate lies. `None` if it is after all of them.
    #[inline]
    fn bounds(&self, coordinate: u64) -> Option<(usize, usize)> {
        let slot = (coordinate >> self.shift) as usize;
        Some((*self.slots.get(slot)? as usize, *self.slots.get(slot + 1)? as usize))
    }
}

/// Most slots of a table over `containers` containers: generous for few containers, else half as many as
/// there are containers, which keeps a directory below 32 bytes per container.
fn max_slots(containers: usize) -> u64 {
    (containers as u64 * 4).min(1 << 17).max(containers as u64 / 2).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_24_bytes() {
        assert_eq!(size_of::<Entry>(), 24);
    }

    #[test]
    fn a_table_bounds_every_coordinate() {
        let starts = [0_u64, 5, 6, 900, 4000];
        for max_slots in [1, 2, 16, 5000] {
            let table = TopTable::new(4000, max_slots, |start| starts.partition_point(|s| *s < start));
            for coordinate in 0..=4000 {
                let (from, to) = table.bounds(coordinate).unwrap();
                let expected = starts.partition_point(|s| *s < coordinate);
                assert!((from..=to).contains(&expected), "{max_slots} {coordinate}");
            }
        }
    }
}
