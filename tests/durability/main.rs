//! What survives what: failing disks, lost power, flipped bits, bad files. Through the library.
//!
//! Long runs: see docs/durability.md. `ALLOTD_SEED` repeats a run, which prints its seed.

#![allow(clippy::unwrap_used)]

mod bad_input;
mod clocks;
mod events_disk;
mod faults;
mod faulty;
mod flips;
mod history;
mod journal_files;
mod lists;
mod modes;
mod power;
mod power_loss;
mod replay;
mod script;

use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use allotd::engine::EngineConfig;
use allotd::journal::MIN_FILE_BYTES;

use clocks::FakeClocks;

/// A number from the environment, for long runs and repeated ones.
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
}

/// The seed of a run; printed, so that it can be repeated.
fn seed() -> u64 {
    let random = RandomState::new().hash_one(());
    let seed = setting("ALLOTD_SEED", random);
    println!("ALLOTD_SEED={seed}");
    seed
}

/// A directory in memory, where there is one: these tests write much and need no real disk.
fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

/// A small journal, so that its files fill up and are used again.
fn config(dir: impl Into<PathBuf>, clocks: &Arc<FakeClocks>) -> EngineConfig {
    EngineConfig {
        journal_file_bytes: MIN_FILE_BYTES,
        growing_numbers: 16,
        clocks: Arc::clone(clocks) as _,
        ..EngineConfig::new(dir, 1)
    }
}
