//! The numbers of a segment that grows: `0001.growing`.
//!
//! ```text
//! for each number, in the order of addition; zeros from there on
//!      0  number                                           u64
//!      8  numbers that were durable before its addition    u16
//!     10  numbers of its addition                          u16
//!     12  CRC32C of the segment's id, the place, and 0..12 u32
//! ```
//!
//! All little-endian. The file has its full length from the beginning. An addition is one write and one sync,
//! and the numbers are used once they are durable. So only the last addition can be incomplete: some of its
//! sectors are written and the others are zeros. Then all of it is cut. A zero entry that a later one says was
//! durable, and an entry whose checksum is wrong, are damage. An entry that was given up has the number 0 and
//! belongs to an addition of none.

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::coordinates::SegmentId;
use crate::disk::device::{Access, Disk};
use crate::disk::paced;
use crate::journal::on_damage::OnDamage;
use crate::numbers::number::Number;

use super::damage::SegmentError;

/// Bytes per number. A divisor of a sector, so that an entry is written whole or not at all.
const ENTRY_BYTES: usize = 16;

/// The open file.
pub(crate) struct GrowingFile {
    disk: Arc<dyn Disk>,
    file: File,
    segment: SegmentId,
    /// What [`Self::repair`] overwrites: the places of lost numbers, and of an incomplete addition.
    lost: Vec<u32>,
    torn: Option<Range<u32>>,
}

impl fmt::Debug for GrowingFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.file.fmt(f)
    }
}

/// The numbers of a file, `None` for those that are lost.
pub(crate) struct GrowingNumbers {
    pub(crate) numbers: Vec<Option<Number>>,
    /// Places whose numbers are damaged or missing.
    lost: Vec<u32>,
    /// The places after the numbers, if there is anything in them, left from an incomplete addition.
    torn: Option<Range<u32>>,
}

/// An addition: the numbers before it, and how many it adds.
#[derive(Clone, Copy)]
struct Addition {
    first: u16,
    count: u16,
}

/// The addition of a number that is lost.
const LOST: Addition = Addition { first: 0, count: 0 };

fn entry(segment: SegmentId, place: u32, number: Option<Number>, addition: Addition) -> [u8; ENTRY_BYTES] {
    let mut entry = [0; ENTRY_BYTES];
    entry[..8].copy_from_slice(&number.map_or(0, Number::get).to_le_bytes());
    entry[8..10].copy_from_slice(&addition.first.to_le_bytes());
    entry[10..12].copy_from_slice(&addition.count.to_le_bytes());
    let sum = checksum(segment, place, &entry);
    entry[12..].copy_from_slice(&sum.to_le_bytes());
    entry
}

fn checksum(segment: SegmentId, place: u32, entry: &[u8; ENTRY_BYTES]) -> u32 {
    let place = crc32c::crc32c_append(crc32c::crc32c(&segment.0.to_le_bytes()), &place.to_le_bytes());
    crc32c::crc32c_append(place, &entry[..12])
}

enum Entry {
    Zeros,
    /// The number is `None` if it was given up.
    Whole(Option<Number>, Addition),
    Damaged,
}

fn decode(segment: SegmentId, place: u32, entry: &[u8; ENTRY_BYTES]) -> Entry {
    if entry.iter().all(|byte| *byte == 0) {
        return Entry::Zeros;
    }
    let u16_at = |at: usize| u16::from_le_bytes(std::array::from_fn(|i| entry[at + i]));
    let sum = u32::from_le_bytes(std::array::from_fn(|i| entry[12 + i]));
    let number = u64::from_le_bytes(std::array::from_fn(|i| entry[i]));
    let addition = Addition { first: u16_at(8), count: u16_at(10) };
    // A lost number is written as 0, and no addition has it.
    let number = if number == 0 && addition.count == 0 { Ok(None) } else { Number::new(number).map(Some) };
    match number {
        Ok(number) if sum == checksum(segment, place, entry) => Entry::Whole(number, addition),
        _ => Entry::Damaged,
    }
}

/// The content of a file with these numbers, of `capacity` places.
pub(crate) fn content(segment: SegmentId, capacity: u32, numbers: &[Option<Number>]) -> Vec<u8> {
    let mut content = Vec::with_capacity(capacity as usize * ENTRY_BYTES);
    for (place, number) in (0..).zip(numbers) {
        let addition = number.map_or(LOST, |_| Addition { first: place as u16, count: 1 });
        content.extend(entry(segment, place, *number, addition));
    }
    content.resize(capacity as usize * ENTRY_BYTES, 0);
    content
}

/// Reads the numbers of a file with `capacity` places.
pub(crate) fn read(
    path: &Path,
    segment: SegmentId,
    capacity: u32,
    on_damage: OnDamage,
) -> Result<GrowingNumbers, SegmentError> {
    let damaged = |offset: usize, what: &str| SegmentError::Damaged {
        path: path.to_owned(),
        offset: offset as u64,
        what: what.to_owned(),
    };
    let content = match std::fs::read(path) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(damaged(0, "it is missing")),
        Err(error) => return Err(SegmentError::Io(path.to_owned(), error)),
    };
    if content.len() != capacity as usize * ENTRY_BYTES {
        return Err(damaged(0, "its length does not fit the pool's manifest"));
    }
    let entries: Vec<Entry> =
        (0..).zip(content.as_chunks().0).map(|(place, entry)| decode(segment, place, entry)).collect();
    let len = len_of(&entries);
    if on_damage == OnDamage::Refuse {
        let fault = entries.iter().enumerate().find_map(|(place, entry)| match entry {
            Entry::Damaged => Some((place, "the checksum of a number is wrong")),
            Entry::Zeros if place < len => Some((place, "a number that was added is missing")),
            _ => None,
        });
        if let Some((place, what)) = fault {
            return Err(damaged(place * ENTRY_BYTES, what));
        }
    }
    let torn = entries[len..].iter().any(|entry| !matches!(entry, Entry::Zeros));
    let lost = (0..).zip(&entries[..len]).filter(|(_, entry)| !matches!(entry, Entry::Whole(..)));
    let number = |entry: &Entry| if let Entry::Whole(number, _) = entry { *number } else { None };
    Ok(GrowingNumbers {
        numbers: entries[..len].iter().map(number).collect(),
        lost: lost.map(|(place, _)| place).collect(),
        torn: torn.then_some(len as u32..capacity),
    })
}

/// How many numbers were added by complete additions.
fn len_of(entries: &[Entry]) -> usize {
    let additions = entries.iter().filter_map(|entry| match entry {
        Entry::Whole(_, addition) => Some(*addition),
        _ => None,
    });
    let last = additions.max_by_key(|addition| (addition.first, addition.count)).unwrap_or(LOST);
    let first = usize::from(last.first).min(entries.len());
    let end = (first + usize::from(last.count)).min(entries.len());
    let is_complete = !entries[first..end].iter().any(|entry| matches!(entry, Entry::Zeros));
    let mut len = if is_complete { end } else { first };
    // Of an addition that is damaged throughout nothing tells its length.
    while is_complete && matches!(entries.get(len), Some(Entry::Damaged | Entry::Whole(None, _))) {
        len += 1;
    }
    len
}

impl GrowingFile {
    /// Creates a file without numbers, durably.
    pub(crate) fn create(disk: &dyn Disk, path: &Path, capacity: u32) -> io::Result<()> {
        let file = disk.create(path)?;
        // Written, not only allocated: overwriting written blocks is the cheapest durable write.
        paced::fill_with_zeros(disk, &file, u64::from(capacity) * ENTRY_BYTES as u64, &|_| ())?;
        disk.sync(&file)
    }

    /// Opens a file for additions after what was read from it. Call [`Self::repair`] before the first.
    pub(crate) fn open(
        disk: &Arc<dyn Disk>,
        path: &Path,
        segment: SegmentId,
        read: &GrowingNumbers,
    ) -> io::Result<Self> {
        let file = disk.open(path, Access::Buffered)?;
        let (lost, torn) = (read.lost.clone(), read.torn.clone());
        Ok(Self { disk: Arc::clone(disk), file, segment, lost, torn })
    }

    /// Removes an incomplete addition and marks lost numbers as given up.
    pub(crate) fn repair(&self) -> io::Result<()> {
        let offset = |place: u32| u64::from(place) * ENTRY_BYTES as u64;
        for place in &self.lost {
            self.disk.write_at(&self.file, &entry(self.segment, *place, None, LOST), offset(*place))?;
        }
        if let Some(torn) = &self.torn {
            self.disk.write_at(&self.file, &vec![0; torn.len() * ENTRY_BYTES], offset(torn.start))?;
        }
        // Also if nothing is repaired: what a killed process wrote may not be durable yet.
        self.disk.sync(&self.file)
    }

    /// Adds numbers after the first `len`, durably. Nothing is added if it fails for lack of space.
    pub(crate) fn append(&self, len: u32, numbers: &[Number]) -> io::Result<()> {
        let addition = Addition { first: len as u16, count: numbers.len() as u16 };
        let entries =
            (len..).zip(numbers).flat_map(|(place, n)| entry(self.segment, place, Some(*n), addition));
        let bytes: Vec<u8> = entries.collect();
        self.disk.add_at(&self.file, &bytes, u64::from(len) * ENTRY_BYTES as u64)?;
        self.disk.sync(&self.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::files;

    const CAPACITY: u32 = 256;
    const SEGMENT: SegmentId = SegmentId(7);

    fn numbers(values: std::ops::Range<u64>) -> Vec<Number> {
        values.map(|value| Number::new(value).unwrap()).collect()
    }

    fn read_back(path: &Path, on_damage: OnDamage) -> Result<Vec<Option<u64>>, SegmentError> {
        let found = read(path, SEGMENT, CAPACITY, on_damage)?;
        Ok(found.numbers.into_iter().map(|number| number.map(Number::get)).collect())
    }

    fn some(values: std::ops::Range<u64>) -> Vec<Option<u64>> {
        values.map(Some).collect()
    }

    /// A file to which 3, then 40, then 100 numbers were added.
    fn file(path: &Path) -> GrowingFile {
        let disk = files::real();
        GrowingFile::create(&*disk, path, CAPACITY).unwrap();
        let found = read(path, SEGMENT, CAPACITY, OnDamage::Refuse).unwrap();
        let file = GrowingFile::open(&disk, path, SEGMENT, &found).unwrap();
        file.repair().unwrap();
        file.append(0, &numbers(1..4)).unwrap();
        file.append(3, &numbers(4..44)).unwrap();
        file.append(43, &numbers(44..144)).unwrap();
        file
    }

    #[test]
    fn an_incomplete_addition_is_cut_and_the_next_one_takes_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0007.growing");
        file(&path);
        assert_eq!(read_back(&path, OnDamage::Refuse).unwrap(), some(1..144));
        // The last addition begins in one sector and ends in the fifth one after it.
        let mut content = std::fs::read(&path).unwrap();
        content[2 * 512..3 * 512].fill(0);
        std::fs::write(&path, &content).unwrap();
        assert_eq!(
            read_back(&path, OnDamage::Refuse).unwrap(),
            some(1..44),
            "all of the last addition is cut"
        );
        let found = read(&path, SEGMENT, CAPACITY, OnDamage::Refuse).unwrap();
        let file = GrowingFile::open(&files::real(), &path, SEGMENT, &found).unwrap();
        file.repair().unwrap();
        file.append(43, &numbers(900..940)).unwrap();
        let expected: Vec<_> = some(1..44).into_iter().chain(some(900..940)).collect();
        assert_eq!(read_back(&path, OnDamage::Refuse).unwrap(), expected);
    }

    #[test]
    fn every_flip_and_every_lost_sector_of_a_durable_addition_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0007.growing");
        file(&path);
        let content = std::fs::read(&path).unwrap();
        for at in (0..143 * ENTRY_BYTES).step_by(5) {
            let mut flipped = content.clone();
            flipped[at] ^= 1 << (at % 8);
            std::fs::write(&path, flipped).unwrap();
            assert!(read_back(&path, OnDamage::Refuse).is_err(), "byte {at}");
            let found = read_back(&path, OnDamage::GiveUp).unwrap();
            let lost: Vec<_> =
                found.iter().enumerate().filter(|(_, n)| n.is_none()).map(|(i, _)| i).collect();
            assert_eq!((found.len(), lost), (143, vec![at / ENTRY_BYTES]));
            let damaged = read(&path, SEGMENT, CAPACITY, OnDamage::GiveUp).unwrap();
            GrowingFile::open(&files::real(), &path, SEGMENT, &damaged).unwrap().repair().unwrap();
            assert_eq!(read_back(&path, OnDamage::Refuse).unwrap(), found, "given up once");
        }
        let mut lost = content;
        lost[..512].fill(0);
        std::fs::write(&path, &lost).unwrap();
        assert!(read_back(&path, OnDamage::Refuse).is_err());
        let found = read_back(&path, OnDamage::GiveUp).unwrap();
        assert_eq!(found, [vec![None; 32], some(33..144)].concat());
    }

    #[test]
    fn a_copy_reads_as_its_original() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0007.growing");
        let all: Vec<Option<Number>> = numbers(5..9).into_iter().map(Some).chain([None]).collect();
        std::fs::write(&path, content(SEGMENT, CAPACITY, &all)).unwrap();
        assert_eq!(read(&path, SEGMENT, CAPACITY, OnDamage::GiveUp).unwrap().numbers[..4], all[..4]);
    }
}
