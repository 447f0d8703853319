//! What an operation costs by the size of the pool and by how much of it is taken.

use std::path::Path;
use std::time::Duration;

use allotd::domain::settings::Order;

use super::engine::InProcess;
use super::load::Round;
use super::support::curve::{Curve, Job, take_turns};
use super::support::daemon::{Daemon, let_idle_threads_end};
use super::support::figures::short_count;
use super::support::machine::{free_disk_bytes, free_memory_bytes};
use super::support::numbers::sample;
use super::support::options::Options;
use super::support::process::SERVER_CORE;

const SIZES: [u64; 5] = [40_000, 400_000, 4_000_000, 40_000_000, 400_000_000];
const QUICK_SIZES: [u64; 3] = [40_000, 400_000, 4_000_000];
/// How much is taken, in percent.
const FILLS: [(f64, &str); 6] =
    [(0.0, "0"), (50.0, "50"), (90.0, "90"), (99.0, "99"), (99.9, "99.9"), (99.99, "99.99")];
/// Words take 8 bytes per number on the disk and in memory; the rest is for what lies beside them.
const BYTES_PER_NUMBER: u64 = 10;
/// Connections that pipeline: fewer requests in flight than numbers are left.
const PIPELINED_CONNECTIONS: usize = 16;
const PIPELINE: usize = 16;
const CONNECTIONS: usize = 64;
const DAY_SECONDS: u32 = 86_400;

/// The sizes that fit the disk and the memory.
pub(crate) fn sizes(options: &Options) -> Vec<u64> {
    let all = if options.quick { QUICK_SIZES.as_slice() } else { &SIZES };
    let (disk, memory) = (free_disk_bytes(&options.dir), free_memory_bytes());
    let mut needed = 0;
    let fits = |size: &u64| {
        needed += size * BYTES_PER_NUMBER;
        let fits = needed < disk && needed < memory;
        if !fits {
            println!(
                "SKIPPED a pool of {}: it takes {needed} bytes of disk and memory",
                short_count(*size as f64)
            );
        }
        fits
    };
    all.iter().copied().filter(fits).collect()
}

/// A place of a curve: a pool, and what is measured there.
struct Place {
    x: f64,
    pool: String,
    numbers: u64,
}

/// Pairs of lease and return over HTTP and in the engine, at these places.
fn measure(
    options: &Options,
    data: &Path,
    daemon: Daemon,
    places: &[Place],
) -> Vec<super::support::curve::Series> {
    let (plain, pipelined) =
        (Round::new(options, CONNECTIONS, 1), Round::new(options, PIPELINED_CONNECTIONS, PIPELINE));
    let server = &daemon;
    let http = |name: &str, order: &'static str, round: Round| -> Vec<Job<'_>> {
        let job = |place: &Place| {
            let pool = place.pool.clone();
            Job::new(name, place.x, move || {
                server.set_order(&pool, order);
                round.run(&server.process, |_| server.leasing_and_returning(&pool))
            })
        };
        places.iter().map(job).collect()
    };
    let mut jobs = http("HTTP, random order", "random", plain);
    jobs.extend(http("HTTP pipelined by 16, random order", "random", pipelined));
    jobs.extend(http("HTTP pipelined by 16, sequential order", "sequential", pipelined));
    let_idle_threads_end();
    let mut series = take_turns(jobs, options.rounds);
    drop(daemon);
    let engine = std::cell::RefCell::new(InProcess::open(data));
    for place in places {
        engine.borrow_mut().touch_pages(&place.pool, place.numbers);
    }
    let time = Duration::from_millis(if options.quick { 100 } else { 400 });
    let engine = &engine;
    let in_process = |name: &str, order: Order| -> Vec<Job<'_>> {
        let job = |place: &Place| {
            let pool = place.pool.clone();
            Job::new(name, place.x, move || engine.borrow_mut().pairs(&pool, order, time))
        };
        places.iter().map(job).collect()
    };
    let mut jobs = in_process("engine alone, random order", Order::Random);
    jobs.extend(in_process("engine alone, sequential order", Order::Sequential));
    series.extend(take_turns(jobs, options.rounds));
    series
}

fn start(data: &Path) -> Daemon {
    Daemon::start(data, &[SERVER_CORE], &["--workers", "1", "--durability", "none"])
}

/// By the size of the pool.
pub(crate) fn pool_size(options: &Options, dir: &Path) -> Curve {
    let data = dir.join("data");
    let daemon = start(&data);
    let mut places = Vec::new();
    for numbers in sizes(options) {
        let pool = format!("p{numbers}");
        daemon.create_pool(&pool, "ttl=86400", &sample(numbers));
        daemon.touch_pages(&pool, numbers);
        places.push(Place { x: numbers as f64, pool, numbers });
    }
    daemon.wait_for_returns(0);
    Curve {
        name: "pool_size".to_owned(),
        title: "An operation by the size of the pool".to_owned(),
        x_label: "numbers of the pool".to_owned(),
        y_label: "server CPU, \u{b5}s per operation (half leases, half returns)".to_owned(),
        x_names: Vec::new(),
        log_y: true,
        series: measure(options, &data, daemon, &places),
    }
}

/// By how much of the pool is taken.
pub(crate) fn fill(options: &Options, dir: &Path) -> Curve {
    let data = dir.join("data");
    let daemon = start(&data);
    let numbers = if options.quick { 4_000_000 } else { 40_000_000 };
    let ranges = sample(numbers);
    let mut places = Vec::new();
    for (place, (percent, name)) in FILLS.into_iter().enumerate() {
        let pool = format!("f{name}");
        daemon.create_pool(&pool, "ttl=86400", &ranges);
        daemon.touch_pages(&pool, numbers);
        places.push((Place { x: place as f64, pool, numbers: 0 }, percent));
    }
    daemon.wait_for_returns(0);
    for (place, percent) in &places {
        let left = (numbers as f64 * (1.0 - percent / 100.0)).round() as u64;
        daemon.fill(&place.pool, left, DAY_SECONDS);
    }
    let places: Vec<Place> = places.into_iter().map(|(place, _)| place).collect();
    Curve {
        name: "fill".to_owned(),
        title: format!("An operation by how much of {} numbers is taken", short_count(numbers as f64)),
        x_label: "taken, %".to_owned(),
        y_label: "server CPU, \u{b5}s per operation (half leases, half returns)".to_owned(),
        x_names: FILLS.map(|(_, name)| name.to_owned()).to_vec(),
        log_y: true,
        series: measure(options, &data, daemon, &places),
    }
}
