//! The directory of a number set: where each container lies and at which rank it starts.
//!
//! Built at open from the headers alone. In the portable format (`RoaringFormatSpec`) a 64-bit set is
//!
//! | bytes | meaning |
//! | --- | --- |
//! | 8 | count of buckets |
//! | 4, then a 32-bit set, for each bucket | the upper 32 bits of its numbers, ascending |
//!
//! and a 32-bit set is
//!
//! | bytes | meaning |
//! | --- | --- |
//! | 4 | 12346, or in the lower half 12347 and in the upper the count of containers - 1 |
//! | 4 | count of containers, after 12346 only |
//! | one bit per container, in whole bytes | which are runs, after 12347 only |
//! | 4 for each container | key (the next 16 bits of its numbers, ascending), cardinality - 1 |
//! | 4 for each container | offset of its bytes from the start of this set; left out after 12347 if there are fewer than 4 |
//! | | the containers: values, or 8192 bytes of bits, or the count of runs and the runs |

use std::sync::atomic::{AtomicU32, Ordering};

use crate::numbers::number::{MAX_SET_NUMBERS, Number};
use crate::sys::prefetch::prefetch;

use super::container::{BITMAP_BYTES, BITMAP_SAMPLES, MAX_ARRAY_VALUES, run_samples};
use super::error::{Format, SetError};

const COOKIE_NO_RUNS: u32 = 12346;
const COOKIE_RUNS: u16 = 12347;
/// After [`COOKIE_RUNS`] fewer containers than this have no offsets.
const MIN_CONTAINERS_WITH_OFFSETS: usize = 4;
const MAX_CONTAINERS_PER_BUCKET: usize = 1 << 16;
/// The highest container that may hold a number.
const MAX_KEY: u64 = Number::MAX.get() >> 16;
/// Set in [`Entry::samples`] once the samples are filled.
const SAMPLES_READY: u32 = 1 << 31;
/// Longest file: an entry holds 40 bits of the offset.
const MAX_FILE_BYTES: u64 = 1 << 40;

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
    /// Reads the headers of `bytes` and checks that they describe all of it, to the last byte.
    pub(crate) fn read(bytes: &[u8], format: Format) -> Result<Directory, SetError> {
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err(SetError::TooLarge { offset: MAX_FILE_BYTES });
        }
        let mut builder =
            Builder { input: Input { bytes, at: 0 }, entries: Vec::new(), total: 0, samples: 0 };
        match format {
            Format::Portable32 => builder.read_bucket(0)?,
            Format::Portable64 => builder.read_buckets()?,
        }
        let end = builder.input.at;
        if end != bytes.len() {
            return Err(SetError::TrailingBytes { offset: end as u64 });
        }
        Ok(builder.finish())
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

struct Builder<'a> {
    input: Input<'a>,
    entries: Vec<Entry>,
    total: u64,
    samples: u64,
}

impl Builder<'_> {
    fn read_buckets(&mut self) -> Result<(), SetError> {
        let count = u64::from_le_bytes(self.input.array()?);
        let mut lowest_allowed = 0;
        for _ in 0..count {
            let offset = self.input.at as u64;
            let key = u32::from_le_bytes(self.input.array()?);
            if u64::from(key) < lowest_allowed {
                return Err(SetError::KeyOrder { offset });
            }
            lowest_allowed = u64::from(key) + 1;
            self.read_bucket(key)?;
        }
        Ok(())
    }

    /// Reads a 32-bit set: its header, then as much of its containers as their lengths need.
    fn read_bucket(&mut self, high: u32) -> Result<(), SetError> {
        let start = self.input.at;
        let header = BucketHeader::read(&mut self.input)?;
        self.entries.reserve(header.descriptors.len());
        let mut lowest_allowed = 0;
        for (index, descriptor) in header.descriptors.iter().enumerate() {
            let offset = (header.descriptors_at + index * 4) as u64;
            let key = u16::from_le_bytes([descriptor[0], descriptor[1]]);
            let cardinality = u32::from(u16::from_le_bytes([descriptor[2], descriptor[3]])) + 1;
            if u32::from(key) < lowest_allowed {
                return Err(SetError::KeyOrder { offset });
            }
            lowest_allowed = u32::from(key) + 1;
            let key = u64::from(high) << 16 | u64::from(key);
            if key > MAX_KEY {
                return Err(SetError::NumberTooHigh { offset });
            }
            if let Some(stated) = header.offsets.get(index)
                && u32::from_le_bytes(*stated) as usize != self.input.at - start
            {
                return Err(SetError::WrongOffset { offset: (header.offsets_at + index * 4) as u64 });
            }
            let is_runs = header.run_flags.get(index / 8).is_some_and(|flags| flags >> (index % 8) & 1 == 1);
            self.read_container(key, cardinality, is_runs)?;
        }
        Ok(())
    }

    fn read_container(&mut self, key: u64, cardinality: u32, is_runs: bool) -> Result<(), SetError> {
        let header_offset = self.input.at as u64;
        let (kind, runs, samples) = if is_runs {
            let runs = u16::from_le_bytes(self.input.array()?);
            (Kind::Runs, runs, run_samples(usize::from(runs)))
        } else if cardinality <= MAX_ARRAY_VALUES {
            (Kind::Array, 0, 0)
        } else {
            (Kind::Bitmap, 0, BITMAP_SAMPLES)
        };
        let offset = self.input.at as u64;
        let body_bytes = match kind {
            Kind::Array => cardinality as usize * 2,
            Kind::Bitmap => BITMAP_BYTES,
            Kind::Runs => usize::from(runs) * 4,
        };
        self.input.take(body_bytes)?;
        let first_sample = u32::try_from(self.samples).ok().filter(|first| first & SAMPLES_READY == 0);
        let first_sample = first_sample.ok_or(SetError::TooLarge { offset: header_offset })?;
        let ready = if kind == Kind::Array { SAMPLES_READY } else { 0 };
        self.entries.push(Entry {
            key_and_runs: key << 16 | u64::from(runs),
            offset_and_kind: offset << 2 | kind as u64,
            first_rank: self.total as u32,
            samples: AtomicU32::new(first_sample | ready),
        });
        self.samples += samples as u64;
        self.total += u64::from(cardinality);
        if self.total > MAX_SET_NUMBERS {
            return Err(SetError::TooManyNumbers { offset: header_offset });
        }
        Ok(())
    }

    fn finish(self) -> Directory {
        let Builder { mut entries, total, samples, .. } = self;
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
}

/// The header of a 32-bit set, in place.
struct BucketHeader<'a> {
    run_flags: &'a [u8],
    descriptors: &'a [[u8; 4]],
    descriptors_at: usize,
    offsets: &'a [[u8; 4]],
    offsets_at: usize,
}

impl<'a> BucketHeader<'a> {
    fn read(input: &mut Input<'a>) -> Result<BucketHeader<'a>, SetError> {
        let offset = input.at as u64;
        let cookie = u32::from_le_bytes(input.array()?);
        let (count, run_flags, has_offsets): (usize, &[u8], bool) = if cookie == COOKIE_NO_RUNS {
            (u32::from_le_bytes(input.array()?) as usize, &[], true)
        } else if cookie as u16 == COOKIE_RUNS {
            let count = (cookie >> 16) as usize + 1;
            (count, input.take(count.div_ceil(8))?, count >= MIN_CONTAINERS_WITH_OFFSETS)
        } else {
            return Err(SetError::BadCookie { offset, cookie });
        };
        if count > MAX_CONTAINERS_PER_BUCKET {
            return Err(SetError::BadCount { offset: offset + 4 });
        }
        let descriptors_at = input.at;
        let descriptors = input.take(count * 4)?.as_chunks().0;
        let offsets_at = input.at;
        let offsets = input.take(if has_offsets { count * 4 } else { 0 })?.as_chunks().0;
        Ok(BucketHeader { run_flags, descriptors, descriptors_at, offsets, offsets_at })
    }
}

/// Bytes read in order.
struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], SetError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let taken = rest.get(..count).ok_or(SetError::Truncated { offset: self.bytes.len() as u64 })?;
        self.at += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], SetError> {
        let offset = self.bytes.len() as u64;
        self.take(N)?.try_into().map_err(|_| SetError::Truncated { offset })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_24_bytes() {
        assert_eq!(size_of::<Entry>(), 24);
    }

    #[test]
    fn a_hostile_count_allocates_nothing() {
        let mut bytes = u64::MAX.to_le_bytes().to_vec();
        bytes.extend(0_u32.to_le_bytes());
        bytes.extend(COOKIE_NO_RUNS.to_le_bytes());
        bytes.extend(65_536_u32.to_le_bytes());
        let error = Directory::read(&bytes, Format::Portable64).unwrap_err();
        assert_eq!(error, SetError::Truncated { offset: 20 });
        bytes[16..20].copy_from_slice(&u32::MAX.to_le_bytes());
        let error = Directory::read(&bytes, Format::Portable64).unwrap_err();
        assert_eq!(error, SetError::BadCount { offset: 16 });
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
