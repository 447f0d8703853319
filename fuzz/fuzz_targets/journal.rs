//! Any bytes as a journal directory. The first byte chooses: two files as they are; two files of sectors whose
//! checksums are right and whose fields are anything; or a valid journal with one change. None may panic; what
//! decodes must be the same when it is written again; and what is recovered must be what was written, from its
//! beginning, up to where the change is at least.

#![no_main]

use std::fs;
use std::path::Path;

use allotd::coordinates::{Rank, SegmentId};
use allotd::disk::mapping::PAGE_BYTES;
use allotd::journal::on_damage::OnDamage;
use allotd::journal::file::path_of;
use allotd::journal::frame::{Frame, FrameHead, HEAD_BYTES, Head, MAX_FRAME_BYTES, SECTOR_BYTES, Sector, frame_bytes, put_record};
use allotd::journal::cause::{Cause, ChangeKind};
use allotd::journal::record::{Record, WordRecord};
use allotd::journal::recovery::{self, Recovered, RecoveryError};
use allotd::state::word::Word;
use libfuzzer_sys::fuzz_target;

const MAX_FRAMES: u8 = 4;
const FIRST_FILE: u64 = 7;

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, rest)) = bytes.split_first() else { return };
    // In memory where there is such a place.
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let dir = tempfile::tempdir_in(place).expect("a directory");
    let mut input = Input(rest);
    match choice % 3 {
        0 => any_bytes(dir.path(), &mut input),
        1 => any_sectors(dir.path(), &mut input),
        _ => changed(dir.path(), &mut input),
    }
});

/// Takes the input apart; zeros when there is no more.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn word(&mut self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }

    /// Mostly a small number, now and then any.
    fn sequence(&mut self) -> u64 {
        match self.byte() {
            255 => self.word(),
            small => u64::from(small % 16),
        }
    }
}

fn read(dir: &Path, on_damage: OnDamage) -> (Result<Recovered, RecoveryError>, Vec<Record>) {
    let mut records = Vec::new();
    let result = recovery::read(dir, on_damage, &mut |_, record| records.push(*record));
    (result, records)
}

/// Reads a directory of which nothing is known.
fn read_any(dir: &Path) {
    let (refusing, _) = read(dir, OnDamage::Refuse);
    let (passing, records) = read(dir, OnDamage::GiveUp);
    if let Ok(recovered) = &passing {
        // Records of unknown kind are counted and not given.
        assert!(records.len() as u64 <= recovered.records);
        assert_eq!(refusing.is_ok(), recovered.damage.is_empty(), "{refusing:?} {recovered:?}");
    }
}

fn any_bytes(dir: &Path, input: &mut Input<'_>) {
    let split = usize::from(input.byte()) * input.0.len() / 256;
    let (one, two) = input.0.split_at(split);
    for (sequence, bytes) in [(FIRST_FILE, one), (FIRST_FILE + 1, two)] {
        fs::write(path_of(dir, sequence), bytes).expect("a write");
        decode_any(bytes, sequence);
    }
    read_any(dir);
}

/// Every frame that decodes is the same when it is written again.
fn decode_any(bytes: &[u8], file_sequence: u64) {
    for at in (0..bytes.len()).step_by(SECTOR_BYTES) {
        let Some(frame) = Frame::decode(&bytes[at..], file_sequence) else { continue };
        let records: Vec<_> = frame.records().collect();
        let again = sealed(&FrameHead { records: records.len() as u32, ..frame.head }, &records);
        let read = Frame::decode(&again, file_sequence).expect("a frame that was just written");
        assert_eq!(FrameHead { records: frame.head.records, ..read.head }, frame.head);
        assert!(read.records().eq(records.iter().copied()));
    }
}

fn sealed(head: &FrameHead, records: &[Record]) -> Vec<u8> {
    let mut buffer = vec![0xFF; frame_bytes(records.len()).max(PAGE_BYTES)];
    for (index, record) in records.iter().enumerate() {
        put_record(&mut buffer, index, record);
    }
    let bytes = head.seal(&mut buffer);
    buffer.truncate(bytes);
    buffer
}

/// Two files with good heads, of sectors that say anything: `src/journal/frame.rs` has the layout.
fn any_sectors(dir: &Path, input: &mut Input<'_>) {
    for sequence in [FIRST_FILE, FIRST_FILE + 1] {
        let pages = usize::from(input.byte() % 4);
        let first_frame = input.sequence();
        let mut file = vec![0; HEAD_BYTES + pages * PAGE_BYTES];
        let head =
            Head { file_sequence: sequence, first_frame, boot_id: [0; 16], file_bytes: file.len() as u64 };
        head.encode(&mut file);
        for sector in file[HEAD_BYTES..].chunks_exact_mut(SECTOR_BYTES) {
            if input.byte() % 4 == 0 {
                continue;
            }
            sector[4..8].copy_from_slice(b"ALJF");
            let of = if input.byte() % 8 == 0 { input.sequence() } else { sequence };
            sector[8..16].copy_from_slice(&of.to_le_bytes());
            sector[16..24].copy_from_slice(&input.sequence().to_le_bytes());
            for at in [24, 26] {
                let small = if input.byte() == 255 { input.word() as u16 } else { u16::from(input.byte() % 10) };
                sector[at..at + 2].copy_from_slice(&small.to_le_bytes());
            }
            sector[28] = input.byte();
            sector[29] = input.byte();
            sector[32..40].copy_from_slice(&input.sequence().to_le_bytes());
            sector[74] = input.byte() % 5;
            let checksum = crc32c::crc32c(&sector[4..]);
            sector[..4].copy_from_slice(&checksum.to_le_bytes());
        }
        decode_any(&file, sequence);
        fs::write(path_of(dir, sequence), file).expect("a write");
    }
    read_any(dir);
}

/// A journal as the writer leaves it.
struct Journal {
    files: Vec<Vec<u8>>,
    /// By frame: the file, where it begins in it, its records.
    frames: Vec<(usize, usize, Vec<Record>)>,
}

impl Journal {
    fn make(input: &mut Input<'_>) -> Self {
        let mut journal = Self { files: Vec::new(), frames: Vec::new() };
        let mut sequence = u64::from(input.byte()) + 1;
        let mut rank = 0;
        for index in 0..1 + usize::from(input.byte() % 2) {
            let file_sequence = FIRST_FILE + index as u64;
            let (first_frame, mut file) = (sequence, vec![0; HEAD_BYTES]);
            for _ in 0..input.byte() % (MAX_FRAMES + 1) {
                let count = u32::from(input.byte());
                let record = |rank: u32| {
                    let word = Word::from_bits(u64::from(rank) << 34);
                    let cause = Cause::of(ChangeKind::Leased);
                    Record::Word(WordRecord { pool: 1, segment: SegmentId(1), rank: Rank(rank), word, holder: 0, cause })
                };
                let records: Vec<_> = (rank..rank + count).map(record).collect();
                rank += count;
                // All before it, or some later, as in the modes that do not sync each frame.
                let durable_below = sequence.saturating_sub(u64::from(input.byte() % 3)).max(first_frame);
                let head = FrameHead { file_sequence, sequence, durable_below, records: count, ..FrameHead::default() };
                journal.frames.push((index, file.len(), records.clone()));
                file.extend(sealed(&head, &records));
                sequence += 1;
            }
            // What the file held before it was used again.
            let old = FrameHead { file_sequence: 1, sequence: 1, ..FrameHead::default() };
            file.extend(if input.byte() % 2 == 0 { vec![0; PAGE_BYTES] } else { sealed(&old, &[]) });
            let head = Head { file_sequence, first_frame, boot_id: [1; 16], file_bytes: file.len() as u64 };
            head.encode(&mut file);
            journal.files.push(file);
        }
        journal
    }

    fn write(&self, dir: &Path) {
        for (index, file) in self.files.iter().enumerate() {
            fs::write(path_of(dir, FIRST_FILE + index as u64), file).expect("a write");
        }
    }

    fn records(&self, frames: usize) -> Vec<Record> {
        self.frames[..frames].iter().flat_map(|(_, _, records)| records.iter().copied()).collect()
    }

    /// Changes one thing; the file and the first byte that may differ.
    fn change(&mut self, input: &mut Input<'_>) -> (usize, usize) {
        let index = usize::from(input.byte()) % self.files.len();
        let kind = input.byte() % 5;
        let place = input.word() as usize;
        let file = &mut self.files[index];
        let at = place % file.len();
        let sector = at / SECTOR_BYTES * SECTOR_BYTES;
        match kind {
            0 => file[at] ^= input.byte(),
            1 => file[sector..sector + SECTOR_BYTES].fill(0),
            2 => file.truncate(at),
            3 => {
                let from = input.word() as usize % (file.len() / SECTOR_BYTES) * SECTOR_BYTES;
                file.copy_within(from..from + SECTOR_BYTES, sector);
            }
            // A torn write: everything from here on is as it was before.
            _ => file[sector..].fill(0),
        }
        (index, if matches!(kind, 0 | 2) { at } else { sector })
    }
}

fn changed(dir: &Path, input: &mut Input<'_>) {
    let mut journal = Journal::make(input);
    let all = journal.records(journal.frames.len());
    journal.write(dir);
    let (result, records) = read(dir, OnDamage::Refuse);
    let recovered = result.expect("a valid journal");
    assert_eq!((records, recovered.frames), (all.clone(), journal.frames.len() as u64));
    for (index, at, records) in &journal.frames {
        let frame = Frame::decode(&journal.files[*index][*at..], FIRST_FILE + *index as u64).expect("a frame");
        let again = sealed(&frame.head, records);
        assert_eq!(again, journal.files[*index][*at..*at + frame.bytes()], "written again it differs");
        let first = Sector::read(&again[..SECTOR_BYTES], frame.head.file_sequence);
        assert!(matches!(first, Sector::Written { index: 0, .. }) && again.len() <= MAX_FRAME_BYTES);
    }

    let (index, at) = journal.change(input);
    journal.write(dir);
    let (refusing, records) = read(dir, OnDamage::Refuse);
    if refusing.is_ok() {
        let before = journal.frames.iter().filter(|(file, start, records)| {
            *file < index || (*file == index && start + frame_bytes(records.len()) <= at)
        });
        let whole = before.count();
        let prefix = (whole..=journal.frames.len()).any(|frames| journal.records(frames) == records);
        assert!(prefix, "{} records are no beginning of those written", records.len());
    }
    let (passing, records) = read(dir, OnDamage::GiveUp);
    if let Ok(recovered) = passing {
        assert_eq!(refusing.is_ok(), recovered.damage.is_empty());
        let mut written = all.iter();
        assert!(records.iter().all(|record| written.any(|other| other == record)), "one that was not written");
    }
}
