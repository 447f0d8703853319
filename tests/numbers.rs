//! Number sets against the reference implementations of their format, damaged number sets, and number lists
//! against a reading line by line.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeSet;
use std::io::Cursor;

use allotd::coordinates::Rank;
use allotd::numbers::list::error::ListError;
use allotd::numbers::list::read::{read_list, read_list_in_blocks};
use allotd::numbers::list::{ListFormat, ListOptions, OnInvalid, parse_line};
use allotd::numbers::number::{Number, NumberRange};
use allotd::numbers::sample::{Spread, ru_mobile_sample};
use allotd::numbers::set::NumberSet;
use allotd::numbers::set::writer::SetWriter;
use croaring::{Bitmap64, Portable};
use proptest::collection::vec;
use proptest::prelude::*;
use roaring::RoaringTreemap;

/// Most ranks checked in one set.
const MAX_LOOKS: u64 = 400;

fn number(value: u64) -> Option<Number> {
    Number::new(value).ok()
}

fn written(ranges: impl Iterator<Item = NumberRange>) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let mut writer = SetWriter::new(&mut bytes).unwrap();
    ranges.for_each(|range| writer.push(range).unwrap());
    writer.finish().unwrap();
    bytes.into_inner()
}

/// Compares every query with `CRoaring` at up to [`MAX_LOOKS`] ranks, at their neighbours, and at `also`.
fn assert_same(bytes: &[u8], set: &NumberSet<&[u8]>, reference: &Bitmap64, also: &[u64]) {
    assert_eq!(set.len(), reference.cardinality(), "{bytes:?}");
    let len = set.len();
    let step = (len / MAX_LOOKS).max(1) as usize;
    let mut values: BTreeSet<u64> = also.iter().copied().collect();
    for rank in (0..len).step_by(step).chain(len.checked_sub(1)) {
        let selected = set.select(Rank(rank as u32)).map(Number::get);
        assert_eq!(selected, reference.select(rank), "select {rank}");
        values.extend(selected.into_iter().flat_map(|value| [value.saturating_sub(1), value, value + 1]));
        let first = set.ranges_from(Rank(rank as u32)).next().map(|range| range.first().get());
        assert_eq!(first, selected, "ranges from {rank}");
    }
    assert_eq!(set.select(Rank(len as u32)), None);
    assert_eq!(set.ranges_from(Rank(len as u32)).next(), None);
    let numbers: Vec<Number> = values.into_iter().filter_map(number).collect();
    for (number, far) in numbers.iter().zip(numbers.iter().rev()) {
        let value = number.get();
        assert_eq!(set.contains(*number), reference.contains(value), "contains {value}");
        assert_eq!(
            set.rank(*number).map(|rank| u64::from(rank.0)),
            reference.position(value),
            "rank {value}"
        );
        let Ok(range) = NumberRange::new(*number, *far) else { continue };
        let ranks = set.rank_range(range);
        assert_eq!(
            u64::from(ranks.start.0),
            value.checked_sub(1).map_or(0, |below| reference.rank(below)),
            "start of {range:?}"
        );
        assert_eq!(u64::from(ranks.end.0), reference.rank(far.get()), "end of {range:?}");
    }
    assert_same_ranges(set, reference);
}

/// The ranges hold all of the reference, and none could be longer.
fn assert_same_ranges(set: &NumberSet<&[u8]>, reference: &Bitmap64) {
    let mut counted = 0;
    for range in set.ranges() {
        let (first, last) = (range.first().get(), range.last().get());
        assert!(reference.contains_range(first..=last), "{range:?}");
        assert!(!reference.contains(last + 1), "{range:?} could be longer");
        assert_eq!(reference.position(first), Some(counted), "before {range:?}");
        counted += range.len();
    }
    assert_eq!(counted, reference.cardinality());
}

/// Opens bytes that may be damaged: no query panics, and what is valid is what `CRoaring` reads.
fn open_hostile(bytes: &[u8]) -> bool {
    let Ok(set) = NumberSet::open(bytes) else { return false };
    if set.validate().is_ok() {
        let reference = Bitmap64::try_deserialize::<Portable>(bytes).expect("CRoaring refuses a valid set");
        assert_same(bytes, &set, &reference, &[]);
        return true;
    }
    for rank in (0..set.len()).step_by((set.len() / 50).max(1) as usize) {
        let near = set.select(Rank(rank as u32)).unwrap_or(Number::MIN);
        let _ = (set.rank(near), set.rank_range(NumberRange::single(near)));
        let _ = set.ranges_from(Rank(rank as u32)).next();
    }
    let _ = set.ranges().count();
    false
}

/// A piece of a set: where it starts, and what lies there.
#[derive(Debug, Clone)]
enum Piece {
    Scattered(Vec<u64>),
    Run(u64),
    Stepped { count: u64, step: u64 },
}

fn piece() -> impl Strategy<Value = (u64, Piece)> {
    let start = prop_oneof![1..400_000_u64, 4_294_900_000..4_295_100_000_u64, 1..=999_999_990_000_000_u64];
    let shape = prop_oneof![
        vec(0..200_000_u64, 1..60).prop_map(Piece::Scattered),
        (1..150_000_u64).prop_map(Piece::Run),
        (4_000..40_000_u64, 2..5_u64).prop_map(|(count, step)| Piece::Stepped { count, step }),
    ];
    (start, shape)
}

fn values_of(pieces: &[(u64, Piece)]) -> BTreeSet<u64> {
    let mut values = BTreeSet::new();
    for (start, piece) in pieces {
        match piece {
            Piece::Scattered(steps) => values.extend(steps.iter().map(|step| start + step)),
            Piece::Run(len) => values.extend(*start..start + len),
            Piece::Stepped { count, step } => values.extend((0..*count).map(|i| start + i * step)),
        }
    }
    values.retain(|value| number(*value).is_some());
    values
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_view_is_what_croaring_and_roaring_say(pieces in vec(piece(), 1..9), also in vec(1..=u64::MAX >> 14, 20)) {
        let values = values_of(&pieces);
        let mut reference = Bitmap64::new();
        reference.add_many(&values.iter().copied().collect::<Vec<_>>());
        reference.remove_run_compression();
        let plain = reference.serialize::<Portable>();
        reference.run_optimize();
        let optimized = reference.serialize::<Portable>();
        let treemap: RoaringTreemap = values.iter().copied().collect();
        let mut rust = Vec::new();
        treemap.serialize_into(&mut rust).unwrap();
        for bytes in [plain, optimized, rust] {
            let set = NumberSet::open(bytes.as_slice()).unwrap();
            set.validate().unwrap();
            assert_same(&bytes, &set, &reference, &also);
            // The writer makes a set of the same numbers, and of the same bytes as others read.
            let again = written(set.ranges());
            let read = RoaringTreemap::deserialize_from(again.as_slice()).unwrap();
            prop_assert!(read == treemap);
            prop_assert!(Bitmap64::try_deserialize::<Portable>(&again).is_some_and(|read| read == reference));
        }
    }

    #[test]
    fn a_list_is_read_as_its_lines(
        lines in vec("(|#x|[1-9][0-9]{0,4}|\\+7 912 [0-9]{7}|[1-9][0-9]{7,15}|1000[0-9]-100[0-9]{2}|7[0-9]{1,3}\\*|[0-9x -]{1,20})\r?", 0..40),
        skip: bool,
        block_bytes in 1..40_usize,
    ) {
        let text = lines.join("\n");
        let options = ListOptions {
            on_invalid: if skip { OnInvalid::Skip } else { OnInvalid::Refuse },
            length: Some(5),
            ..ListOptions::default()
        };
        let (mut expected, mut read, mut faults) = (BTreeSet::new(), 0, Vec::new());
        for (line, index) in text.split('\n').zip(1_u64..) {
            match parse_line(line.as_bytes(), &options) {
                Ok(None) => {}
                Ok(Some(range)) => {
                    read += range.len();
                    prop_assume!(read < 100_000);
                    expected.extend(range.first().get()..=range.last().get());
                }
                Err(fault) => faults.push((index, fault)),
            }
        }
        match read_list_in_blocks(text.as_bytes(), &options, &|_| {}, block_bytes) {
            Err(ListError::InvalidLine(invalid)) => {
                prop_assert!(!skip);
                prop_assert_eq!(faults.first(), Some(&(invalid.line, invalid.reason)));
            }
            Err(error) => prop_assert!(matches!(error, ListError::Empty) && expected.is_empty(), "{}", error),
            Ok(list) => {
                prop_assert!(skip || faults.is_empty());
                prop_assert!(list.ranges().flat_map(|range| range.first().get()..=range.last().get()).eq(expected));
                prop_assert_eq!((list.invalid, list.numbers() + list.duplicates), (faults.len() as u64, read));
            }
        }
    }
}

/// Small sets of every container kind, under and over the four containers from which offsets are stated.
fn small_sets() -> Vec<Vec<u8>> {
    let mut sets = Vec::new();
    for containers in [1, 3, 4, 9] {
        for optimized in [false, true] {
            let mut reference = Bitmap64::new();
            for container in 0..containers {
                let base = (container % 2) << 32 | container << 16;
                reference.add_many(&[base + 3, base + 9, base + 65_535]);
                if container % 3 == 0 {
                    reference.add_range(base + 100..base + 140);
                    reference.add_range(base + 200..base + 260);
                }
            }
            if optimized {
                reference.run_optimize();
            } else {
                reference.remove_run_compression();
            }
            sets.push(reference.serialize::<Portable>());
        }
    }
    sets.push(Vec::new());
    sets.push(vec![0; 8]);
    sets
}

#[test]
fn every_flipped_bit_is_refused_or_read_as_croaring_reads_it() {
    let (mut accepted, mut refused) = (0, 0);
    for set in small_sets() {
        for bit in 0..set.len() * 8 {
            let mut damaged = set.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            *(if open_hostile(&damaged) { &mut accepted } else { &mut refused }) += 1;
        }
    }
    // A flipped value bit often gives another good set; both outcomes must have been seen.
    assert!(accepted > 100 && refused > 100, "{accepted} {refused}");
}

#[test]
fn a_flipped_bit_of_a_bitmap_container_is_always_refused() {
    let set = written((1..30_000).filter_map(|i| number(i * 2)).map(NumberRange::single));
    assert!(open_hostile(&set));
    for bit in (0..set.len() * 8).step_by(7) {
        let mut damaged = set.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        // The upper bits of the keys lead to another good set; everything else changes a count.
        let in_keys = (8..12).contains(&(bit / 8)) || (20..22).contains(&(bit / 8));
        assert!(in_keys || !open_hostile(&damaged), "bit {bit}");
    }
}

#[test]
fn truncated_and_lengthened_sets_are_refused() {
    for set in small_sets() {
        for len in 0..set.len() {
            assert!(!open_hostile(&set[..len]), "{len} of {}", set.len());
        }
        if !set.is_empty() {
            assert!(open_hostile(&set));
            for more in [1, 4, 100] {
                assert!(!open_hostile(&[set.as_slice(), &vec![0; more]].concat()), "{more} more");
            }
        }
    }
}

#[test]
fn hostile_counts_are_refused() {
    for set in small_sets().iter().filter(|set| set.len() > 20) {
        for count in [2_u64, 1 << 20, 1 << 32, u64::MAX] {
            let mut damaged = set.clone();
            damaged[..8].copy_from_slice(&count.to_le_bytes());
            let buckets = u64::from_le_bytes(set[..8].try_into().unwrap());
            assert!(count == buckets || !open_hostile(&damaged), "{count} buckets");
        }
        for count in [65_536_u32, 65_537, u32::MAX] {
            let mut damaged = set.clone();
            damaged[16..20].copy_from_slice(&count.to_le_bytes());
            assert!(!open_hostile(&damaged), "{count} containers");
        }
        let mut damaged = set.clone();
        damaged[12..16].copy_from_slice(&0xFFFF_303B_u32.to_le_bytes());
        assert!(!open_hostile(&damaged), "65536 containers after the cookie of runs");
    }
}

#[test]
fn eight_threads_may_be_the_first_to_ask() {
    let ranges: Vec<NumberRange> = ru_mobile_sample(300_000, 5, Spread::Blocks).unwrap().collect();
    let odd = (0..200_000).filter_map(|i| number(1_000_000_000_000 + i * 2)).map(NumberRange::single);
    let bytes = written(ranges.iter().copied().chain(odd));
    let numbers = Bitmap64::try_deserialize::<Portable>(&bytes).unwrap().to_vec();
    for _ in 0..5 {
        let set = &NumberSet::open(bytes.as_slice()).unwrap();
        let start = &std::sync::Barrier::new(8);
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let numbers = &numbers;
                scope.spawn(move || {
                    start.wait();
                    for (rank, value) in numbers.iter().enumerate().skip(thread * 17).step_by(61) {
                        let (number, rank) = (number(*value).unwrap(), Rank(rank as u32));
                        assert_eq!((set.rank(number), set.select(rank)), (Some(rank), Some(number)));
                    }
                });
            }
        });
    }
}

#[test]
fn a_range_of_every_number_is_refused_at_once() {
    let start = std::time::Instant::now();
    let options = ListOptions { format: ListFormat::Csv, ..ListOptions::default() };
    let csv = b"first,last\n1,999999999999999\n".as_slice();
    let error = read_list(csv, &options, &|_| {}).unwrap_err();
    assert!(matches!(error, ListError::TooMany { numbers: 999_999_999_999_999 }), "{error}");
    assert!(start.elapsed().as_secs() < 2, "the range was unfolded");
}
