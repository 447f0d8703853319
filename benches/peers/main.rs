//! allotd beside the servers that people use to hand out numbers: one command, one machine, one run.
//!
//! `cargo bench --bench peers` (about a quarter of an hour), `-- --quick` (about three minutes, fewer
//! numbers). Every server runs on core 0, the client, which is the loop of `allotd bench` for all of
//! them, on core 1. The servers alternate round by round, so that other load on the machine affects
//! all of them. Printed are medians of the rounds with their lowest and highest. "us CPU" is the user and
//! system time of the server's processes per operation. The figures are written to `target/peers.json` too.
//!
//! Redis, PostgreSQL and beanstalkd come from their Debian packages (`apt-get install -y redis-server
//! postgresql beanstalkd`); one that is missing is left out. They run on directories of their own, on
//! loopback.

#![allow(clippy::unwrap_used, clippy::cast_sign_loss, missing_docs)]

#[path = "../bare/mod.rs"]
mod bare;
mod beanstalkd;
mod http;
mod peer;
mod postgres;
mod ratios;
mod redis;
mod report;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use allotd::bench::load::{self, Load};
use bytes::Bytes;
use serde_json::json;

use self::peer::{Case, Class, Operation, Peer};
use self::postgres::Form;
use self::report::{Round, Row};
use self::support::{figures, machine, numbers, process};

const FILLS_PERCENT: [f64; 4] = [0.0, 50.0, 99.0, 99.99];
/// Of each round. The servers wait for each other's rounds: caches are cold then, and the kernel has written dirty
/// pages to the disk, whose next change is a page fault each.
const WARM_UP: Duration = Duration::from_millis(600);
const CLASSES: [Class; 3] = [Class::None, Class::Interval, Class::Sync];

/// How much is done.
#[derive(Debug, Clone)]
struct Settings {
    numbers: u64,
    postgres_rows: u64,
    jobs: u64,
    rounds: usize,
    round_seconds: f64,
    over_time_seconds: f64,
    /// Where the servers keep their data.
    dir: PathBuf,
    /// Only peers whose name begins so.
    only: Option<String>,
}

impl Settings {
    fn read(args: &[String]) -> Self {
        let value = |flag: &str| args.iter().position(|arg| arg == flag).map(|at| args[at + 1].clone());
        let number = |flag: &str, default: u64| {
            value(flag).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{flag} is {text}")))
        };
        let quick = args.iter().any(|arg| arg == "--quick");
        let numbers = number("--numbers", if quick { 4_000_000 } else { 40_000_000 });
        Self {
            numbers,
            postgres_rows: number("--postgres-rows", if quick { 200_000 } else { 4_000_000 }).min(numbers),
            jobs: number("--jobs", if quick { 100_000 } else { 1_000_000 }).min(numbers),
            rounds: number("--rounds", 3) as usize,
            round_seconds: if quick { 0.4 } else { 1.2 },
            over_time_seconds: if quick { 3.0 } else { 15.0 },
            dir: value("--dir").map_or_else(std::env::temp_dir, PathBuf::from),
            only: value("--only"),
        }
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "numbers": self.numbers,
            "postgres_rows": self.postgres_rows,
            "jobs": self.jobs,
            "rounds": self.rounds,
            "round_seconds": self.round_seconds,
            "over_time_seconds": self.over_time_seconds,
            "only": self.only,
        })
    }

    fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.split(',').any(|only| name.starts_with(only)))
    }
}

/// Every operation with a pipeline of one and of sixteen.
fn pipelined_cases(operations: &[Operation]) -> Vec<Case> {
    operations.iter().flat_map(|of| [1, 16].map(|depth| Case::new(*of, 64, depth))).collect()
}

/// How many numbers are left at a fill.
fn numbers_left(numbers: u64, percent: f64) -> u64 {
    numbers - (numbers as f64 * percent / 100.0).round() as u64
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let Some(at) = args.iter().position(|arg| arg == bare::FLAG) {
        return bare::serve(&Bytes::from(args[at + 1].clone()));
    }
    let settings = Settings::read(&args);
    assert!(std::thread::available_parallelism().unwrap().get() > 1, "two cores are needed");
    machine::check_on_disk(&settings.dir);
    let started = Instant::now();
    let load = machine::load_average_told();
    process::run_as_client();
    process::end_at_signals();
    let dir = tempfile::tempdir_in(&settings.dir).unwrap();
    // PostgreSQL runs as another user.
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    println!(
        "{} numbers; PostgreSQL {} rows and beanstalkd {} jobs, for the time that loading takes",
        settings.numbers, settings.postgres_rows, settings.jobs
    );
    let mut peers = start_peers(dir.path(), &settings);
    print_facts(&peers);
    let rows = measure_cases(&peers, &settings);
    let over_time = measure_over_time(&peers, &settings);
    let fills = measure_fills(&mut peers, &settings);
    let ratios = ratios::print(&rows, &over_time);
    let full = peers.iter().filter_map(|peer| Some((peer.name(), peer.bytes_a_number_when_full()?)));
    let result = json!({
        "settings": settings.json(),
        "seconds": started.elapsed().as_secs(),
        "load_average_before": load,
        "facts": peers.iter().map(|peer| (peer.name(), peer.facts().json())).collect::<serde_json::Map<_, _>>(),
        "bytes_a_number_when_full": full.map(|(name, bytes)| (name, bytes.into())).collect::<serde_json::Map<_, _>>(),
        "cases": rows.iter().map(Row::json).collect::<Vec<_>>(),
        "over_time": over_time.iter().map(Row::json).collect::<Vec<_>>(),
        "fills": fills.iter().map(Row::json).collect::<Vec<_>>(),
        "ratios": ratios,
    });
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("peers.json");
    fs::write(&file, serde_json::to_string_pretty(&result).unwrap()).unwrap();
    println!("\n{} s in all; {}", started.elapsed().as_secs(), file.display());
}

/// Starts and loads everything that is installed.
fn start_peers(dir: &Path, settings: &Settings) -> Vec<Box<dyn Peer>> {
    let ranges = numbers::sample(settings.numbers);
    let mut peers: Vec<Box<dyn Peer>> = Vec::new();
    if settings.wants("allotd") || settings.wants("bare") {
        let file = dir.join("numbers.txt");
        numbers::write_numbers(&file, &ranges);
        let all: Vec<_> =
            CLASSES.iter().map(|class| http::Allotd::start(dir, *class, &file, settings.numbers)).collect();
        fs::remove_file(&file).unwrap();
        peers.push(Box::new(http::Bare::start(dir, &all[0].lease_body())));
        peers.extend(all.into_iter().map(|one| Box::new(one) as Box<dyn Peer>));
    }
    if settings.wants("redis") && process::installed("redis-server", "redis-server") {
        let dump = redis::Dump::make(dir, &ranges, settings.numbers);
        for class in CLASSES {
            peers.push(Box::new(redis::Redis::start(dir, class, &dump)));
        }
    }
    match postgres::programs().filter(|_| settings.wants("postgres")) {
        Some(programs) => {
            let server = Rc::new(postgres::Postgres::start(dir, &programs, settings.postgres_rows));
            for class in [Class::None, Class::Sync] {
                for form in [Form::First, Form::RandomStart, Form::FreeIndex] {
                    peers.push(Box::new(postgres::FormOf::new(&server, form, class)));
                }
            }
        }
        None if settings.wants("postgres") => println!("SKIPPED postgresql: apt-get install -y postgresql"),
        None => (),
    }
    if settings.wants("beanstalkd") && process::installed("beanstalkd", "beanstalkd") {
        for class in [Class::None, Class::Sync] {
            peers.push(Box::new(beanstalkd::Beanstalkd::start(dir, class, settings.jobs)));
        }
    }
    peers
}

fn print_facts(peers: &[Box<dyn Peer>]) {
    println!("\n  {:<28} {:>12} {:>9} {:>11} {:>15}", "", "numbers", "load s", "restart s", "bytes/number");
    let mut before = None;
    for peer in peers {
        let facts = peer.facts();
        // The forms of PostgreSQL share a server.
        if before.replace(facts.json()) == Some(facts.json()) {
            continue;
        }
        let shown = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.2}"));
        println!(
            "  {:<28} {:>12} {:>9} {:>11} {:>15}  {}",
            peer.name(),
            facts.numbers,
            shown(facts.load_seconds),
            shown(facts.restart_seconds),
            shown(facts.bytes_a_number),
            facts.note
        );
    }
}

/// One load on one server.
fn measure(peer: &dyn Peer, case: Case, seconds: f64, intervals: f64) -> Round {
    let load = Load {
        threads: 1,
        connections: case.connections,
        depth: case.depth,
        rate_per_second: None,
        warm_up: WARM_UP,
        time: Duration::from_secs_f64(seconds),
        interval: Duration::from_secs_f64(seconds / intervals),
        patience: allotd::bench::plan::ANSWER_PATIENCE,
    };
    process::check_signals();
    peer.before_round();
    let measured = load::run(&load, |_| peer.open(case.operation), Some(&|| peer.cpu()));
    let measured = measured.unwrap_or_else(|error| panic!("{}: {error}", peer.name()));
    assert_eq!(measured.tally.unanswered, 0, "{} left requests unanswered", peer.name());
    Round::of(&measured, seconds / intervals)
}

/// Every case: the servers alternate, `rounds` times.
fn measure_cases(peers: &[Box<dyn Peer>], settings: &Settings) -> Vec<Row> {
    let mut cases: Vec<Case> = Vec::new();
    for case in peers.iter().flat_map(|peer| peer.cases()) {
        if !cases.contains(&case) {
            cases.push(case);
        }
    }
    let mut all = Vec::new();
    for case in cases {
        let able: Vec<&dyn Peer> =
            peers.iter().map(Box::as_ref).filter(|peer| peer.cases().contains(&case)).collect();
        let row = |peer: &&dyn Peer| Row {
            peer: peer.name(),
            class: peer.class(),
            case,
            taken: None,
            rounds: Vec::new(),
        };
        let mut rows: Vec<Row> = able.iter().map(row).collect();
        for _ in 0..settings.rounds {
            for (peer, row) in able.iter().zip(&mut rows) {
                row.rounds.push(measure(*peer, case, settings.round_seconds, 1.0));
            }
        }
        Row::print_head(&case.title());
        rows.iter().for_each(Row::print);
        all.append(&mut rows);
    }
    all
}

/// Operations per second in each of ten intervals of one long run.
fn measure_over_time(peers: &[Box<dyn Peer>], settings: &Settings) -> Vec<Row> {
    const INTERVALS: f64 = 10.0;
    let seconds = settings.over_time_seconds;
    println!(
        "\nthroughput over time: operations/s in each tenth of {seconds} s, leases kept, us CPU of all of it"
    );
    let mut rows = Vec::new();
    for peer in peers {
        let Some(case) = peer.over_time() else { continue };
        let round = measure(peer.as_ref(), case, seconds, INTERVALS);
        let figures: Vec<String> = round.intervals.iter().map(|rate| format!("{rate:.0}")).collect();
        println!("  {:<28} {}, {:.2} us", peer.name(), figures.join(" "), round.cpu_us);
        rows.push(Row { peer: peer.name(), class: peer.class(), case, taken: None, rounds: vec![round] });
    }
    rows
}

/// Lease and return with more and more of the numbers taken.
fn measure_fills(peers: &mut [Box<dyn Peer>], settings: &Settings) -> Vec<Row> {
    let mut all = Vec::new();
    for percent in FILLS_PERCENT {
        let mut rows = Vec::new();
        for peer in peers.iter_mut() {
            let Some(case) = peer.fill_case() else { continue };
            peer.fill(percent);
            let (peer_name, class) = (peer.name(), peer.class());
            rows.push(Row { peer: peer_name, class, case, taken: Some(percent), rounds: Vec::new() });
        }
        for _ in 0..settings.rounds {
            let able = peers.iter().filter_map(|peer| Some((peer, peer.fill_case()?)));
            for ((peer, case), row) in able.zip(&mut rows) {
                row.rounds.push(measure(peer.as_ref(), case, settings.round_seconds, 1.0));
            }
        }
        Row::print_head(&format!(
            "{percent} % taken: lease+return, unpipelined, 64 connections (PostgreSQL 16)"
        ));
        rows.iter().for_each(Row::print);
        all.append(&mut rows);
    }
    for peer in peers.iter() {
        if let Some(bytes) = peer.bytes_a_number_when_full() {
            println!("  {}: {bytes:.1} bytes of resident memory per number now", peer.name());
        }
    }
    all
}
