//! The checksums of a segment's words: `0001.sums`.
//!
//! ```text
//! head, one page                              then for each sector of 64 words (512 bytes)
//!      0  "ALLOTDS" and 1                8 bytes    a  CRC32C u32
//!      8  format                         u32        b  CRC32C u32
//!     12  CRC32C of 16..32 and 8..12     u32
//!     16  words                          u64
//!     24  kind                           u32   1: each sector matches a or b; 2: nothing is verified
//!     28  largest generation that was ever written   u32
//! ```
//!
//! All little-endian. The module above ([`super`]) says how it stays correct through a power loss.

use std::io;
use std::ops::Range;
use std::path::Path;

use crate::coordinates::{self, Rank};
use crate::disk::mapping::{MappedWords, PAGE_BYTES, WORD_BYTES};
use crate::state::word::MAX_GENERATION;
use crate::state::word_table::WordTable;
use crate::store::damage::SegmentError;
use crate::sys::parallel;

/// Words per sector.
pub(crate) const SECTOR_WORDS: u32 = 64;
pub(crate) const SECTOR_BYTES: usize = (SECTOR_WORDS as u64 * WORD_BYTES) as usize;
/// Bytes per sector's checksums.
const ENTRY_BYTES: u64 = 8;
const HEAD_BYTES: u64 = PAGE_BYTES as u64;
/// Bytes of the head that are used.
const HEAD_USED_BYTES: usize = 32;
const MAGIC: [u8; 8] = *b"ALLOTDS\x01";
const FORMAT: u32 = 2;
/// The words have no attempts: their generation begins where those do.
const FORMAT_WITHOUT_ATTEMPTS: u32 = 1;
/// Minimum sectors per verifying thread.
const MIN_SECTORS_PER_THREAD: u32 = 1 << 14;

/// What the checksums guarantee.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Each sector matches `a` or `b`.
    Exact = 1,
    /// Nothing.
    Unknown = 2,
}

/// How the words are laid out in their file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// As in memory.
    WithAttempts,
    /// As before words had attempts.
    WithoutAttempts,
}

/// The content of a file of checksums: `[a, b]` for each sector.
pub(crate) struct Checksums {
    pub(crate) kind: Kind,
    pub(crate) layout: Layout,
    pub(crate) max_generation: u32,
    pub(crate) entries: Vec<[u32; 2]>,
}

pub(crate) fn sectors(len: u32) -> u32 {
    len.div_ceil(SECTOR_WORDS)
}

pub(crate) fn ranks_of(sector: u32, len: u32) -> Range<Rank> {
    let start = sector * SECTOR_WORDS;
    Rank(start)..Rank(start.saturating_add(SECTOR_WORDS).min(len))
}

/// The used bytes of a head.
pub(crate) fn head(len: u32, kind: Kind, max_generation: u32) -> [u8; HEAD_USED_BYTES] {
    let mut head = [0; HEAD_USED_BYTES];
    head[..8].copy_from_slice(&MAGIC);
    head[8..12].copy_from_slice(&FORMAT.to_le_bytes());
    head[16..24].copy_from_slice(&u64::from(len).to_le_bytes());
    head[24..28].copy_from_slice(&(kind as u32).to_le_bytes());
    head[28..].copy_from_slice(&max_generation.to_le_bytes());
    let checksum = head_checksum(&head);
    head[12..16].copy_from_slice(&checksum.to_le_bytes());
    head
}

fn head_checksum(head: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&head[16..32]), &head[8..12])
}

/// The offset of a sector's checksums in the file.
pub(crate) fn entry_offset(sector: u32) -> u64 {
    HEAD_BYTES + u64::from(sector) * ENTRY_BYTES
}

/// The checksums as bytes.
pub(crate) fn entry_bytes(entries: impl Iterator<Item = [u32; 2]>) -> Vec<u8> {
    entries.flatten().flat_map(u32::to_le_bytes).collect()
}

/// The content of a file in which both checksums of each sector are equal.
pub(crate) fn whole_file(len: u32, kind: Kind, max_generation: u32, sums: &[u32]) -> Vec<u8> {
    let mut content = vec![0; HEAD_BYTES as usize];
    content[..HEAD_USED_BYTES].copy_from_slice(&head(len, kind, max_generation));
    content.extend(entry_bytes(sums.iter().map(|sum| [*sum, *sum])));
    content
}

/// Reads the checksums of a table of `len` words.
pub(crate) fn read(path: &Path, len: u32) -> Result<Checksums, SegmentError> {
    let damaged = |offset: u64, what: &str| SegmentError::Damaged {
        path: path.to_owned(),
        offset,
        what: what.to_owned(),
    };
    let content = match std::fs::read(path) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(damaged(0, "it is missing")),
        Err(error) => return Err(SegmentError::Io(path.to_owned(), error)),
    };
    let u32_at = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| content[at + i]));
    if content.len() as u64 != entry_offset(sectors(len)) {
        return Err(damaged(0, "its length does not fit the pool's manifest"));
    }
    if content[..8] != MAGIC || u32_at(12) != head_checksum(&content) {
        return Err(damaged(0, "the checksum of its head is wrong"));
    }
    let layout = match u32_at(8) {
        FORMAT => Some(Layout::WithAttempts),
        FORMAT_WITHOUT_ATTEMPTS => Some(Layout::WithoutAttempts),
        _ => None,
    };
    let Some(layout) = layout.filter(|_| content[16..24] == u64::from(len).to_le_bytes()) else {
        return Err(damaged(8, "its head belongs to another file"));
    };
    let (entries, _) = content[HEAD_BYTES as usize..].as_chunks::<8>();
    let entry = |bytes: &[u8; 8]| {
        let [a0, a1, a2, a3, b0, b1, b2, b3] = *bytes;
        [u32::from_le_bytes([a0, a1, a2, a3]), u32::from_le_bytes([b0, b1, b2, b3])]
    };
    Ok(Checksums {
        kind: if u32_at(24) == Kind::Exact as u32 { Kind::Exact } else { Kind::Unknown },
        layout,
        max_generation: u32_at(28).min(MAX_GENERATION),
        entries: entries.iter().map(entry).collect(),
    })
}

/// The checksum of each sector of a table of zeros.
pub(crate) fn of_zeros(len: u32) -> Vec<u32> {
    let zeros = [0; SECTOR_BYTES];
    let sum = |sector| {
        crc32c::crc32c(&zeros[..coordinates::count(&ranks_of(sector, len)) as usize * WORD_BYTES as usize])
    };
    (0..sectors(len)).map(sum).collect()
}

/// The checksum of each sector of a file of words.
pub(crate) fn of_file(content: &[u8], len: u32) -> Vec<u32> {
    for_each_sector(len, |sector| {
        let start = sector as usize * SECTOR_BYTES;
        crc32c::crc32c(&content[start..(start + SECTOR_BYTES).min(content.len())])
    })
}

/// Compares what was `found` in the sectors with what may stand there. Returns the ranks of those that are damaged,
/// whose present content does not pass for correct from now on, in case it is never overwritten.
pub(crate) fn verify<'a>(
    entries: impl Iterator<Item = &'a [u32; 2]>,
    found: &mut [u32],
    len: u32,
) -> Vec<Range<Rank>> {
    let mut damaged = Vec::new();
    for (sector, (entry, sum)) in (0..).zip(entries.zip(found)) {
        if !entry.contains(sum) {
            damaged.push(ranks_of(sector, len));
            *sum = entry[1];
        }
    }
    damaged
}

/// The checksum of each sector in memory.
pub(crate) fn of_words(words: &WordTable<MappedWords>) -> Vec<u32> {
    for_each_sector(words.len(), |sector| {
        let ranks = ranks_of(sector, words.len());
        let mut bytes = [0; SECTOR_BYTES];
        let used = coordinates::count(&ranks) as usize * WORD_BYTES as usize;
        for (chunk, rank) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(coordinates::each(&ranks)) {
            *chunk = words.get(rank).bits().to_le_bytes();
        }
        crc32c::crc32c(&bytes[..used])
    })
}

/// Runs `work` for all sectors on all processors; returns the results in order.
fn for_each_sector<T: Send>(len: u32, work: impl Fn(u32) -> T + Sync) -> Vec<T> {
    let parts = parallel::parts(sectors(len), MIN_SECTORS_PER_THREAD, 1);
    parallel::for_each(parts, |part| part.map(&work).collect::<Vec<_>>()).into_iter().flatten().collect()
}
