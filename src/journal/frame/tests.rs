use super::*;
use crate::coordinates::{Rank, SegmentId};
use crate::journal::record::WordRecord;
use crate::state::word::Word;

const FILE: u64 = 7;

fn word_record(rank: u32) -> Record {
    Record::Word(WordRecord {
        cause: crate::journal::record::Cause::of(crate::journal::cause::ChangeKind::Other),
        pool: 5,
        segment: SegmentId(1),
        rank: Rank(rank),
        word: Word::from_bits(u64::from(rank) << 34),
        holder: 0,
    })
}

fn frame(records: u32) -> Vec<u8> {
    let mut buffer = vec![0xFF; MAX_FRAME_BYTES];
    for rank in 0..records {
        put_record(&mut buffer, rank as usize, &word_record(rank));
    }
    let head = FrameHead { file_sequence: FILE, sequence: 901, records, clean: true, ..FrameHead::default() };
    let bytes = head.seal(&mut buffer);
    buffer.truncate(bytes);
    buffer
}

#[test]
fn a_head_reads_back_and_every_flipped_bit_that_matters_is_seen() {
    let head = Head {
        file_sequence: FILE,
        first_frame: 900,
        boot_id: *b"0123456789abcdef",
        file_bytes: HEAD_BYTES as u64,
    };
    let mut page = vec![0xFF; HEAD_BYTES];
    head.encode(&mut page);
    assert_eq!(Head::decode(&page), Ok(head));
    for bit in 0..HEAD_BYTES * 8 {
        let mut flipped = page.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let read = Head::decode(&flipped);
        assert_eq!(read.is_err(), bit / 8 < HEAD_USED_BYTES, "bit {bit}: {read:?}");
    }
    assert_eq!(Head::decode(&page[1..]), Err(HeadError::NotAJournal));
    page.push(0);
    assert!(matches!(Head::decode(&page), Err(HeadError::Length { .. })));
}

#[test]
fn a_frame_reads_back_and_every_flipped_bit_is_damage() {
    for records in [0, 1, 118, 119, 120, 1000] {
        let bytes = frame(records);
        assert_eq!(bytes.len(), frame_bytes(records as usize));
        let read = Frame::decode(&bytes, FILE).unwrap();
        assert_eq!((read.head.sequence, read.head.clean, read.bytes()), (901, true, bytes.len()));
        assert_eq!(read.head.records, records);
        assert_eq!(read.records().collect::<Vec<_>>(), (0..records).map(word_record).collect::<Vec<_>>());
        assert!(Frame::decode(&bytes, FILE + 1).is_none());
    }
    let bytes = frame(3);
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(Frame::decode(&flipped, FILE).is_none(), "bit {bit}");
        let sector = bit / 8 / SECTOR_BYTES * SECTOR_BYTES;
        assert_eq!(Sector::read(&flipped[sector..sector + SECTOR_BYTES], FILE), Sector::Damaged);
    }
    for cut in 0..bytes.len() {
        assert!(Frame::decode(&bytes[..cut], FILE).is_none(), "{cut}");
    }
}

#[test]
fn a_sector_that_was_not_written_is_not_taken_for_damage() {
    let new = frame(100);
    for (old, sequence) in [(vec![0; SECTOR_BYTES], FILE), (new[..SECTOR_BYTES].to_vec(), FILE + 1)] {
        assert_eq!(Sector::read(&old, sequence), Sector::Old);
    }
    for sector in 0..new.len() / SECTOR_BYTES {
        let mut torn = new.clone();
        torn[sector * SECTOR_BYTES..(sector + 1) * SECTOR_BYTES].fill(0);
        assert!(Frame::decode(&torn, FILE).is_none());
    }
}

#[test]
fn the_largest_frame_fits() {
    let bytes = frame(MAX_FRAME_RECORDS as u32);
    assert_eq!(bytes.len(), MAX_FRAME_BYTES);
    assert_eq!(Frame::decode(&bytes, FILE).unwrap().records().count(), MAX_FRAME_RECORDS);
}
