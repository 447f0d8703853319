//! How steady leases are while something else goes on: their latency quiet, and during imports, deletions,
//! checkpoints, an export, the sweep of many expiries, and a backup.
//!
//! `cargo bench --bench stress` (about ten minutes), `-- --quick` (a small pool, one round),
//! `-- --only import,sweep` (of `import`, `deletion`, `checkpoints`, `export`, `sweep`, `backup`), `-- --durability sync`,
//! `-- --rate 20000`, `-- --rounds 5`, `-- --dir DIR` (on a disk). The daemon, with one worker, runs on core 0; on
//! core 1 runs the client that measures, and, behind it in priority, the one that imports, exports or asks for
//! backups. Plain leases come in an open loop at a fixed rate over 64 connections; latency is from the time a lease
//! was due. Quiet and stressed rounds alternate. Printed are medians of the rounds, and the longest of all as max.
//! The figures are written to `target/stress.json`, which `cargo bench --bench growth -- --plot` draws.

#![allow(clippy::unwrap_used, clippy::cast_sign_loss, missing_docs)]

mod stressors;
#[path = "../support/mod.rs"]
mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use allotd::bench::load::{self, Load};
use allotd::bench::plan::ANSWER_PATIENCE;
use serde_json::{Value, json};

use self::stressors::{Place, Stress};
use self::support::curve::{Curve, Point, Sample, Series, write_curves};
use self::support::daemon::{Daemon, plain_lease};
use self::support::figures::short;
use self::support::options::Options;
use self::support::process::SERVER_CORE;
use self::support::{machine, numbers, process};

const CONNECTIONS: usize = 64;
const WARM_UP: Duration = Duration::from_secs(1);
const DEFAULT_RATE_PER_SECOND: f64 = 10_000.0;
const DURABILITIES: [&str; 2] = ["none", "sync"];
/// The percentiles, and what they are called.
const QUANTILES: [(f64, &str); 4] = [(0.5, "p50"), (0.99, "p99"), (0.999, "p99.9"), (1.0, "max")];
const P99_9: usize = 2;
const MAX: usize = 3;
/// So small that checkpoints follow each other closely, and so large that none is late: with smaller files leases
/// wait for it.
const SMALL_JOURNAL_FILE_MIB: &str = "32";
/// Numbers are leased for the sweep within this time.
const SWEEP_PREPARATION: Duration = Duration::from_secs(15);
/// After a round under stress: until the disk has done with what it left, freed blocks included.
const SETTLE_TIME: Duration = Duration::from_secs(3);
/// From the start of a round to the second in which they end.
const SWEEP_LEAD: Duration = Duration::from_secs(3);

/// One round's latencies in microseconds, as [`QUANTILES`].
type Latencies = [f64; 4];

/// What is measured in all rounds.
struct Settings {
    rate_per_second: f64,
    time: Duration,
    numbers: u64,
    swept: u64,
}

/// The rounds of one kind of stress in one mode.
struct Case {
    stress: Stress,
    quiet: Vec<Latencies>,
    during: Vec<Latencies>,
    /// How often it was done, or checkpoints were made, in all rounds.
    times: u64,
}

fn measure(daemon: &Daemon, settings: &Settings) -> Latencies {
    let load = Load {
        threads: 1,
        connections: CONNECTIONS,
        depth: 1,
        rate_per_second: Some(settings.rate_per_second),
        warm_up: WARM_UP,
        time: settings.time,
        interval: settings.time,
        patience: ANSWER_PATIENCE,
    };
    let requests: Arc<[Vec<u8>]> = Arc::from([plain_lease("p")]);
    let measured = load::run(&load, |place| daemon.leasing(&requests, place, 1), None);
    let tally = measured.unwrap_or_else(|error| panic!("{error}")).tally;
    assert!(tally.kinds.iter().all(|kind| kind.status == 200), "refused: {:?}", tally.kinds);
    QUANTILES.map(|(quantile, _)| tally.quantile_nanoseconds(quantile) as f64 / 1e3)
}

/// A total of all pools, or of the journal.
fn counted(daemon: &Daemon, pointer: &str) -> u64 {
    daemon.get("/v1/stats").pointer(pointer).unwrap().as_u64().unwrap()
}

/// One round under stress, and how often that happened.
fn measure_during(
    stress: Stress,
    daemon: &Daemon,
    place: Place<'_>,
    settings: &Settings,
) -> (Latencies, u64) {
    let expired = counted(daemon, "/pools/p/totals/expirations");
    if stress == Stress::Sweep {
        stressors::lease_until_one_second(daemon, settings.swept, SWEEP_PREPARATION, SWEEP_LEAD);
    }
    if stress == Stress::Deletion {
        stressors::prepare_deletions(daemon, place);
    }
    let checkpoints = counted(daemon, "/journal/checkpoints");
    let stop = AtomicBool::new(false);
    let (latencies, times) = std::thread::scope(|scope| {
        let stressor = scope.spawn(|| stressors::go_on(stress, daemon, place, &stop));
        let latencies = measure(daemon, settings);
        stop.store(true, Ordering::Relaxed);
        (latencies, stressor.join().unwrap())
    });
    stressors::tidy(daemon, place);
    std::thread::sleep(SETTLE_TIME);
    match stress {
        Stress::Sweep => {
            let swept = counted(daemon, "/pools/p/totals/expirations") - expired;
            assert!(swept >= settings.swept, "only {swept} numbers came back in the round");
            (latencies, 1)
        }
        Stress::Checkpoints => (latencies, counted(daemon, "/journal/checkpoints") - checkpoints),
        _ => (latencies, times),
    }
}

/// All kinds of stress in one durability mode.
fn measure_mode(durability: &str, options: &Options, settings: &Settings, dir: &Path) -> Vec<Case> {
    let numbers_file = dir.join("numbers.txt");
    let ranges = numbers::sample(settings.numbers);
    numbers::write_numbers(&numbers_file, &ranges);
    let backup_dir = dir.join("backups");
    let place = Place { ranges: &ranges, numbers_file: &numbers_file, backup_dir: &backup_dir };
    let start = |name: &str, more: &[&str]| {
        let flags = ["--workers", "1", "--durability", durability, "--backup-dir"];
        let flags = [flags.as_slice(), &[backup_dir.to_str().unwrap()], more].concat();
        let daemon = Daemon::start(&dir.join(name), &[SERVER_CORE], &flags);
        daemon.create_pool("p", "ttl=86400", &ranges);
        daemon.touch_pages("p", settings.numbers);
        daemon.wait_for_returns(0);
        daemon
    };
    let usual = start("usual", &[]);
    let mut cases = Vec::new();
    for stress in Stress::ALL {
        let small_files = stress == Stress::Checkpoints;
        if !options.wants(stress.name()) || (small_files && durability == "none") {
            continue;
        }
        let mut case = Case { stress, quiet: Vec::new(), during: Vec::new(), times: 0 };
        // A daemon with small files always has checkpoints: quiet rounds run on the usual one before.
        let small = small_files.then(|| {
            case.quiet = (0..options.rounds).map(|_| measure(&usual, settings)).collect();
            start("small", &["--journal-file-mib", SMALL_JOURNAL_FILE_MIB])
        });
        let daemon = small.as_ref().unwrap_or(&usual);
        for _ in 0..options.rounds {
            process::check_signals();
            if !small_files {
                case.quiet.push(measure(daemon, settings));
            }
            let (during, times) = measure_during(stress, daemon, place, settings);
            case.during.push(during);
            case.times += times;
        }
        print_case(durability, &case);
        cases.push(case);
    }
    cases
}

/// Medians of the rounds; of the longest the longest.
fn summary(rounds: &[Latencies]) -> Latencies {
    let point = |at: usize| Point::of(0.0, &samples(rounds, at));
    let mut all = [0, 1, 2, MAX].map(|at| point(at).median);
    all[MAX] = point(MAX).highest;
    all
}

fn samples(rounds: &[Latencies], at: usize) -> Vec<Sample> {
    rounds.iter().map(|round| Sample { value: round[at], facts: Vec::new() }).collect()
}

fn print_head() {
    println!("\nlatency of a plain lease from when it was due, in microseconds");
    println!(
        "  {:<6} {:<12} {:>9} {:>9} {:>9} {:>9}   {:>9} {:>9} {:>9} {:>9}   {:>7} {:>6}",
        "mode",
        "during",
        "quiet p50",
        "p99",
        "p99.9",
        "max",
        "p50",
        "p99",
        "p99.9",
        "max",
        "p99.9 x",
        "times"
    );
}

fn print_case(durability: &str, case: &Case) {
    let (quiet, during) = (summary(&case.quiet), summary(&case.during));
    let shown = |of: Latencies| of.map(|value| format!("{:>9}", short(value))).join(" ");
    println!(
        "  {durability:<6} {:<12} {}   {}   {:>7} {:>6}",
        case.stress.name(),
        shown(quiet),
        shown(during),
        short(during[P99_9] / quiet[P99_9]),
        case.times
    );
}

fn case_json(durability: &str, case: &Case) -> Value {
    let shown = |rounds: &[Latencies]| {
        let all = summary(rounds);
        let values = QUANTILES.iter().zip(all).map(|((_, name), value)| ((*name).to_owned(), value.into()));
        Value::Object(values.collect())
    };
    json!({
        "durability": durability,
        "during": case.stress.name(),
        "times": case.times,
        "quiet_us": shown(&case.quiet),
        "during_us": shown(&case.during),
        "p99_9_ratio": summary(&case.during)[P99_9] / summary(&case.quiet)[P99_9],
    })
}

/// The percentiles of all kinds of stress beside each other.
fn curve(durability: &str, cases: &[Case], settings: &Settings) -> Curve {
    let series = |name: &str, rounds: &[Latencies]| Series {
        name: name.to_owned(),
        points: (0..QUANTILES.len()).map(|at| Point::of(at as f64, &samples(rounds, at))).collect(),
    };
    let quiet: Vec<Latencies> = cases.iter().flat_map(|case| case.quiet.clone()).collect();
    let mut all = vec![series("quiet", &quiet)];
    all.extend(cases.iter().map(|case| series(case.stress.name(), &case.during)));
    Curve {
        name: format!("stress_{durability}"),
        title: format!("Leases while something else goes on, --durability {durability}"),
        x_label: format!("of {} leases per second, one core for the daemon", settings.rate_per_second),
        y_label: "latency from when it was due, \u{b5}s".to_owned(),
        x_names: QUANTILES.map(|(_, name)| name.to_owned()).to_vec(),
        log_y: true,
        series: all,
    }
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let options = Options::read(&args);
    let started = Instant::now();
    machine::check_on_disk(&options.dir);
    let settings = Settings {
        rate_per_second: options
            .value("--rate")
            .map_or(DEFAULT_RATE_PER_SECOND, |text| text.parse().unwrap()),
        time: Duration::from_secs(if options.quick { 3 } else { 5 }),
        numbers: if options.quick { 4_000_000 } else { 40_000_000 },
        swept: if options.quick { 1_000_000 } else { 10_000_000 },
    };
    let machine = machine::describe();
    process::run_as_client();
    process::end_at_signals();
    print_head();
    let mut shown = Vec::new();
    for durability in DURABILITIES {
        if options.value("--durability").is_some_and(|only| only != durability) {
            continue;
        }
        let dir = tempfile::tempdir_in(&options.dir).unwrap();
        let cases = measure_mode(durability, &options, &settings, dir.path());
        shown.extend(cases.iter().map(|case| case_json(durability, case)));
        let about = json!({
            "machine": machine,
            "rounds": options.rounds,
            "quick": options.quick,
            "rate_per_second": settings.rate_per_second,
            "cases": shown,
        });
        write_curves("stress", &about, vec![curve(durability, &cases, &settings)]);
    }
    println!("{} s in all", started.elapsed().as_secs());
}
