use std::fs;

use crate::coordinates::{Rank, SegmentId};

use super::*;
use crate::journal::frame::{frame_bytes, put_record};
use crate::journal::record::WordRecord;
use crate::state::word::Word;

const FILE_BYTES: usize = 1 << 20;

/// A file with one frame per entry of `records`, the number of its records. Each record holds its frame's
/// number.
fn file(sequence: u64, first_frame: u64, records: &[u32], durable: impl Fn(u64) -> u64) -> Vec<u8> {
    let mut bytes = vec![0; FILE_BYTES];
    let file_bytes = FILE_BYTES as u64;
    Head { file_sequence: sequence, first_frame, boot_id: [1; 16], file_bytes }.encode(&mut bytes);
    let mut at = HEAD_BYTES;
    for (frame, records) in (first_frame..).zip(records) {
        let word = Word::from_bits(frame << 34);
        let record = Record::Word(WordRecord {
            cause: crate::journal::record::Cause::of(crate::journal::cause::ChangeKind::Other),
            pool: 1,
            segment: SegmentId(1),
            rank: Rank(0),
            word,
            holder: 0,
        });
        (0..*records).for_each(|index| put_record(&mut bytes[at..], index as usize, &record));
        let head = FrameHead {
            file_sequence: sequence,
            sequence: frame,
            durable_below: durable(frame),
            records: *records,
            ..FrameHead::default()
        };
        at += head.seal(&mut bytes[at..]);
    }
    bytes
}

/// Each frame says that those before it are durable.
fn synced(frame: u64) -> u64 {
    frame
}

/// Reads such files. Also returns the frames whose records were applied.
fn read_files(files: &[(u64, &[u8])], on_damage: OnDamage) -> (Result<Recovered, RecoveryError>, Vec<u64>) {
    let dir = tempfile::tempdir().unwrap();
    for (sequence, bytes) in files {
        fs::write(file::path_of(dir.path(), *sequence), bytes).unwrap();
    }
    let mut frames = Vec::new();
    let recovered = read(dir.path(), on_damage, &mut |frame, _| frames.push(frame.sequence));
    frames.dedup();
    (recovered, frames)
}

fn damage_of(files: &[(u64, &[u8])]) -> Damage {
    match read_files(files, OnDamage::Refuse).0 {
        Err(RecoveryError::Damaged(damage)) => damage,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_torn_end_is_cut_whatever_is_left_of_it() {
    let (two, whole) = (file(3, 10, &[1, 200], synced), file(3, 10, &[1, 200, 300], synced));
    let start = HEAD_BYTES + frame_bytes(1) + frame_bytes(200);
    let sectors = frame_bytes(300) / SECTOR_BYTES;
    for kept in (0..1 << sectors.min(9)).chain([(1 << sectors) - 2]) {
        let mut torn = two.clone();
        let kept_sectors = (0..sectors).filter(|sector| kept >> sector & 1 == 1);
        for at in kept_sectors.clone().map(|sector| start + sector * SECTOR_BYTES) {
            torn[at..at + SECTOR_BYTES].copy_from_slice(&whole[at..at + SECTOR_BYTES]);
        }
        let (recovered, frames) = read_files(&[(3, &torn)], OnDamage::Refuse);
        let recovered = recovered.unwrap();
        assert_eq!((recovered.frames, recovered.records, recovered.next_frame), (2, 201, 12), "{kept:b}");
        assert_eq!(recovered.cut_bytes, (kept_sectors.count() * SECTOR_BYTES) as u64);
        assert_eq!(frames, [10, 11]);
        // After the cut the next file continues with the same number.
        let next = file(4, 12, &[5], synced);
        let (recovered, frames) = read_files(&[(3, &torn), (4, &next)], OnDamage::Refuse);
        assert_eq!((recovered.unwrap().next_frame, frames), (13, vec![10, 11, 12]));
    }
}

#[test]
fn frames_behind_a_gap_that_were_never_confirmed_are_cut_too() {
    let mut bytes = file(1, 1, &[1, 1, 1, 1], |frame| frame.min(2));
    bytes[HEAD_BYTES + PAGE_BYTES..HEAD_BYTES + 2 * PAGE_BYTES].fill(0);
    let (recovered, frames) = read_files(&[(1, &bytes)], OnDamage::Refuse);
    assert_eq!((recovered.unwrap().next_frame, frames), (2, vec![1]));
}

#[test]
fn damage_before_the_end_is_refused_with_its_place_or_passed_over() {
    let whole = file(1, 1, &[1, 30, 1], synced);
    let second = HEAD_BYTES + frame_bytes(1);
    let cases: [(usize, &str); 3] = [(second + 3, "changed"), (second + 600, "changed"), (20, "head")];
    for (at, what) in cases {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        let damage = damage_of(&[(1, &damaged)]);
        let sector = if at < HEAD_BYTES { 0 } else { at / SECTOR_BYTES * SECTOR_BYTES };
        assert_eq!(damage.offset, sector as u64);
        assert!(damage.to_string().contains(what), "{damage}");
    }
    let mut damaged = whole;
    damaged[second..second + SECTOR_BYTES].fill(0);
    assert!(damage_of(&[(1, &damaged)]).what.contains("is not whole"));
    let (recovered, frames) = read_files(&[(1, &damaged)], OnDamage::GiveUp);
    let recovered = recovered.unwrap();
    assert_eq!((frames, recovered.next_frame), (vec![1, 3], 4));
    assert!(!recovered.damage.is_empty());
}

#[test]
fn files_follow_each_other_and_old_frames_are_not_taken() {
    // The second file is reused: its end holds the frames of its earlier use.
    let first = file(8, 20, &[1, 1, 1], synced);
    let mut second = file(7, 15, &[1, 1, 1, 1, 1], synced);
    let new = file(9, 23, &[1, 1], synced);
    second[..HEAD_BYTES + 2 * PAGE_BYTES].copy_from_slice(&new[..HEAD_BYTES + 2 * PAGE_BYTES]);
    let (recovered, frames) = read_files(&[(8, &first), (9, &second)], OnDamage::Refuse);
    let recovered = recovered.unwrap();
    assert_eq!((recovered.files, recovered.next_frame), (vec![8, 9], 25));
    assert_eq!(frames, [20, 21, 22, 23, 24]);
    let third = file(11, 25, &[1], synced);
    assert!(damage_of(&[(8, &first), (9, &second), (11, &third)]).what.contains("file 10 is missing"));
    let short = file(8, 20, &[1, 1], synced);
    assert!(damage_of(&[(8, &short), (9, &second)]).what.contains("is not whole"));
    assert!(damage_of(&[(8, &second)]).what.contains("that of file 9"));
    assert!(damage_of(&[(9, &second[..FILE_BYTES - 1])]).what.contains("bytes, its head says"));
}

/// The last frame of the file is a clean end.
fn closed(mut bytes: Vec<u8>, at: usize) -> Vec<u8> {
    let sequence = Frame::decode(&bytes[at..], Head::decode(&bytes).unwrap().file_sequence).unwrap().head;
    FrameHead { clean: true, ..sequence }.seal(&mut bytes[at..]);
    bytes
}

#[test]
fn a_clean_end_covers_its_own_file_only() {
    let first = closed(file(1, 1, &[1, 0], synced), HEAD_BYTES + frame_bytes(1));
    assert!(read_files(&[(1, &first)], OnDamage::Refuse).0.unwrap().clean);
    // A start without a frame yet, and one with frames.
    for records in [vec![], vec![0], vec![0, 5]] {
        let second = file(2, 3, &records, synced);
        let files = [(1, &first[..]), (2, &second[..])];
        assert!(!read_files(&files, OnDamage::Refuse).0.unwrap().clean);
    }
    let second = file(2, 3, &[0, 5], synced);
    for byte in 0..frame_bytes(0) {
        let mut flipped = second.clone();
        flipped[HEAD_BYTES + byte] ^= 0x20;
        let damage = damage_of(&[(1, &first), (2, &flipped)]);
        assert_eq!(damage.offset as usize / SECTOR_BYTES, (HEAD_BYTES + byte) / SECTOR_BYTES);
    }
    // The only frame of a file, too.
    let mut flipped = file(2, 3, &[5], synced);
    flipped[HEAD_BYTES + 40] ^= 0x20;
    assert!(damage_of(&[(1, &first), (2, &flipped)]).what.contains("changed"));
}

#[test]
fn an_empty_directory_and_a_file_without_frames_are_sound() {
    let (recovered, _) = read_files(&[], OnDamage::Refuse);
    assert_eq!(recovered.unwrap(), Recovered::default());
    let (recovered, _) = read_files(&[(4, &file(4, 30, &[], synced))], OnDamage::Refuse);
    let recovered = recovered.unwrap();
    assert_eq!((recovered.files, recovered.next_frame, recovered.last), (vec![4], 30, None));
}
