//! Any bytes as a number list. The first byte chooses the options; the rest is the list, which must mean the same
//! in blocks of every size, and be what [`parse_line`] says of its lines.

#![no_main]

use std::collections::BTreeSet;
use std::io::Read;

use allotd::numbers::list::content::Content;
use allotd::numbers::list::error::ListError;
use allotd::numbers::list::read::{NumberList, read_list_in_blocks};
use allotd::numbers::list::{ListFormat, ListOptions, OnInvalid, ReadStates, parse_line};
use libfuzzer_sys::fuzz_target;

/// Lists that stand for more are not compared number by number.
const MAX_COMPARED: u64 = 10_000;
const BLOCK_SIZES: [usize; 3] = [1, 13, 64];

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, text)) = bytes.split_first() else { return };
    let options = options(*choice);
    let whole = read_list_in_blocks(text, &options, &|_| {}, text.len());
    for block_bytes in BLOCK_SIZES {
        let blocks = read_list_in_blocks(text, &options, &|_| {}, block_bytes);
        assert_eq!(format!("{whole:?}"), format!("{blocks:?}"), "in blocks of {block_bytes} bytes");
    }
    if options.format == ListFormat::Text
        && let Ok(Content::Text(decoded)) = Content::open(text, &options)
    {
        let mut lines = Vec::new();
        decoded.whole().read_to_end(&mut lines).expect("plain text");
        compare_with_lines(&lines, &options, &whole);
    }
});

fn options(choice: u8) -> ListOptions {
    ListOptions {
        format: if choice & 1 == 1 { ListFormat::Csv } else { ListFormat::Text },
        on_invalid: if choice & 2 == 2 { OnInvalid::Skip } else { OnInvalid::Refuse },
        region: (choice & 4 == 4).then(|| "RU".parse().expect("a region")),
        length: (choice & 8 == 8).then_some(choice >> 4),
        states: ReadStates::Yes { latest_unix_seconds: u32::MAX },
        ..ListOptions::default()
    }
}

fn compare_with_lines(text: &[u8], options: &ListOptions, list: &Result<NumberList, ListError>) {
    let (mut expected, mut read, mut faults) = (BTreeSet::new(), 0_u64, Vec::new());
    for (line, number) in text.split(|byte| *byte == b'\n').zip(1_u64..) {
        match parse_line(line, options) {
            Ok(None) => {}
            Ok(Some(range)) => {
                read = read.saturating_add(range.len());
                if read <= MAX_COMPARED {
                    expected.extend(range.first().get()..=range.last().get());
                }
            }
            Err(fault) => faults.push((number, fault)),
        }
    }
    match list {
        Err(ListError::InvalidLine(invalid)) => {
            assert_eq!(options.on_invalid, OnInvalid::Refuse);
            assert_eq!(faults.first(), Some(&(invalid.line, invalid.reason)));
        }
        Err(ListError::Empty) => assert_eq!(read, 0),
        Err(ListError::TooMany { .. }) => assert!(read > MAX_COMPARED),
        Err(error) => panic!("a text list cannot fail so: {error}"),
        Ok(list) => {
            assert_eq!(list.invalid, faults.len() as u64);
            assert_eq!(list.numbers() + list.duplicates, read);
            if read <= MAX_COMPARED {
                let numbers = list.ranges().flat_map(|range| range.first().get()..=range.last().get());
                assert!(numbers.eq(expected), "other numbers than line by line");
            }
        }
    }
}
