//! A set of numbers over the bytes of a portable Roaring bitmap, used in place.

mod container;
mod container_index;
pub mod error;
pub mod growing;
mod index_reader;
pub mod near;
pub mod run;
pub mod writer;

use std::ops::Range;
use std::sync::atomic::AtomicU16;

use crate::coordinates::Rank;

use super::number::{Number, NumberRange};
use container::{BITMAP_BYTES, Container, Fault, RunCursor};
use container_index::{Directory, Entry, Kind};
use error::{Format, SetError};
use index_reader::read_directory;
use run::{NumberRun, SetId};

/// Bytes of the header that makes a 64-bit set of a 32-bit one.
pub const WRAP_HEADER_BYTES: usize = 12;

/// The header that turns the bytes of a 32-bit set into a 64-bit one: one bucket, with key 0.
pub fn wrap_32bit_header() -> [u8; WRAP_HEADER_BYTES] {
    let mut header = [0; WRAP_HEADER_BYTES];
    header[0] = 1;
    header
}

/// Opens bytes from a user as a 64-bit set, or else as a 32-bit one.
pub fn open_any<B: AsRef<[u8]>>(bytes: B) -> Result<(Format, NumberSet<B>), SetError> {
    let as_64 = match read_directory(bytes.as_ref(), Format::Portable64) {
        Ok(directory) => return Ok((Format::Portable64, NumberSet::new(bytes, directory))),
        Err(error) => error,
    };
    match read_directory(bytes.as_ref(), Format::Portable32) {
        Ok(directory) => Ok((Format::Portable32, NumberSet::new(bytes, directory))),
        Err(as_32) => Err(SetError::NeitherFormat { as_64: Box::new(as_64), as_32: Box::new(as_32) }),
    }
}

/// An immutable sorted set of numbers. Lookups take no lock and may run on any number of threads.
#[derive(Debug)]
pub struct NumberSet<B> {
    bytes: B,
    directory: Directory,
    /// Counts inside bitmap and run containers, filled at the first lookup in a container.
    samples: Vec<AtomicU16>,
    pub(crate) id: SetId,
}

impl<B: AsRef<[u8]>> NumberSet<B> {
    /// Opens a set in the 64-bit portable format. Reads its headers only: values that are damaged are found
    /// by [`NumberSet::validate`], and never make a later call panic.
    pub fn open(bytes: B) -> Result<Self, SetError> {
        let directory = read_directory(bytes.as_ref(), Format::Portable64)?;
        Ok(NumberSet::new(bytes, directory))
    }

    fn new(bytes: B, directory: Directory) -> Self {
        let samples = (0..directory.samples_len).map(|_| AtomicU16::new(0)).collect();
        NumberSet { bytes, directory, samples, id: SetId::new() }
    }

    /// Checks every value: order, counts, and that each is a number.
    pub fn validate(&self) -> Result<(), SetError> {
        for index in 0..self.directory.containers().len() {
            let Some((entry, cardinality)) = self.directory.container(index) else { break };
            let offset = entry.offset() as u64;
            self.container(entry, cardinality).validate(cardinality).map_err(|fault| match fault {
                Fault::Order => SetError::ContainerOrder { offset },
                Fault::Count => SetError::ContainerCount { offset },
            })?;
            let highest = self.run_at(Rank(entry.first_rank + (cardinality - 1)));
            if highest.is_some_and(|run| run.first_number + u64::from(run.len - 1) > Number::MAX.get()) {
                return Err(SetError::NumberTooHigh { offset });
            }
        }
        Ok(())
    }

    /// The count of its numbers.
    pub fn len(&self) -> u64 {
        u64::from(self.directory.len())
    }

    /// Whether it holds no number.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The serialized bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.as_ref()
    }

    /// Bytes of memory that it uses in addition to the serialized ones.
    pub fn index_bytes(&self) -> usize {
        self.directory.memory_bytes() + self.samples.len() * size_of::<AtomicU16>()
    }

    /// Whether `number` is in the set.
    pub fn contains(&self, number: Number) -> bool {
        self.rank(number).is_some()
    }

    /// The position of `number` in the set.
    #[inline]
    pub fn rank(&self, number: Number) -> Option<Rank> {
        self.run_of(number)?.rank(number)
    }

    /// The number at a position.
    #[inline]
    pub fn select(&self, rank: Rank) -> Option<Number> {
        self.run_at(rank)?.select(rank)
    }

    /// The run that `number` is in.
    #[inline]
    pub(crate) fn run_of(&self, number: Number) -> Option<NumberRun> {
        let index = self.directory.by_key(number.get() >> 16).ok()?;
        let (entry, cardinality) = self.directory.container(index)?;
        let run = self.sampled(entry, cardinality).find(number.get() as u16).ok()?;
        NumberRun::new(entry, cardinality, run)
    }

    /// The run at a position.
    #[inline]
    pub(crate) fn run_at(&self, rank: Rank) -> Option<NumberRun> {
        if rank.0 >= self.directory.len() {
            return None;
        }
        let (entry, cardinality) = self.directory.container(self.directory.by_rank(rank.0))?;
        let run = self.sampled(entry, cardinality).select(rank.0 - entry.first_rank)?;
        NumberRun::new(entry, cardinality, run)
    }

    /// Prefetches the memory that the lookup of a rank reads first.
    #[inline]
    pub fn prefetch(&self, rank: Rank) {
        self.directory.prefetch(rank.0);
    }

    /// The ranks of all its numbers inside `range`.
    pub fn rank_range(&self, range: NumberRange) -> Range<Rank> {
        let start = self.count_below(range.first().get());
        Rank(start)..Rank(self.count_below(range.last().get() + 1).max(start))
    }

    /// All numbers as ascending runs of maximal length.
    pub fn ranges(&self) -> Ranges<'_, B> {
        self.ranges_from(Rank(0))
    }

    /// The numbers from `rank` on as ascending runs of maximal length.
    pub fn ranges_from(&self, rank: Rank) -> Ranges<'_, B> {
        let mut ranges = Ranges {
            set: self,
            index: self.directory.containers().len(),
            cursor: RunCursor::default(),
            pending: None,
        };
        if rank.0 < self.directory.len() {
            ranges.index = self.directory.by_rank(rank.0);
            if let Some((entry, cardinality)) = self.directory.container(ranges.index) {
                let container = self.sampled(entry, cardinality);
                let into = rank.0 - entry.first_rank;
                if let Some(run) = container.select(into).filter(|_| into > 0) {
                    ranges.cursor = container.cursor_at(run.low + (into - run.index) as u16, into);
                }
            }
        }
        ranges
    }

    fn count_below(&self, value: u64) -> u32 {
        let index = match self.directory.by_key(value >> 16) {
            Ok(index) => index,
            Err(next) => {
                return self.directory.container(next).map_or(self.directory.len(), |(e, _)| e.first_rank);
            }
        };
        let Some((entry, cardinality)) = self.directory.container(index) else { return self.directory.len() };
        entry.first_rank + self.sampled(entry, cardinality).count_below(value as u16).min(cardinality)
    }

    /// A container whose samples are filled.
    #[expect(clippy::inline_always, reason = "as `container`, which it ends with")]
    #[inline(always)]
    fn sampled(&self, entry: &Entry, cardinality: u32) -> Container<'_> {
        if !entry.samples_ready() {
            self.build_samples(entry, cardinality);
        }
        self.container(entry, cardinality)
    }

    #[cold]
    #[inline(never)]
    fn build_samples(&self, entry: &Entry, cardinality: u32) {
        self.container(entry, cardinality).build_samples();
        entry.set_samples_ready();
    }

    #[expect(clippy::inline_always, reason = "the caller matches on the kind again: inlining merges the two")]
    #[inline(always)]
    fn container(&self, entry: &Entry, cardinality: u32) -> Container<'_> {
        let body = self.bytes.as_ref().get(entry.offset()..).unwrap_or_else(nothing);
        let body = |bytes: usize| body.get(..bytes).unwrap_or_else(nothing);
        let (first_sample, sample_count) = entry.sample_place();
        let samples = self.samples.get(first_sample..first_sample + sample_count).unwrap_or_else(nothing);
        match entry.kind() {
            Kind::Array => Container::Array(body(cardinality as usize * 2).as_chunks().0),
            Kind::Bitmap => Container::Bitmap(body(BITMAP_BYTES).as_chunks().0, samples),
            Kind::Runs => Container::Runs(body(entry.run_count() * 4).as_chunks().0, samples),
        }
    }
}

/// The content of a damaged place. Cold, so that the path to a sound one is a branch: a conditional move
/// would wait for the bounds.
#[cold]
#[inline(never)]
fn nothing<'a, T>() -> &'a [T] {
    &[]
}

/// The ascending runs of a set's numbers that [`NumberSet::ranges`] returns.
#[derive(Debug)]
pub struct Ranges<'a, B> {
    set: &'a NumberSet<B>,
    index: usize,
    cursor: RunCursor,
    /// A run that the next one may continue.
    pending: Option<(u64, u64)>,
}

impl<B: AsRef<[u8]>> Ranges<'_, B> {
    /// The next run, not yet joined with one in the following container.
    fn next_run(&mut self) -> Option<(u64, u64)> {
        loop {
            let (entry, cardinality) = self.set.directory.container(self.index)?;
            if let Some((first, last)) = self.set.container(entry, cardinality).next_run(&mut self.cursor) {
                let base = entry.key() << 16;
                return Some((base | u64::from(first), base | u64::from(last)));
            }
            self.index += 1;
            self.cursor = RunCursor::default();
        }
    }
}

impl<B: AsRef<[u8]>> Iterator for Ranges<'_, B> {
    type Item = NumberRange;

    fn next(&mut self) -> Option<NumberRange> {
        loop {
            let next = self.next_run();
            let done = match (&mut self.pending, next) {
                (Some(pending), Some(next)) if next.0 == pending.1 + 1 => {
                    pending.1 = next.1;
                    continue;
                }
                (None, None) => return None,
                (pending, next) => std::mem::replace(pending, next),
            };
            // A damaged set may hold numbers of more than 15 digits: those are left out.
            if let Some((first, last)) = done
                && let Ok(first) = Number::new(first)
                && let Ok(last) = Number::new(last.min(Number::MAX.get()))
                && let Ok(range) = NumberRange::new(first, last)
            {
                return Some(range);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use roaring::{RoaringBitmap, RoaringTreemap};

    use super::*;

    fn number(value: u64) -> Number {
        Number::new(value).unwrap()
    }

    fn serialized(values: impl IntoIterator<Item = u64>) -> Vec<u8> {
        let mut bytes = Vec::new();
        values.into_iter().collect::<RoaringTreemap>().serialize_into(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_small_set_answers() {
        let set = NumberSet::open(serialized([5, 70_000, 79_123_456_789, 79_123_456_790])).unwrap();
        set.validate().unwrap();
        assert_eq!(set.len(), 4);
        assert_eq!(set.rank(number(79_123_456_789)), Some(Rank(2)));
        assert_eq!(set.rank(number(6)), None);
        assert_eq!(set.select(Rank(1)), Some(number(70_000)));
        assert_eq!(set.select(Rank(4)), None);
        assert!(set.contains(number(5)) && !set.contains(number(4)));
        let range = NumberRange::new(number(6), number(79_123_456_789)).unwrap();
        assert_eq!(set.rank_range(range), Rank(1)..Rank(3));
        assert_eq!(set.rank_range(NumberRange::ALL), Rank(0)..Rank(4));
        let last = NumberRange::new(number(79_123_456_789), number(79_123_456_790)).unwrap();
        assert_eq!(set.ranges().last(), Some(last));
        assert_eq!(set.ranges_from(Rank(3)).next(), Some(NumberRange::single(number(79_123_456_790))));
    }

    #[test]
    fn an_empty_set_answers_nothing() {
        let set = NumberSet::open(serialized([])).unwrap();
        set.validate().unwrap();
        assert!(set.is_empty());
        assert_eq!(set.select(Rank(0)), None);
        assert_eq!(set.rank(number(1)), None);
        assert_eq!(set.rank_range(NumberRange::ALL), Rank(0)..Rank(0));
        assert_eq!(set.ranges().next(), None);
    }

    #[test]
    fn a_32_bit_set_is_told_apart_and_wrapped() {
        let bitmap: RoaringBitmap = (1..100_000).chain([4_000_000_000]).collect();
        let mut bytes = Vec::new();
        bitmap.serialize_into(&mut bytes).unwrap();
        let (format, set) = open_any(bytes.as_slice()).unwrap();
        assert_eq!((format, set.len()), (Format::Portable32, 100_000));
        let wrapped = [wrap_32bit_header().as_slice(), bytes.as_slice()].concat();
        let (format, set) = open_any(wrapped).unwrap();
        set.validate().unwrap();
        assert_eq!((format, set.select(Rank(99_999))), (Format::Portable64, Some(number(4_000_000_000))));
    }

    #[test]
    fn what_is_neither_format_says_both_reasons() {
        let message = open_any(b"79123456789\n79123456790\n".as_slice()).unwrap_err().to_string();
        assert!(message.contains("As 64-bit") && message.contains("As 32-bit"), "{message}");
    }

    #[test]
    fn zero_is_a_number_and_sixteen_digits_are_refused() {
        let zero = NumberSet::open(serialized([0, 1])).unwrap();
        zero.validate().unwrap();
        assert_eq!(zero.select(Rank(0)), Some(number(0)));
        assert_eq!(zero.ranges().next(), NumberRange::new(number(0), number(1)).ok());
        let just_above = NumberSet::open(serialized([Number::MAX.get() + 1])).unwrap();
        assert!(matches!(just_above.validate(), Err(SetError::NumberTooHigh { .. })));
        assert_eq!(just_above.ranges().next(), None);
        let far_above = NumberSet::open(serialized([1 << 60]));
        assert!(matches!(far_above, Err(SetError::NumberTooHigh { .. })));
    }

    #[test]
    fn trailing_bytes_are_refused() {
        let mut bytes = serialized([1, 2, 3]);
        let end = bytes.len() as u64;
        bytes.push(0);
        assert_eq!(NumberSet::open(bytes).unwrap_err(), SetError::TrailingBytes { offset: end });
    }
}
