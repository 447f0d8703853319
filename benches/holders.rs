//! What holders cost: listing what one has, and returning all of it, in a pool of 40 million numbers; and leases that name
//! a holder against those that do not.
//!
//! `cargo bench --bench holders`, `-- --small` for a hundredth of it, `-- --dir DIR` on a disk. Printed are the medians of
//! some holders with the lowest and the highest.

#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use allotd::domain::holder::HolderName;
use allotd::domain::settings::{NextState, Settings, SettingsChange};
use allotd::engine::operations::import::NumberSource;
use allotd::engine::operations::lease::LeaseRequest;
use allotd::engine::{Engine, EngineConfig, Pool, Worker};
use allotd::numbers::number::{Number, NumberRange};

const NUMBERS: u64 = 40_000_000;
const LEASES: u32 = 10_000;
const FIRST: u64 = 79_000_000_000;
/// Holders of which each figure is taken.
const MEASURED: u64 = 11;
/// How much of the pool is leased, in hundredths.
const FILLS: [u64; 2] = [12, 97];

fn number(value: u64) -> Number {
    Number::new(value).unwrap()
}

fn name(holder: u64) -> HolderName {
    format!("agent-{holder}").parse().unwrap()
}

fn create(engine: &Engine, pool: &str, numbers: u64, holders: bool) -> Arc<Pool> {
    let change = SettingsChange { holders: Some(holders), ..SettingsChange::default() };
    let settings = Settings::default().changed(&change).unwrap();
    let all = NumberRange::new(number(FIRST), number(FIRST + numbers - 1)).unwrap();
    engine.create_pool(&pool.parse().unwrap(), settings, NumberSource::Ranges(&[all])).unwrap();
    engine.pool(pool).unwrap()
}

fn ask(count: u32) -> LeaseRequest<'static> {
    LeaseRequest { count, ttl_seconds: Some(80_000), within: None }
}

/// Leases numbers for holders, from one on, until a share of the pool is leased. Returns the next holder.
fn fill(pool: &Pool, worker: &mut Worker, mut holder: u64, percent: u64, count: u32) -> u64 {
    let mut leases = Vec::new();
    while pool.counts().leased < pool.counts().numbers * percent / 100 {
        pool.lease_for(worker, &name(holder), &ask(count), &mut leases).unwrap();
        holder += 1;
    }
    pool.settle().unwrap();
    holder
}

fn print(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let (lowest, highest) = (times[0], times[times.len() - 1]);
    println!("{what}: {:.2?} ({lowest:.2?} to {highest:.2?})", times[times.len() / 2]);
}

/// Nanoseconds per lease of one number.
fn per_lease(mut lease: impl FnMut(), count: u32) -> f64 {
    let started = Instant::now();
    (0..count).for_each(|_| lease());
    started.elapsed().as_secs_f64() * 1e9 / f64::from(count)
}

fn leases(engine: &Engine, worker: &mut Worker, numbers: u64) {
    let (without, with) = (create(engine, "without", numbers, false), create(engine, "with", numbers, true));
    let (count, mut found, holder) = ((numbers / 20) as u32, Vec::new(), name(0));
    for round in 0..3 {
        let plain = per_lease(|| _ = without.lease(worker, &ask(1), &mut found).unwrap(), count);
        let unnamed = per_lease(|| _ = with.lease(worker, &ask(1), &mut found).unwrap(), count);
        let named = per_lease(|| _ = with.lease_for(worker, &holder, &ask(1), &mut found).unwrap(), count);
        println!(
            "a lease, round {round}: {plain:.0} ns in a pool without holders, {unnamed:.0} ns in one with holders, \
             {named:.0} ns for a holder"
        );
        engine.settle().unwrap();
    }
}

fn run(dir: &Path, share: u64) {
    let (numbers, count) = (NUMBERS / share, LEASES / share as u32);
    let engine = Engine::open(&EngineConfig::new(dir.join("data"), 1)).unwrap();
    let mut worker = engine.worker();
    let pool = create(&engine, "held", numbers, true);
    let mut next = 0;
    for percent in FILLS {
        let first = next;
        next = fill(&pool, &mut worker, next, percent, count);
        let measured = || (first..).step_by(((next - first) / MEASURED) as usize).take(MEASURED as usize);
        let of = format!("of {count} leases among {numbers} numbers, {percent} % leased");
        let listed = measured().map(|holder| {
            let started = Instant::now();
            assert_eq!(pool.held_by(&name(holder), usize::MAX).len(), count as usize);
            started.elapsed()
        });
        print(&format!("a list {of}"), listed.collect());
        let returned = measured().map(|holder| {
            let started = Instant::now();
            let returned = pool.return_all(&name(holder), NextState::Available, None).unwrap();
            assert_eq!(returned.returned, u64::from(count));
            started.elapsed()
        });
        print(&format!("a return {of}"), returned.collect());
    }
    leases(&engine, &mut worker, numbers / 10);
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let share = if args.iter().any(|arg| arg == "--small") { 100 } else { 1 };
    let at = args.iter().position(|arg| arg == "--dir");
    let parent = at.map_or_else(std::env::temp_dir, |at| args[at + 1].clone().into());
    let dir = tempfile::tempdir_in(parent).unwrap();
    run(dir.path(), share);
}
