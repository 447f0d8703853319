//! The bytes of a journal file: a head of one page, then frames, each of whole pages.
//!
//! ```text
//! head                                      sector of a frame, 512 bytes
//!      0  "ALLOTDJ" and 1        8 bytes         0  CRC32C of the rest        u32
//!      8  format                 u32             4  "ALJF"                    4 bytes
//!     12  CRC32C of the rest     u32             8  file's sequence           u64
//!     16  file's sequence        u64            16  frame's sequence          u64
//!     24  first frame's sequence u64            24  place in the frame        u16
//!     32  boot's id              16 bytes       26  sectors of the frame      u16
//!     48  file's length          u64            28  records in it             u8
//!     56  zeros to the page's end               29  flags: 1 = closed cleanly u8
//!                                               30  0                         u16
//!                                               32  15 slots of 32 bytes: records, then zeros
//! first slot of a frame's first sector
//!      0  durable below this frame's sequence u64
//!      8  writer's epoch                      u64
//!     16  engine's time, ns since 2020        u64
//!     24  time since boot, ns                 u64
//! ```
//!
//! All little-endian. A disk writes a sector whole or not at all, so each sector is verified by its own
//! checksum, also in the padding at a frame's end. A sector with another file's sequence, or of all zeros,
//! was not written: the frame is *torn*, by a loss of power. A sector whose checksum is wrong was written and
//! has changed since: that is *damage*. A frame belongs to the file whose sequence it names, so the old
//! content of a reused file is never taken for new. Frames are numbered through all files without a gap. When
//! a frame is written, all frames below its `durable_below` are on the disk.

use crate::disk::mapping::PAGE_BYTES;

use super::record::{RECORD_BYTES, Record};

/// Version of the format of heads, frames and records.
pub const FORMAT: u32 = 6;
/// The oldest version that is read: its leases of keys are by rank. Format 2 has no changes of lists, format 3 words
/// without attempts and no holders, format 4 no causes, format 5 no marks.
const OLDEST_FORMAT: u32 = 1;
/// Bytes of a file's head.
pub const HEAD_BYTES: usize = PAGE_BYTES;
/// The unit that a disk writes whole or not at all.
pub const SECTOR_BYTES: usize = 512;
/// Bytes of a sector before its slots.
const SECTOR_HEAD_BYTES: usize = 32;
/// Records that fit into a sector.
const SECTOR_SLOTS: usize = (SECTOR_BYTES - SECTOR_HEAD_BYTES) / RECORD_BYTES;
/// Most bytes of one frame.
pub const MAX_FRAME_BYTES: usize = if cfg!(allotd_shuttle) { 4 << 10 } else { 512 << 10 };
/// Most records of one frame. The first slot holds the frame's own fields.
pub const MAX_FRAME_RECORDS: usize = MAX_FRAME_BYTES / SECTOR_BYTES * SECTOR_SLOTS - 1;

const HEAD_MAGIC: [u8; 8] = *b"ALLOTDJ\x01";
const FRAME_MAGIC: [u8; 4] = *b"ALJF";
const FLAG_CLEAN: u8 = 1;
/// Bytes of a head before the zeros.
const HEAD_USED_BYTES: usize = 56;

/// The head of a journal file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The file's place among all files.
    pub file_sequence: u64,
    /// The sequence of its first frame.
    pub first_frame: u64,
    /// The id of the system's boot during which the file was begun.
    pub boot_id: [u8; 16],
    /// The file's length, in bytes.
    pub file_bytes: u64,
}

/// The fields of a frame other than its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FrameHead {
    /// The file the frame belongs to.
    pub file_sequence: u64,
    /// The frame's place among all frames.
    pub sequence: u64,
    /// All frames below this one were durable when this one was written.
    pub durable_below: u64,
    /// Which writer wrote it; always 0.
    pub epoch: u64,
    /// The engine's time, in nanoseconds since the beginning of 2020.
    pub time_nanos: u64,
    /// Time since the system's boot, in nanoseconds.
    pub boot_nanos: u64,
    /// The number of its records.
    pub records: u32,
    /// Whether the daemon closed the journal here, with all words written to their tables.
    pub clean: bool,
}

/// Why a head cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// It is not the head of a journal file.
    #[error("it does not begin as a journal file")]
    NotAJournal,
    /// Another version of allotd wrote it.
    #[error("it has format {0}, this allotd reads formats {OLDEST_FORMAT} to {FORMAT}")]
    OtherFormat(u32),
    /// Its checksum is wrong.
    #[error("the checksum of its head is wrong")]
    Checksum,
    /// The file has another length than its head says.
    #[error("it has {found} bytes, its head says {expected}")]
    Length {
        /// The file's length, in bytes.
        found: u64,
        /// What it had when it was begun.
        expected: u64,
    },
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

impl Head {
    /// Writes the head into the first page of `page`.
    pub fn encode(&self, page: &mut [u8]) {
        let page = &mut page[..HEAD_BYTES];
        page.fill(0);
        page[..8].copy_from_slice(&HEAD_MAGIC);
        page[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        page[16..24].copy_from_slice(&self.file_sequence.to_le_bytes());
        page[24..32].copy_from_slice(&self.first_frame.to_le_bytes());
        page[32..48].copy_from_slice(&self.boot_id);
        page[48..56].copy_from_slice(&self.file_bytes.to_le_bytes());
        let checksum = Self::checksum(page);
        page[12..16].copy_from_slice(&checksum.to_le_bytes());
    }

    fn checksum(page: &[u8]) -> u32 {
        let start = crc32c::crc32c(&page[..12]);
        crc32c::crc32c_append(start, &page[16..HEAD_USED_BYTES])
    }

    /// Reads the head of a whole file.
    pub fn decode(file: &[u8]) -> Result<Self, HeadError> {
        Self::decode_page(file, file.len() as u64)
    }

    /// Reads the head in the first page of a file of `found` bytes.
    pub fn decode_page(file: &[u8], found: u64) -> Result<Self, HeadError> {
        if file.len() < HEAD_BYTES || file[..8] != HEAD_MAGIC {
            return Err(HeadError::NotAJournal);
        }
        if u32_at(file, 12) != Self::checksum(file) {
            return Err(HeadError::Checksum);
        }
        if !(OLDEST_FORMAT..=FORMAT).contains(&u32_at(file, 8)) {
            return Err(HeadError::OtherFormat(u32_at(file, 8)));
        }
        let expected = u64_at(file, 48);
        if found != expected {
            return Err(HeadError::Length { found, expected });
        }
        Ok(Self {
            file_sequence: u64_at(file, 16),
            first_frame: u64_at(file, 24),
            boot_id: std::array::from_fn(|i| file[32 + i]),
            file_bytes: expected,
        })
    }
}

/// Bytes of a frame with `records` records, padding included.
pub fn frame_bytes(records: usize) -> usize {
    ((records + 1).div_ceil(SECTOR_SLOTS) * SECTOR_BYTES).next_multiple_of(PAGE_BYTES)
}

/// The offset of a slot in its frame. Slot 0 is the frame's own, the others are records.
fn slot_offset(slot: usize) -> usize {
    slot / SECTOR_SLOTS * SECTOR_BYTES + SECTOR_HEAD_BYTES + slot % SECTOR_SLOTS * RECORD_BYTES
}

/// Puts the record `index` of a frame in its place in a buffer.
#[inline]
pub fn put_record(buffer: &mut [u8], index: usize, record: &Record) {
    put_encoded(buffer, index, &record.encode());
}

/// Puts the bytes of the record `index` of a frame in their place in a buffer.
#[inline]
pub fn put_encoded(buffer: &mut [u8], index: usize, record: &[u8; RECORD_BYTES]) {
    let at = slot_offset(index + 1);
    buffer[at..at + RECORD_BYTES].copy_from_slice(record);
}

/// Takes the bytes of the records of a frame out of a buffer.
pub fn encoded_records(buffer: &[u8], records: usize) -> Vec<[u8; RECORD_BYTES]> {
    let record = |index| {
        let at = slot_offset(index + 1);
        std::array::from_fn(|byte| buffer[at + byte])
    };
    (0..records).map(record).collect()
}

impl FrameHead {
    /// Completes a frame in a buffer that already holds the records in their places. Returns the frame's
    /// length in bytes.
    pub fn seal(&self, buffer: &mut [u8]) -> usize {
        let slots = self.records as usize + 1;
        let bytes = frame_bytes(self.records as usize);
        for (at, value) in
            [(0, self.durable_below), (8, self.epoch), (16, self.time_nanos), (24, self.boot_nanos)]
        {
            let at = slot_offset(0) + at;
            buffer[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        let sectors = bytes / SECTOR_BYTES;
        for (index, sector) in buffer[..bytes].chunks_exact_mut(SECTOR_BYTES).enumerate() {
            let used = slots.saturating_sub(index * SECTOR_SLOTS).min(SECTOR_SLOTS);
            sector[SECTOR_HEAD_BYTES + used * RECORD_BYTES..].fill(0);
            sector[4..8].copy_from_slice(&FRAME_MAGIC);
            sector[8..16].copy_from_slice(&self.file_sequence.to_le_bytes());
            sector[16..24].copy_from_slice(&self.sequence.to_le_bytes());
            sector[24..26].copy_from_slice(&(index as u16).to_le_bytes());
            sector[26..28].copy_from_slice(&(sectors as u16).to_le_bytes());
            sector[28] = (used - usize::from(index == 0)) as u8;
            sector[29] = if self.clean { FLAG_CLEAN } else { 0 };
            sector[30..32].fill(0);
            let checksum = crc32c::crc32c(&sector[4..]);
            sector[..4].copy_from_slice(&checksum.to_le_bytes());
        }
        bytes
    }
}

/// What a sector of a journal file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sector {
    /// A part of a frame of this file.
    Written {
        /// The frame's sequence.
        frame: u64,
        /// Its place in the frame.
        index: u16,
        /// The number of sectors of the frame.
        sectors: u16,
    },
    /// Not written since the file was begun.
    Old,
    /// Changed since it was written.
    Damaged,
}

impl Sector {
    /// Reads a sector of the file with this sequence.
    pub fn read(sector: &[u8], file_sequence: u64) -> Self {
        if crc32c::crc32c(&sector[4..]) == u32_at(sector, 0) && sector[4..8] == FRAME_MAGIC {
            if u64_at(sector, 8) != file_sequence {
                return Self::Old;
            }
            return Self::Written {
                frame: u64_at(sector, 16),
                index: u16_at(sector, 24),
                sectors: u16_at(sector, 26),
            };
        }
        if sector.iter().all(|byte| *byte == 0) { Self::Old } else { Self::Damaged }
    }
}

/// A whole frame, in place.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// The fields of the frame.
    pub head: FrameHead,
    bytes: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Reads the frame at the beginning of `bytes`; `None` if no whole frame of this file is there.
    pub fn decode(bytes: &'a [u8], file_sequence: u64) -> Option<Self> {
        let first = bytes.get(..SECTOR_BYTES)?;
        let Sector::Written { frame, index: 0, sectors: sectors @ 1.. } = Sector::read(first, file_sequence)
        else {
            return None;
        };
        if frame == u64::MAX {
            // No writer reaches this sequence, as the next frame could not be numbered.
            return None;
        }
        let bytes = bytes.get(..usize::from(sectors) * SECTOR_BYTES)?;
        let mut records = 0;
        for (index, sector) in bytes.chunks_exact(SECTOR_BYTES).enumerate() {
            let expected = Sector::Written { frame, index: index as u16, sectors };
            let used = usize::from(sector[28]) + usize::from(index == 0);
            if used > SECTOR_SLOTS || Sector::read(sector, file_sequence) != expected {
                return None;
            }
            records += u32::from(sector[28]);
        }
        Some(Self { head: Self::head_of(first, file_sequence, frame, records), bytes })
    }

    /// The frame at the beginning of `bytes`, where [`Self::decode`] already found a whole one.
    pub(super) fn verified(bytes: &'a [u8], file_sequence: u64) -> Self {
        let bytes = &bytes[..usize::from(u16_at(bytes, 26)) * SECTOR_BYTES];
        let records = bytes.chunks_exact(SECTOR_BYTES).map(|sector| u32::from(sector[28])).sum();
        Self { head: Self::head_of(bytes, file_sequence, u64_at(bytes, 16), records), bytes }
    }

    fn head_of(first: &[u8], file_sequence: u64, sequence: u64, records: u32) -> FrameHead {
        let own = slot_offset(0);
        FrameHead {
            file_sequence,
            sequence,
            durable_below: u64_at(first, own),
            epoch: u64_at(first, own + 8),
            time_nanos: u64_at(first, own + 16),
            boot_nanos: u64_at(first, own + 24),
            records,
            clean: first[29] & FLAG_CLEAN != 0,
        }
    }

    /// Bytes of the whole frame, padding included.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The records. A record of unknown kind is ignored: its sector's checksum shows that it is not damage.
    pub fn records(&self) -> impl Iterator<Item = Record> + use<'a> {
        self.bytes.chunks_exact(SECTOR_BYTES).enumerate().flat_map(|(index, sector)| {
            let own = usize::from(index == 0);
            let (slots, _) = sector[SECTOR_HEAD_BYTES..].as_chunks::<RECORD_BYTES>();
            slots[own..own + usize::from(sector[28])].iter().filter_map(|slot| Record::decode(slot).ok())
        })
    }
}

#[cfg(test)]
#[cfg(not(allotd_loom))]
mod tests;
