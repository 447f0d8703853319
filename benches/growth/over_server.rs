//! What a lease costs by the number of pools and of workers, and what a number costs in memory.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::load::Round;
use super::over_pool::sizes;
use super::support::curve::{Curve, Job, Point, Sample, Series, take_turns};
use super::support::daemon::{Daemon, let_idle_threads_end, plain_lease};
use super::support::figures::short_count;
use super::support::numbers::sample;
use super::support::options::Options;
use super::support::process::{CLIENT_CORE, SERVER_CORE};

const POOLS: [u64; 4] = [1, 10, 100, 1_000];
const CONNECTIONS: usize = 64;
const PIPELINE: usize = 16;
const TTL: &str = "ttl=2";
/// How long a daemon that nobody calls is watched.
const IDLE_TIME: Duration = Duration::from_secs(1);

fn start(data: &Path, cores: &[usize], workers: &str, durability: &str) -> Daemon {
    Daemon::start(data, cores, &["--workers", workers, "--durability", durability])
}

/// All numbers of a daemon.
fn numbers(options: &Options) -> u64 {
    if options.quick { 4_000_000 } else { 40_000_000 }
}

/// Processor time that a daemon takes when nobody calls it, in milliseconds per second.
fn idle_milliseconds(daemon: &Daemon) -> f64 {
    let before = daemon.process.cpu().unwrap();
    std::thread::sleep(IDLE_TIME);
    daemon.process.cpu().unwrap().saturating_sub(before).as_secs_f64() * 1e3 / IDLE_TIME.as_secs_f64()
}

/// By pools: the same numbers in more of them.
pub(crate) fn pools(options: &Options, dir: &Path) -> Curve {
    let numbers = numbers(options);
    let start_with = |pools: u64| {
        let daemon = start(&dir.join(pools.to_string()), &[SERVER_CORE], "1", "none");
        let names: Vec<String> = (0..pools).map(|pool| format!("p{pool}")).collect();
        let ranges = sample(numbers / pools);
        for name in &names {
            daemon.create_pool(name, TTL, &ranges);
            daemon.touch_pages(name, numbers / pools);
        }
        daemon.wait_for_returns(0);
        let requests: Arc<[Vec<u8>]> = names.iter().map(|name| plain_lease(name)).collect();
        (pools, daemon, requests)
    };
    let daemons = POOLS.map(start_with);
    let_idle_threads_end();
    let mut jobs = Vec::new();
    for (pools, daemon, requests) in &daemons {
        for (name, depth) in [("HTTP", 1), ("HTTP pipelined by 16", PIPELINE)] {
            let round = Round::new(options, CONNECTIONS, depth);
            jobs.push(Job::new(name, *pools as f64, move || {
                daemon.wait_for_returns(0);
                let idle = idle_milliseconds(daemon);
                let mut sample = round.run(&daemon.process, |place| daemon.leasing(requests, place, 1));
                sample.facts.push(("idle ms per second", idle));
                sample
            }));
        }
    }
    Curve {
        name: "pools".to_owned(),
        title: format!("A lease by the pools that hold {} numbers", short_count(numbers as f64)),
        x_label: "pools, leased from in turn".to_owned(),
        y_label: "server CPU, \u{b5}s per lease".to_owned(),
        x_names: Vec::new(),
        log_y: false,
        series: take_turns(jobs, options.rounds),
    }
}

/// By workers: on one core, and on both, of which the client needs one.
pub(crate) fn workers(options: &Options, dir: &Path) -> Curve {
    let numbers = numbers(options);
    let ranges = sample(numbers);
    let requests: &Arc<[Vec<u8>]> = &Arc::from([plain_lease("p")]);
    let both: &[usize] = &[SERVER_CORE, CLIENT_CORE];
    let places = [
        ("1 worker, core 0", &[SERVER_CORE][..], "1"),
        ("2 workers, core 0", &[SERVER_CORE], "2"),
        ("1 worker, both cores", both, "1"),
        ("2 workers, both cores", both, "2"),
    ];
    let daemons = places.map(|(name, cores, workers)| {
        let daemon = start(&dir.join(name.replace([' ', ','], "-")), cores, workers, "none");
        daemon.create_pool("p", TTL, &ranges);
        daemon.touch_pages("p", numbers);
        daemon.wait_for_returns(0);
        daemon
    });
    let_idle_threads_end();
    let mut jobs = Vec::new();
    for (place, daemon) in daemons.iter().enumerate() {
        for (name, depth) in [("HTTP", 1), ("HTTP pipelined by 16", PIPELINE)] {
            let round = Round::new(options, CONNECTIONS, depth);
            jobs.push(Job::new(name, place as f64, move || {
                daemon.wait_for_returns(0);
                round.run(&daemon.process, |place| daemon.leasing(requests, place, 1))
            }));
        }
    }
    Curve {
        name: "workers".to_owned(),
        title: "A lease by workers (the client has core 1)".to_owned(),
        x_label: "workers, and the cores that they may use".to_owned(),
        y_label: "server CPU, \u{b5}s per lease".to_owned(),
        x_names: places.map(|(name, _, _)| name.to_owned()).to_vec(),
        log_y: false,
        series: take_turns(jobs, options.rounds),
    }
}

/// Resident memory by the numbers of the pool, when all pages of its words were written to.
pub(crate) fn memory(options: &Options, dir: &Path) -> Curve {
    let sizes = sizes(options);
    let at = |durability: &str, numbers: u64| {
        let data = dir.join(format!("{durability}-{numbers}"));
        let daemon = start(&data, &[SERVER_CORE], "1", durability);
        let empty = daemon.process.resident_bytes();
        daemon.create_pool("p", TTL, &sample(numbers));
        daemon.touch_pages("p", numbers);
        daemon.wait_for_returns(0);
        let resident = daemon.process.resident_bytes();
        drop(daemon);
        std::fs::remove_dir_all(&data).unwrap();
        let grown = resident.saturating_sub(empty) as f64;
        let facts = vec![
            ("MiB in all", resident as f64 / f64::from(1 << 20)),
            ("MiB empty", empty as f64 / f64::from(1 << 20)),
        ];
        Point::of(numbers as f64, &[Sample { value: grown / numbers as f64, facts }])
    };
    let series = |durability: &str| Series {
        name: durability.to_owned(),
        points: sizes.iter().map(|numbers| at(durability, *numbers)).collect(),
    };
    Curve {
        name: "memory".to_owned(),
        title: "Memory by the size of the pool".to_owned(),
        x_label: "numbers of the pool".to_owned(),
        y_label: "resident bytes per number, beyond those of an empty daemon".to_owned(),
        x_names: Vec::new(),
        log_y: true,
        series: ["none", "sync"].map(series).into(),
    }
}
