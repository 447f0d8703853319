//! From a number list in a file to a written number set: seconds and peak memory.
//!
//! `cargo bench --bench import` measures lists of 40 million lines; a filter such as `shuffled` runs a part. The sorted
//! list in blocks is also read in national form, by its region's plan, and by gzip, against its decoder alone. Each
//! import is a process of its own, because the peak of its memory is the process'. Not criterion: one import takes
//! seconds and is not repeated for statistics, the best of [`RUNS`] is what the machine can do.

#![allow(clippy::unwrap_used, missing_docs)]

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Write};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use allotd::numbers::list::ListOptions;
use allotd::numbers::list::read::read_list;
use allotd::numbers::list::region::Region;
use allotd::numbers::sample::{Spread, ru_mobile_sample};
use allotd::numbers::set::writer::SetWriter;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

const LINES: u64 = 40_000_000;
const SEED: u64 = 2022;
const RUNS: usize = 2;
/// Makes the process do one import: the list, then the set to write.
const IMPORT_FLAG: &str = "--import-once";
/// Decompresses a list once and forgets it.
const DECODE_FLAG: &str = "--decode-once";
/// The region of lists in national form.
const REGION: &str = "RU";
/// The most an import of [`LINES`] plain numbers may take on two cores.
const MAX_SECONDS: f64 = 4.0;
/// The most memory it may take, in KiB.
const MAX_PEAK_KIB: u64 = 1_258_291;

type Source = fn() -> Vec<u64>;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let Some(at) = args.iter().position(|arg| arg == IMPORT_FLAG) {
        let region = args.get(at + 3).map(|region| region.parse().unwrap());
        return import_once(args[at + 1].as_ref(), args[at + 2].as_ref(), region);
    }
    if let Some(at) = args.iter().position(|arg| arg == DECODE_FLAG) {
        return decode_once(args[at + 1].as_ref());
    }
    let filter = args.iter().skip(1).find(|arg| !arg.starts_with("--")).map_or("", String::as_str);
    let dir = tempfile::tempdir().unwrap();
    let lists: [(&str, Source); 5] = [
        ("blocks-sorted", || sample(Spread::Blocks)),
        ("blocks-shuffled", || shuffled(sample(Spread::Blocks))),
        ("random-sorted", || sample(Spread::Random)),
        ("random-shuffled", || shuffled(sample(Spread::Random))),
        ("15-digits-shuffled", fifteen_digits),
    ];
    for (name, numbers) in lists.into_iter().filter(|(name, _)| name.contains(filter)) {
        let (list, set) = (dir.path().join("list.txt"), dir.path().join("set.numbers"));
        write_list(File::create(&list).unwrap(), &numbers(), |number| number);
        run(name, &[IMPORT_FLAG.as_ref(), list.as_ref(), set.as_ref()]);
    }
    let (list, set) = (dir.path().join("list.txt"), dir.path().join("set.numbers"));
    if "blocks-sorted-national".contains(filter) {
        // As they are dialled: 8 in place of the country code.
        let national = |number: u64| number + 10_000_000_000;
        write_list(File::create(&list).unwrap(), &sample(Spread::Blocks), national);
        run("blocks-sorted-national", &[IMPORT_FLAG.as_ref(), list.as_ref(), set.as_ref(), REGION.as_ref()]);
    }
    if "blocks-sorted-gzip".contains(filter) {
        let list = dir.path().join("list.txt.gz");
        let encoder = GzEncoder::new(File::create(&list).unwrap(), Compression::default());
        write_list(encoder, &sample(Spread::Blocks), |number| number);
        run("blocks-sorted-gzip", &[IMPORT_FLAG.as_ref(), list.as_ref(), set.as_ref()]);
        run("  its decoder alone", &[DECODE_FLAG.as_ref(), list.as_ref()]);
    }
}

/// Runs this program with some arguments in processes of their own.
fn run(name: &str, args: &[&OsStr]) {
    for _ in 0..RUNS {
        let output = Command::new(std::env::current_exe().unwrap()).args(args).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        println!("{name:22} {}", String::from_utf8_lossy(&output.stdout).trim_end());
    }
}

/// Reads a compressed list to its end; the time goes to standard output.
fn decode_once(list: &Path) {
    let start = Instant::now();
    let mut decoder = MultiGzDecoder::new(BufReader::with_capacity(1 << 16, File::open(list).unwrap()));
    let bytes = std::io::copy(&mut decoder, &mut std::io::sink()).unwrap();
    println!("{:.2} s, {} MiB", start.elapsed().as_secs_f64(), bytes >> 20);
}

/// One import; its figures go to standard output.
fn import_once(list: &Path, set: &Path, region: Option<Region>) {
    let start = Instant::now();
    let is_plain = region.is_none() && list.extension().is_some_and(|extension| extension == "txt");
    let options = ListOptions { region, ..ListOptions::default() };
    let list = read_list(File::open(list).unwrap(), &options, &|_| {}).unwrap();
    let read_seconds = start.elapsed().as_secs_f64();
    let mut writer = SetWriter::new(BufWriter::new(File::create(set).unwrap())).unwrap();
    list.ranges().for_each(|range| writer.push(range).unwrap());
    let written = writer.finish().unwrap();
    let seconds = start.elapsed().as_secs_f64();
    let peak_kib = peak_memory_kib();
    let is_over = is_plain && (seconds > MAX_SECONDS || peak_kib > MAX_PEAK_KIB);
    let verdict = if is_over { "  OVER ITS LIMIT" } else { "" };
    println!(
        "{:.2} s (list {read_seconds:.2} s), peak {} MiB, {} numbers in {} bytes{verdict}",
        seconds,
        peak_kib / 1024,
        written.numbers,
        written.bytes
    );
}

fn peak_memory_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn sample(spread: Spread) -> Vec<u64> {
    let ranges = ru_mobile_sample(LINES, SEED, spread).unwrap();
    ranges.flat_map(|range| range.first().get()..=range.last().get()).collect()
}

fn shuffled(mut numbers: Vec<u64>) -> Vec<u64> {
    numbers.shuffle(&mut StdRng::seed_from_u64(SEED));
    numbers
}

/// Numbers over all the space of 15 digits: a bucket holds some 170 of them, a container hardly ever two.
fn fifteen_digits() -> Vec<u64> {
    let mut random = StdRng::seed_from_u64(SEED);
    (0..LINES).map(|_| random.random_range(100_000_000_000_000..=999_999_999_999_999)).collect()
}

fn write_list(out: impl Write, numbers: &[u64], written: impl Fn(u64) -> u64) {
    let mut out = BufWriter::with_capacity(1 << 20, out);
    let mut digits = itoa::Buffer::new();
    for number in numbers {
        out.write_all(digits.format(written(*number)).as_bytes()).unwrap();
        out.write_all(b"\n").unwrap();
    }
    out.flush().unwrap();
}
