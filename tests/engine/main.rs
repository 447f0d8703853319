//! The engine without HTTP: a naive model against the real pool, threads, restarts, failures.

#![allow(clippy::unwrap_used)]

mod exhausted;
mod growth;
mod holders;
mod hours;
mod lifecycle;
mod lists;
mod model;
mod threads;
mod why;

use std::path::Path;
use std::sync::Arc;

use allotd::domain::settings::{Settings, SettingsChange};
use allotd::engine::operations::import::NumberSource;
use allotd::engine::{Engine, EngineConfig, Pool};
use allotd::journal::MIN_FILE_BYTES;
use allotd::numbers::number::{Number, NumberRange};

/// Threads that the tests may call the engine from.
const WORKERS: usize = 10;

fn number(value: u64) -> Number {
    Number::new(value).unwrap()
}

fn range(first: u64, last: u64) -> NumberRange {
    NumberRange::new(number(first), number(last)).unwrap()
}

/// A small journal, so that its files fill up and are used again. Few numbers gather before they are sorted.
fn config(dir: &Path) -> EngineConfig {
    EngineConfig { journal_file_bytes: MIN_FILE_BYTES, growing_numbers: 8, ..EngineConfig::new(dir, WORKERS) }
}

fn open(dir: &Path) -> Arc<Engine> {
    Engine::open(&config(dir)).unwrap()
}

fn create(engine: &Engine, name: &str, ranges: &[NumberRange], change: &SettingsChange) -> Arc<Pool> {
    let settings = Settings::of_new_pool(change).unwrap();
    engine.create_pool(&name.parse().unwrap(), settings, NumberSource::Ranges(ranges)).unwrap();
    engine.pool(name).unwrap()
}
