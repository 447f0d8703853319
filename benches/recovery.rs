//! How long a start takes that replays ten million records of the journal, and how long a clean one takes.
//!
//! `cargo bench --bench recovery` (`-- --numbers N` for a smaller pool, `--records N` for fewer). The records
//! are of random numbers, each a different one. Printed are the best and the worst of [`RUNS`]; a run's
//! directory is made anew, because the first start ends with a checkpoint.

#![allow(clippy::unwrap_used, clippy::cast_sign_loss, missing_docs)]

use std::path::Path;
use std::time::{Duration, Instant};

use allotd::domain::settings::{Settings, SettingsChange};
use allotd::engine::operations::import::NumberSource;
use allotd::engine::operations::lease::LeaseRequest;
use allotd::engine::startup::config::DEFAULT_JOURNAL_FILE_BYTES;
use allotd::engine::{Engine, EngineConfig};
use allotd::numbers::sample::{Spread, ru_mobile_sample};

const REFERENCE: u64 = 40_000_000;
const RECORDS: u64 = 10_000_000;
const SEED: u64 = 2022;
const RUNS: usize = 3;
/// All records stay in one file, of the default length if they fit.
const JOURNAL_FILE_BYTES: u64 = DEFAULT_JOURNAL_FILE_BYTES;
/// Bytes of a record in a file, at most.
const RECORD_BYTES: u64 = 48;
const BATCH: u32 = 50_000;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let value_of = |flag: &str, default: u64| {
        let at = args.iter().position(|arg| arg == flag);
        at.map_or(default, |at| args[at + 1].parse().unwrap())
    };
    let (numbers, records) = (value_of("--numbers", REFERENCE), value_of("--records", RECORDS));
    let (mut unclean, mut clean) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let dir = tempfile::tempdir().unwrap();
        let journal_file_bytes = JOURNAL_FILE_BYTES.max(records * RECORD_BYTES);
        let config = EngineConfig { journal_file_bytes, ..EngineConfig::new(dir.path(), 1) };
        make(dir.path(), &config, numbers, records);
        let (time, read) = open(&config);
        assert_eq!(read, records, "all records were in the journal");
        unclean.push(time);
        clean.push(open(&config).0);
    }
    for (name, mut times) in [("clean", clean), ("with the journal's records", unclean)] {
        times.sort_unstable();
        println!(
            "start, {numbers} numbers, {name}: {} to {} ms",
            times[0].as_millis(),
            times[times.len() - 1].as_millis()
        );
    }
    println!("{records} records");
}

/// A pool of which `records` numbers were leased, and a daemon that did not close.
fn make(dir: &Path, config: &EngineConfig, numbers: u64, records: u64) {
    assert_eq!(dir, config.data_dir);
    let engine = Engine::open(config).unwrap();
    let settings = Settings::default()
        .changed(&SettingsChange { ttl: Some(86_400), ..SettingsChange::default() })
        .unwrap();
    let ranges: Vec<_> = ru_mobile_sample(numbers, SEED, Spread::Blocks).unwrap().collect();
    engine.create_pool(&"p".parse().unwrap(), settings, NumberSource::Ranges(&ranges)).unwrap();
    let (pool, mut worker, mut leases) = (engine.pool("p").unwrap(), engine.worker(), Vec::new());
    let mut left = records;
    while left > 0 {
        let count = left.min(BATCH.into()) as u32;
        let request = LeaseRequest { count, ttl_seconds: None, within: None };
        pool.lease(&mut worker, &request, &mut leases).unwrap();
        left -= leases.len() as u64;
    }
}

/// Opens and closes; the time until it was open, and how many records were read.
fn open(config: &EngineConfig) -> (Duration, u64) {
    let started = Instant::now();
    let engine = Engine::open(config).unwrap();
    let time = started.elapsed();
    let read = engine.report().journal.records;
    engine.close().unwrap();
    (time, read)
}
