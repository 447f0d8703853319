//! Numbers as lists for an import.

use std::fs;
use std::io::{BufWriter, Write};
use std::path::Path;

use allotd::numbers::number::NumberRange;
use allotd::numbers::sample::{Spread, ru_mobile_sample};

const SEED: u64 = 2022;

/// `numbers` numbers of the plan, in whole blocks.
pub(crate) fn sample(numbers: u64) -> Vec<NumberRange> {
    ru_mobile_sample(numbers, SEED, Spread::Blocks).unwrap().collect()
}

/// One range per line.
pub(crate) fn range_lines(ranges: &[NumberRange]) -> String {
    let line = |range: &NumberRange| format!("{}-{}\n", range.first().get(), range.last().get());
    ranges.iter().map(line).collect()
}

/// One number per line, synced to the disk.
pub(crate) fn write_numbers(file: &Path, ranges: &[NumberRange]) {
    let mut out = BufWriter::new(fs::File::create(file).unwrap());
    let mut digits = itoa::Buffer::new();
    for range in ranges {
        for number in range.first().get()..=range.last().get() {
            out.write_all(digits.format(number).as_bytes()).unwrap();
            out.write_all(b"\n").unwrap();
        }
    }
    // Written back later, it would disturb what is measured then.
    out.into_inner().unwrap().sync_all().unwrap();
}
