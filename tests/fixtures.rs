//! Files of each version of a format, kept so that later versions go on reading them. `ALLOTD_WRITE_FIXTURES=1`
//! writes those of a version that has none yet; never change one that is there.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;

use allotd::coordinates::{Rank, SegmentId};
use allotd::journal::cause::{Cause, ChangeKind};
use allotd::journal::file::path_of;
use allotd::journal::frame::{FrameHead, HEAD_BYTES, Head, frame_bytes, put_record};
use allotd::journal::marks::MarkKind;
use allotd::journal::on_damage::OnDamage;
use allotd::journal::record::{
    HolderRecord, KeyLeaseRecord, KeyRecord, ListRecord, MarksRecord, OldKeyLeaseRecord, Record, RoundRecord,
    WordRecord,
};
use allotd::journal::recovery::read;
use allotd::state::floors::Floors;
use allotd::state::holder_column::HolderId;
use allotd::state::time::Timestamp;
use allotd::state::word::{NextWord, Word};

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// The bits of a word that count attempts.
const ATTEMPTS: u64 = 0xF << 34;

/// One record of each kind, and what can become of a word. `lease` is the lease of a key, `later` are the kinds that
/// earlier formats do not have. The words count `attempts`, which formats 1 to 3 do not have. Those before format 5 have
/// no `cause`.
fn records(lease: Record, later: &[Record], attempts: bool, cause: Cause) -> Vec<Vec<Record>> {
    let leased = Word::NEW.lease(Timestamp::new(1_000), Floors::NONE).unwrap();
    let leased = if attempts { leased } else { Word::from_bits(leased.bits() & !ATTEMPTS) };
    let words = [
        leased,
        leased.renew(Timestamp::new(2_000)).unwrap(),
        leased.return_lease(NextWord::Rest(Timestamp::new(3_000))).unwrap(),
        leased.return_lease(NextWord::Done(7)).unwrap(),
        leased.retire().unwrap(),
    ];
    let word = |(rank, word)| {
        Record::Word(WordRecord { cause, pool: 11, segment: SegmentId(2), rank: Rank(rank), word, holder: 5 })
    };
    let key = KeyRecord { key: *b"0123456789abcdef", body: 13, leases: 1, until_seconds: 1_000 };
    let others = [Record::Key(key), lease].into_iter().chain(later.iter().copied());
    vec![(0..).zip(words).map(word).collect(), others.collect()]
}

/// A lease of a key as format 1 has it.
fn old_lease() -> Record {
    let (pool, segment, rank) = (11, SegmentId(2), Rank(0));
    Record::OldKeyLease(OldKeyLeaseRecord { pool, segment, rank, key_start: *b"01234567", generation: 1 })
}

fn new_lease() -> Record {
    let (pool, number, until_tag) = (11, 79_123_456_789, 1_000);
    Record::KeyLease(KeyLeaseRecord { pool, number, key_start: *b"01234567", generation: 1, until_tag })
}

fn list_change() -> Record {
    Record::List(ListRecord { list: 19, on: true, first: 79_123_456_789, more: 99, sequence: 23 })
}

fn holder() -> [Record; 3] {
    let holder = HolderId((1 << 33) + 5);
    let mut parts = HolderRecord::of(11, holder, "Анна, 2-й стол", true).map(Record::Holder);
    let mut part = || parts.next().unwrap();
    [part(), part(), Record::Holder(HolderRecord::given_out(11, HolderId(holder.0 + 1)))]
}

fn format_4() -> Vec<Record> {
    [list_change()].into_iter().chain(holder()).collect()
}

fn format_5() -> Vec<Record> {
    format_4().into_iter().chain([Record::Round(RoundRecord { pool: 11, round: 8 })]).collect()
}

fn format_6() -> Vec<Record> {
    let (segment, kind) = (SegmentId(2), MarkKind::Unblocked);
    let marks = MarksRecord { pool: 11, segment, kind, base: Rank(64), bits: 0b1011, sequence: 29 };
    format_5().into_iter().chain([Record::Marks(marks)]).collect()
}

fn journal() -> Vec<u8> {
    let frames = records(new_lease(), &format_6(), true, Cause::returned(0xF_1234));
    let lengths = frames.iter().map(|records| frame_bytes(records.len()));
    let mut bytes = vec![0; HEAD_BYTES + lengths.sum::<usize>()];
    let file_bytes = bytes.len() as u64;
    Head { file_sequence: 3, first_frame: 41, boot_id: [9; 16], file_bytes }.encode(&mut bytes);
    let mut at = HEAD_BYTES;
    for (sequence, records) in (41..).zip(&frames) {
        for (index, record) in records.iter().enumerate() {
            put_record(&mut bytes[at..], index, record);
        }
        let head = FrameHead {
            file_sequence: 3,
            sequence,
            durable_below: sequence,
            epoch: 0,
            time_nanos: 900_000_000_000,
            boot_nanos: 17,
            records: records.len() as u32,
            clean: sequence == 42,
        };
        at += head.seal(&mut bytes[at..]);
    }
    bytes
}

#[test]
fn journals_of_this_format_are_written_the_same() {
    let path = fixture("format-6.journal");
    if std::env::var_os("ALLOTD_WRITE_FIXTURES").is_some() && !path.exists() {
        fs::write(&path, journal()).unwrap();
    }
    let kept = fs::read(&path).unwrap();
    assert_eq!(journal(), kept, "what is written now is another format: give it another number");
}

#[test]
fn journals_of_each_format_are_read() {
    let unknown = Cause::of(ChangeKind::Other);
    for (name, lease, later, attempts, cause) in [
        ("format-1.journal", old_lease(), vec![], false, unknown),
        ("format-2.journal", new_lease(), vec![], false, unknown),
        ("format-3.journal", new_lease(), vec![list_change()], false, unknown),
        ("format-4.journal", new_lease(), format_4(), true, unknown),
        ("format-5.journal", new_lease(), format_5(), true, Cause::returned(0xF_1234)),
        ("format-6.journal", new_lease(), format_6(), true, Cause::returned(0xF_1234)),
    ] {
        let dir = tempfile::tempdir().unwrap();
        fs::copy(fixture(name), path_of(dir.path(), 3)).unwrap();
        let mut found = Vec::new();
        let recovered = read(dir.path(), OnDamage::Refuse, &mut |frame, record| {
            found.push((frame.sequence, *record));
        })
        .unwrap();
        let expected = (41..).zip(records(lease, &later, attempts, cause)).flat_map(|(frame, records)| {
            records.into_iter().map(move |record| (frame, record)).collect::<Vec<_>>()
        });
        assert_eq!(found, expected.collect::<Vec<_>>(), "{name}");
        assert_eq!((recovered.frames, recovered.next_frame, recovered.clean), (2, 43, true), "{name}");
    }
}
