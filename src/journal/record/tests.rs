use super::*;
use crate::journal::marks::{KIND_MARKS, MarkKind};
use proptest::prelude::*;

fn record() -> impl Strategy<Value = Record> {
    let word = (any::<u64>(), any::<u16>(), any::<u32>(), any::<u64>(), any::<u64>());
    let key = (any::<[u8; 16]>(), any::<u64>(), 1..=65_536_u32, any::<u32>());
    let lease = || (any::<u64>(), any::<u16>(), any::<u32>(), any::<[u8; 8]>(), any::<u32>());
    prop_oneof![
        lease().prop_map(|(pool, until_tag, generation, key_start, low)| {
            let number = u64::from(low);
            Record::KeyLease(KeyLeaseRecord { pool, number, key_start, generation, until_tag })
        }),
        word.prop_map(|(list, on, more, first, sequence)| {
            Record::List(ListRecord { list, on: on % 2 == 1, first, more, sequence })
        }),
        lease().prop_map(|(pool, segment, rank, key_start, generation)| {
            Record::OldKeyLease(OldKeyLeaseRecord {
                pool,
                segment: SegmentId(segment),
                rank: Rank(rank),
                key_start,
                generation,
            })
        }),
        (word, any::<u32>()).prop_map(|((pool, segment, rank, bits, holder), cause)| {
            Record::Word(WordRecord {
                cause: Cause::of_parts(cause as u8, u64::from(cause >> 17)),
                pool,
                segment: SegmentId(segment),
                rank: Rank(rank),
                word: Word::from_bits(bits),
                holder: holder & !CAUSE_BITS,
            })
        }),
        (any::<u64>(), 0_u64..1 << 48, any::<u8>(), any::<u8>(), any::<[u8; HOLDER_PART_BYTES]>()).prop_map(
            |(pool, id, part, shape, text)| {
                Record::Holder(HolderRecord { pool, holder: HolderId(id), part, shape, text })
            }
        ),
        (any::<u64>(), any::<u32>()).prop_map(|(pool, round)| Record::Round(RoundRecord { pool, round })),
        (word, 0_usize..3).prop_map(|((pool, segment, base, bits, sequence), kind)| {
            let kind = MarkKind::ALL[kind];
            let (segment, base) = (SegmentId(segment), Rank(base));
            Record::Marks(MarksRecord { pool, segment, kind, base, bits, sequence })
        }),
        key.prop_map(|(key, body, leases, until_seconds)| {
            Record::Key(KeyRecord { key, body, leases, until_seconds })
        }),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(record in record()) {
        prop_assert_eq!(Record::decode(&record.encode()), Ok(record));
    }

    #[test]
    fn any_bytes_are_a_record_or_an_error(bytes: [u8; RECORD_BYTES], kind in 0_u16..11) {
        is_a_record_or_an_error(bytes, kind);
    }
}

#[test]
fn a_last_byte_beside_zeros_is_kept() {
    let mut bytes = [0; RECORD_BYTES];
    bytes[RECORD_BYTES - 1] = 1;
    (0..11).for_each(|kind| is_a_record_or_an_error(bytes, kind));
}

fn is_a_record_or_an_error(mut bytes: [u8; RECORD_BYTES], kind: u16) {
    bytes[10] = kind as u8;
    bytes[11] = u8::from(kind == KIND_MARKS);
    match Record::decode(&bytes) {
        Ok(record) => assert_eq!(Record::decode(&record.encode()), Ok(record)),
        Err(UnknownKind(other)) => assert!(other == kind && !(1..=9).contains(&kind)),
    }
}
