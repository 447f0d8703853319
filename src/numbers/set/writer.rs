//! Writes a number set: ascending ranges in, portable 64-bit Roaring out.

use std::io::{self, Seek, SeekFrom, Write};

use roaring::RoaringBitmap;
use thiserror::Error;

use crate::numbers::number::{MAX_SET_NUMBERS, NumberRange};

/// Bytes of the count of buckets, which is written last.
const COUNT_BYTES: usize = 8;
/// Single numbers that are appended to a bucket together: before each append it looks for its largest number.
const SINGLES_AT_ONCE: usize = 4_096;

/// Why a number set could not be written.
#[derive(Debug, Error)]
pub enum WriteError {
    /// The output failed.
    #[error(
        "the number set could not be written: {0}. Check the disk's space and permissions, then try again"
    )]
    Io(#[from] io::Error),
    /// A range that does not lie above those before it.
    #[error("the ranges of a number set must ascend and be disjoint: sort and merge them first")]
    NotAscending,
    /// More than [`MAX_SET_NUMBERS`].
    #[error("the number set would hold more than 4000000000 numbers: split it into several pools")]
    TooManyNumbers,
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// The count of numbers in the set.
    pub numbers: u64,
    /// Length of the set in bytes.
    pub bytes: u64,
    /// CRC32C of all its bytes.
    pub crc32c: u32,
}

/// Writes a number set as a stream. It holds one bucket (numbers with the same upper 32 bits) in memory.
#[derive(Debug)]
pub struct SetWriter<W: Write + Seek> {
    out: W,
    start: u64,
    buckets: u64,
    /// Upper 32 bits of the numbers in `bucket`.
    high: u32,
    bucket: RoaringBitmap,
    /// Numbers of the bucket that are still to be appended to it.
    singles: Vec<u32>,
    /// Reused for the bytes of each bucket.
    buffer: Vec<u8>,
    /// The lowest number that can still be added.
    lowest_allowed: u64,
    numbers: u64,
    /// Bytes after the count of buckets, and their checksum.
    body_bytes: usize,
    body_crc32c: u32,
}

impl<W: Write + Seek> SetWriter<W> {
    /// Starts a set at the current position of `out`.
    pub fn new(mut out: W) -> Result<Self, WriteError> {
        let start = out.stream_position()?;
        out.write_all(&[0; COUNT_BYTES])?;
        Ok(SetWriter {
            out,
            start,
            buckets: 0,
            high: 0,
            bucket: RoaringBitmap::new(),
            singles: Vec::with_capacity(SINGLES_AT_ONCE),
            buffer: Vec::new(),
            lowest_allowed: 0,
            numbers: 0,
            body_bytes: 0,
            body_crc32c: 0,
        })
    }

    /// Adds a range, which must lie above all those before it.
    pub fn push(&mut self, range: NumberRange) -> Result<(), WriteError> {
        let (mut first, last) = (range.first().get(), range.last().get());
        if first < self.lowest_allowed {
            return Err(WriteError::NotAscending);
        }
        self.numbers = self.numbers.saturating_add(range.len());
        if self.numbers > MAX_SET_NUMBERS {
            return Err(WriteError::TooManyNumbers);
        }
        self.lowest_allowed = last + 1;
        while (first >> 32) < (last >> 32) {
            let bucket_last = first | u64::from(u32::MAX);
            self.push_within_bucket(first, bucket_last)?;
            first = bucket_last + 1;
        }
        self.push_within_bucket(first, last)
    }

    /// Ends the set: writes what is left and the count of buckets. The output is flushed, not synced.
    pub fn finish(mut self) -> Result<Written, WriteError> {
        self.end_bucket()?;
        let count = self.buckets.to_le_bytes();
        self.out.seek(SeekFrom::Start(self.start))?;
        self.out.write_all(&count)?;
        self.out.seek(SeekFrom::Start(self.start + (COUNT_BYTES + self.body_bytes) as u64))?;
        self.out.flush()?;
        Ok(Written {
            numbers: self.numbers,
            bytes: (COUNT_BYTES + self.body_bytes) as u64,
            crc32c: crc32c::crc32c_combine(crc32c::crc32c(&count), self.body_crc32c, self.body_bytes),
        })
    }

    fn push_within_bucket(&mut self, first: u64, last: u64) -> Result<(), WriteError> {
        let high = (first >> 32) as u32;
        if high != self.high {
            self.end_bucket()?;
            self.high = high;
        }
        // Appending values is much faster than inserting a range.
        if first == last {
            self.singles.push(first as u32);
            if self.singles.len() == SINGLES_AT_ONCE {
                self.append_singles();
            }
        } else {
            self.append_singles();
            self.bucket.insert_range(first as u32..=last as u32);
        }
        Ok(())
    }

    fn append_singles(&mut self) {
        let appended = self.bucket.append(self.singles.iter().copied());
        debug_assert!(appended.is_ok(), "they ascend");
        if appended.is_err() {
            self.bucket.extend(&self.singles);
        }
        self.singles.clear();
    }

    fn end_bucket(&mut self) -> Result<(), WriteError> {
        self.append_singles();
        if self.bucket.is_empty() {
            return Ok(());
        }
        self.bucket.optimize();
        self.buffer.clear();
        self.buffer.extend(self.high.to_le_bytes());
        self.bucket.serialize_into(&mut self.buffer)?;
        self.bucket.clear();
        self.out.write_all(&self.buffer)?;
        self.body_crc32c = crc32c::crc32c_append(self.body_crc32c, &self.buffer);
        self.body_bytes += self.buffer.len();
        self.buckets += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use roaring::RoaringTreemap;

    use super::*;
    use crate::numbers::number::Number;

    fn range(first: u64, last: u64) -> NumberRange {
        NumberRange::new(Number::new(first).unwrap(), Number::new(last).unwrap()).unwrap()
    }

    fn write(ranges: &[NumberRange]) -> Result<(Written, Vec<u8>), WriteError> {
        let mut out = Cursor::new(Vec::new());
        let mut writer = SetWriter::new(&mut out)?;
        ranges.iter().try_for_each(|range| writer.push(*range))?;
        let written = writer.finish()?;
        Ok((written, out.into_inner()))
    }

    #[test]
    fn the_bytes_are_portable_roaring_with_their_checksum() {
        let ranges = [
            range(1, 1),
            range(3, 3),
            range(4, 70_000),
            range(4_294_967_290, 4_294_967_300),
            range(1 << 45, 1 << 45),
        ];
        let (written, bytes) = write(&ranges).unwrap();
        let set = RoaringTreemap::deserialize_from(bytes.as_slice()).unwrap();
        let expected: RoaringTreemap =
            ranges.iter().flat_map(|range| range.first().get()..=range.last().get()).collect();
        assert_eq!(set, expected);
        assert_eq!(written.numbers, expected.len());
        assert_eq!(written.bytes, bytes.len() as u64);
        assert_eq!(written.crc32c, crc32c::crc32c(&bytes));
    }

    #[test]
    fn an_empty_set_is_eight_bytes() {
        let (written, bytes) = write(&[]).unwrap();
        assert_eq!((written.numbers, bytes), (0, vec![0; 8]));
        assert_eq!(written.crc32c, crc32c::crc32c(&[0; 8]));
    }

    #[test]
    fn descending_and_overlapping_ranges_are_refused() {
        for ranges in [[range(10, 20), range(20, 30)], [range(10, 20), range(1, 2)]] {
            assert!(matches!(write(&ranges), Err(WriteError::NotAscending)));
        }
    }

    #[test]
    fn too_many_numbers_are_refused_before_memory_is_spent() {
        assert!(matches!(write(&[NumberRange::ALL]), Err(WriteError::TooManyNumbers)));
    }
}
