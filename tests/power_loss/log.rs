//! The log of a disk's writes and flushes, and the disk as a power cut would have left it.
//!
//! `blklogwrites` writes the format of Linux's dm-log-writes: a sector with the head, then for each
//! request a sector with its description and the data behind it. A request is logged when it has been
//! carried out and before it is confirmed.
//!
//! What is taken for durable: every write that stands before a flush in the log. The loop device hands on
//! one request at a time, so a write before a flush was confirmed before the flush began. Should two
//! requests ever overlap, a write may be taken for durable that a real disk might still lose: the harness
//! could then miss a loss, never invent one.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

pub(crate) const SECTOR_BYTES: usize = 512;
const MAGIC: u64 = 0x006a_7366_7773_6872;
const VERSION: u64 = 1;

const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;
const MARK: u64 = 8;

/// Sectors that are never torn: ext4 reads its superblock before it replays its journal, and promises
/// nothing for a disk that tears that one block.
const UNTORN_SECTORS: u64 = 8;

/// What the image is copied in: a piece that is all zeros is left out.
const PIECE_BYTES: usize = 64 << 10;
static ZEROS: [u8; PIECE_BYTES] = [0; PIECE_BYTES];

/// One request to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    sector: u64,
    sectors: u64,
    flags: u64,
    /// Where its data stands in the log.
    data: u64,
    /// Where the next entry begins: the log was this long, or longer, once the request was confirmed.
    pub end: u64,
}

impl Entry {
    fn is(&self, flag: u64) -> bool {
        self.flags & flag != 0
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.sector < other.sector + other.sectors && other.sector < self.sector + self.sectors
    }
}

/// All requests, in the order in which they were carried out.
#[derive(Debug)]
pub(crate) struct WriteLog {
    file: File,
    pub entries: Vec<Entry>,
}

impl WriteLog {
    /// Reads a log whose writer has stopped. The number of entries in its head is of the last flush, so the
    /// entries are counted up to the end of the file instead.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut head = [0; 28];
        file.read_exact_at(&mut head, 0)?;
        let sector_bytes = u32::from_le_bytes(head[24..28].try_into().expect("4 bytes"));
        if word(&head, 0) != MAGIC || word(&head, 1) != VERSION || sector_bytes as usize != SECTOR_BYTES {
            return Err(io::Error::other("not a log of writes with sectors of 512 bytes"));
        }
        let mut entries = Vec::new();
        let mut at = SECTOR_BYTES as u64;
        while at < length {
            let mut bytes = [0; 32];
            file.read_exact_at(&mut bytes, at)?;
            let (sector, sectors, flags) = (word(&bytes, 0), word(&bytes, 1), word(&bytes, 2));
            if flags & !(FLUSH | FUA | DISCARD | MARK) != 0 {
                return Err(io::Error::other(format!("entry {} has flags {flags:#x}", entries.len())));
            }
            let data = at + SECTOR_BYTES as u64;
            let data_sectors = if flags & DISCARD == 0 { sectors } else { 0 };
            let end = data + data_sectors * SECTOR_BYTES as u64;
            if end > length {
                return Err(io::Error::other(format!("entry {} ends behind the log", entries.len())));
            }
            entries.push(Entry { sector, sectors, flags, data, end });
            at = end;
        }
        Ok(Self { file, entries })
    }

    /// How many entries had been carried out when the log was `position` bytes long.
    pub(crate) fn entries_until(&self, position: u64) -> usize {
        self.entries.partition_point(|entry| entry.end <= position)
    }

    /// How many entries stand before the first flush at or behind a place.
    pub(crate) fn before_flush(&self, place: usize) -> usize {
        let behind = self.entries[place..].iter().position(|entry| entry.is(FLUSH));
        behind.map_or(self.entries.len(), |behind| place + behind)
    }

    fn data(&self, entry: &Entry) -> io::Result<Vec<u8>> {
        let mut data = vec![0; entry.sectors as usize * SECTOR_BYTES];
        if !entry.is(DISCARD) {
            self.file.read_exact_at(&mut data, entry.data)?;
        }
        Ok(data)
    }
}

fn word(bytes: &[u8], index: usize) -> u64 {
    u64::from_le_bytes(bytes[index * 8..index * 8 + 8].try_into().expect("8 bytes"))
}

/// Builds the disk at one cut after another, in ascending order: what was flushed is carried along.
#[derive(Debug)]
pub(crate) struct Rebuilder<'log> {
    log: &'log WriteLog,
    durable: Vec<u8>,
    /// Pieces of `durable` that may hold anything but zeros.
    touched: BTreeSet<usize>,
    /// Entries before this one are in `durable`.
    flushed: usize,
    cut: usize,
}

impl<'log> Rebuilder<'log> {
    /// Starts from the disk as it was before the first request.
    pub(crate) fn new(log: &'log WriteLog, durable: Vec<u8>) -> Self {
        let pieces = durable.chunks(PIECE_BYTES).enumerate();
        let touched = pieces.filter(|(_, piece)| **piece != ZEROS[..piece.len()]).map(|(index, _)| index);
        Self { log, touched: touched.collect(), durable, flushed: 0, cut: 0 }
    }

    /// Cuts the power when `cut` entries had been carried out.
    pub(crate) fn advance(&mut self, cut: usize) -> io::Result<()> {
        assert!(cut >= self.cut, "cuts are made in ascending order");
        self.cut = cut;
        let pending = &self.log.entries[self.flushed..cut];
        let Some(last_flush) = pending.iter().rposition(|entry| entry.is(FLUSH)) else { return Ok(()) };
        for entry in &pending[..=last_flush] {
            let start = entry.sector as usize * SECTOR_BYTES;
            let data = self.log.data(entry)?;
            self.durable[start..start + data.len()].copy_from_slice(&data);
            self.touched.extend(start / PIECE_BYTES..(start + data.len()).div_ceil(PIECE_BYTES));
        }
        self.flushed += last_flush + 1;
        Ok(())
    }

    /// Writes that no flush had made durable at the cut.
    pub(crate) fn unflushed(&self) -> usize {
        self.cut - self.flushed
    }

    /// Writes the disk to a file: what was flushed, and of the rest whatever the seed lets through, in any
    /// order. An older write may win over a newer one to the same sectors: then the newer one was lost.
    pub(crate) fn write_to(&self, path: &Path, seed: u64) -> io::Result<()> {
        let image = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
        image.set_len(self.durable.len() as u64)?;
        for index in &self.touched {
            let start = index * PIECE_BYTES;
            let piece = &self.durable[start..self.durable.len().min(start + PIECE_BYTES)];
            if *piece != ZEROS[..piece.len()] {
                image.write_all_at(piece, start as u64)?;
            }
        }
        let mut random = StdRng::seed_from_u64(seed);
        let pending = &self.log.entries[self.flushed..self.cut];
        let mut order: Vec<usize> = (0..pending.len()).collect();
        order.shuffle(&mut random);
        // Also the two ends: nothing of it was lost, and everything was.
        let kept = match random.random_range(0..8) {
            0 => 0.0,
            1 => 1.0,
            _ => random.random::<f64>(),
        };
        // A write with FUA is durable by itself: only later ones to the same place can win over it.
        for entry in pending.iter().filter(|entry| entry.is(FUA)) {
            image.write_all_at(&self.log.data(entry)?, entry.sector * SECTOR_BYTES as u64)?;
        }
        for index in order {
            let entry = &pending[index];
            let lost = pending[index..].iter().any(|later| later.is(FUA) && later.overlaps(entry));
            if !lost && random.random_bool(kept) {
                self.apply(&image, entry, kept < 1.0, &mut random)?;
            }
        }
        Ok(())
    }

    /// Applies a write that was not flushed, whole or only some of its sectors.
    fn apply(&self, image: &File, entry: &Entry, may_tear: bool, random: &mut StdRng) -> io::Result<()> {
        let data = self.log.data(entry)?;
        let whole = !may_tear || entry.sector < UNTORN_SECTORS || random.random_bool(0.5);
        // A torn write keeps a first part, or any of its sectors.
        let first = random.random_bool(0.5).then(|| random.random_range(0..=entry.sectors));
        for (index, sector) in (0..).zip(data.chunks(SECTOR_BYTES)) {
            let kept = whole || first.map_or_else(|| random.random_bool(0.5), |first| index < first);
            if kept {
                image.write_all_at(sector, (entry.sector + index) * SECTOR_BYTES as u64)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Rebuilder<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (cut, unflushed) = (self.cut, self.unflushed());
        write!(
            formatter,
            "cut after {cut} of {} requests, {unflushed} of them unflushed",
            self.log.entries.len()
        )
    }
}

/// A log of these writes (sector, fill, flags), each of two sectors; a flush has none.
#[cfg(test)]
fn log_of(path: &Path, requests: &[(u64, u8, u64)]) -> WriteLog {
    let mut bytes = vec![0; SECTOR_BYTES];
    bytes[..8].copy_from_slice(&MAGIC.to_le_bytes());
    bytes[8] = VERSION as u8;
    bytes[24..28].copy_from_slice(&512_u32.to_le_bytes());
    for (sector, fill, flags) in requests {
        let sectors = if flags & FLUSH == 0 { 2 } else { 0 };
        let mut head = vec![0; SECTOR_BYTES];
        for (index, field) in [*sector, sectors, *flags].into_iter().enumerate() {
            head[index * 8..index * 8 + 8].copy_from_slice(&field.to_le_bytes());
        }
        bytes.extend(head);
        bytes.extend(vec![*fill; sectors as usize * SECTOR_BYTES]);
    }
    std::fs::write(path, bytes).unwrap();
    WriteLog::open(path).unwrap()
}

#[test]
fn what_was_flushed_is_always_there_and_the_rest_in_any_mix() {
    let directory = tempfile::tempdir().unwrap();
    let log = log_of(
        &directory.path().join("log"),
        &[(8, 1, 0), (10, 1, 0), (0, 0, FLUSH), (8, 2, 0), (12, 2, FUA), (8, 3, 0), (0, 0, FLUSH)],
    );
    assert_eq!(log.entries.len(), 7);
    assert_eq!(log.entries_until(log.entries[2].end), 3);
    let mut rebuilder = Rebuilder::new(&log, vec![0; 16 * SECTOR_BYTES]);
    let image = directory.path().join("image");
    let mut seen = BTreeSet::new();
    rebuilder.advance(6).unwrap();
    assert_eq!(rebuilder.unflushed(), 3);
    for seed in 0..1000 {
        rebuilder.write_to(&image, seed).unwrap();
        let bytes = std::fs::read(&image).unwrap();
        let sector = |index: usize| bytes[index * SECTOR_BYTES];
        assert_eq!([sector(0), sector(10), sector(11), sector(12), sector(13)], [0, 1, 1, 2, 2]);
        seen.insert((sector(8), sector(9)));
    }
    let all = (1..=3).flat_map(|a| (1..=3).map(move |b| (a, b))).collect();
    assert_eq!(seen, all, "every mix of the old and the two new writes, torn at 512 bytes");
    rebuilder.advance(7).unwrap();
    rebuilder.write_to(&image, 1).unwrap();
    assert_eq!(std::fs::read(&image).unwrap()[8 * SECTOR_BYTES], 3);
}
