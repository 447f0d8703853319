//! Reads the directory of a number set from its headers alone. In the portable format (`RoaringFormatSpec`) a 64-bit set is
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

use crate::numbers::number::{MAX_SET_NUMBERS, Number};

use super::container::{BITMAP_BYTES, BITMAP_SAMPLES, MAX_ARRAY_VALUES, run_samples};
use super::container_index::{Directory, Entry, Kind, SAMPLES_READY};
use super::error::{Format, SetError};

/// Reads the headers of `bytes` and checks that they describe all of it, to the last byte.
pub(crate) fn read_directory(bytes: &[u8], format: Format) -> Result<Directory, SetError> {
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(SetError::TooLarge { offset: MAX_FILE_BYTES });
    }
    let mut builder = Builder { input: Input { bytes, at: 0 }, entries: Vec::new(), total: 0, samples: 0 };
    match format {
        Format::Portable32 => builder.read_bucket(0)?,
        Format::Portable64 => builder.read_buckets()?,
    }
    let end = builder.input.at;
    if end != bytes.len() {
        return Err(SetError::TrailingBytes { offset: end as u64 });
    }
    Ok(Directory::new(builder.entries, builder.total, builder.samples))
}

const COOKIE_NO_RUNS: u32 = 12346;

const COOKIE_RUNS: u16 = 12347;

/// After [`COOKIE_RUNS`] fewer containers than this have no offsets.
const MIN_CONTAINERS_WITH_OFFSETS: usize = 4;

const MAX_CONTAINERS_PER_BUCKET: usize = 1 << 16;

/// The highest container that may hold a number.
const MAX_KEY: u64 = Number::MAX.get() >> 16;

/// Longest file: an entry holds 40 bits of the offset.
const MAX_FILE_BYTES: u64 = 1 << 40;

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
        self.entries.push(Entry::new((key, runs), (offset, kind), self.total as u32, first_sample | ready));
        self.samples += samples as u64;
        self.total += u64::from(cardinality);
        if self.total > MAX_SET_NUMBERS {
            return Err(SetError::TooManyNumbers { offset: header_offset });
        }
        Ok(())
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
    fn a_hostile_count_allocates_nothing() {
        let mut bytes = u64::MAX.to_le_bytes().to_vec();
        bytes.extend(0_u32.to_le_bytes());
        bytes.extend(COOKIE_NO_RUNS.to_le_bytes());
        bytes.extend(65_536_u32.to_le_bytes());
        let error = read_directory(&bytes, Format::Portable64).unwrap_err();
        assert_eq!(error, SetError::Truncated { offset: 20 });
        bytes[16..20].copy_from_slice(&u32::MAX.to_le_bytes());
        let error = read_directory(&bytes, Format::Portable64).unwrap_err();
        assert_eq!(error, SetError::BadCount { offset: 16 });
    }
}
