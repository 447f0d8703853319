//! Power loss for real: the daemon on ext4 on a disk that records every write and flush; the disk is rebuilt
//! as cuts of the power would have left it, mounted, recovered, and compared with what was confirmed.
//!
//! `ALLOTD_CUTS=2000 cargo test --test power_loss -- --nocapture` is the long run; without the variable a
//! short one. `ALLOTD_SEED` repeats the random choices of a run (the load itself is concurrent, and differs).
//! `ALLOTD_KEEP=DIR` keeps the image of the first cut that fails.
//!
//! Three runs: the daemon with `--durability sync`, which may lose nothing; daemons that do not sync, of
//! which the harness must catch losses, or it proves nothing; and a control in which the clients sync before
//! they count an answer, so that any loss would be the harness's own fault.

#![allow(clippy::unwrap_used)]

mod daemon;
mod disk;
mod load;
mod log;
mod record;
mod verify;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use rand::rngs::{StdRng, SysRng};
use rand::{RngExt, SeedableRng, TryRng};

use daemon::{Daemon, Mode};
use disk::Mount;
use load::History;
use log::Rebuilder;
use record::{Plan, Recording, record};
use verify::Expected;

/// Cuts of a run of CI, and of each recording of a longer run.
const CUTS: usize = 30;
const CUTS_A_RECORDING: usize = 200;
/// Every so many cuts the daemon is stopped in order, and `allotd check` must then find nothing.
const CHECKED: usize = 5;

const NONE: Mode = Mode { durability: "none", skip_sync: false };
const SYNC: Mode = Mode { durability: "sync", skip_sync: false };
const SYNC_SKIPPED: Mode = Mode { durability: "sync", skip_sync: true };

/// One run at a time: each wants the machine for itself.
static TURN: Mutex<()> = Mutex::new(());

#[test]
fn a_synced_daemon_loses_nothing() {
    run("sync", Plan { mode: SYNC, synced_by_clients: false }, |outcome| {
        assert_eq!(outcome.faulty, 0, "{}", outcome.first);
    });
}

#[test]
fn the_control_loses_nothing() {
    run("control", Plan { mode: NONE, synced_by_clients: true }, |outcome| {
        assert_eq!(outcome.faulty, 0, "the harness raises a false alarm: {}", outcome.first);
    });
}

#[test]
fn losses_without_durability_are_caught() {
    run("none", Plan { mode: NONE, synced_by_clients: false }, Outcome::caught_in_half);
}

#[test]
fn losses_of_a_daemon_that_skips_its_syncs_are_caught() {
    // The hidden variable is only heard in such builds.
    if cfg!(debug_assertions) {
        run("sync skipped", Plan { mode: SYNC_SKIPPED, synced_by_clients: false }, Outcome::caught_in_half);
    }
}

/// What came of all cuts of a run.
#[derive(Debug, Default)]
struct Outcome {
    cuts: usize,
    faulty: usize,
    /// The first fault, with what it takes to look at it again.
    first: String,
}

impl Outcome {
    fn caught_in_half(&self) {
        assert!(self.faulty * 2 >= self.cuts, "only {} of {} cuts show a loss", self.faulty, self.cuts);
    }
}

fn variable<T: std::str::FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not what it should be")))
}

fn run(name: &str, plan: Plan, judge: impl FnOnce(&Outcome)) {
    if let Some(reason) = disk::missing() {
        println!("{name}: skipped: {reason}");
        return;
    }
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    if !daemon::has_durability(plan.mode.durability, disk::workshop().path()) {
        println!("{name}: skipped: this daemon has no --durability {}", plan.mode.durability);
        return;
    }
    let seed: u64 = variable("ALLOTD_SEED").unwrap_or_else(|| SysRng.try_next_u64().unwrap());
    let cuts = variable("ALLOTD_CUTS").unwrap_or(CUTS);
    println!("{name}: {cuts} cuts, ALLOTD_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut outcome = Outcome::default();
    while outcome.cuts < cuts {
        let started = Instant::now();
        let workshop = disk::workshop();
        let recording = record(plan, random.random(), workshop.path());
        let recorded = started.elapsed();
        let (before, faulty) = (outcome.cuts, outcome.faulty);
        let wanted = CUTS_A_RECORDING.min(cuts - outcome.cuts);
        let figures = figures(&recording);
        cut(plan, recording, wanted, &mut random, workshop.path(), &mut outcome);
        println!(
            "{name}: {figures}; recorded in {:.1} s; {} of {wanted} cuts faulty, {:.0} ms a cut",
            recorded.as_secs_f64(),
            outcome.faulty - faulty,
            (started.elapsed() - recorded).as_secs_f64() * 1e3 / (outcome.cuts - before) as f64
        );
    }
    println!("{name}: {} cuts, {} with losses. {}", outcome.cuts, outcome.faulty, outcome.first);
    judge(&outcome);
}

fn figures(recording: &Recording) -> String {
    let History { leases, unanswered, acknowledged } = &recording.history;
    format!(
        "{acknowledged} answers, {} leases, {} unanswered, {} requests to the disk",
        leases.len(),
        unanswered.len(),
        recording.log.entries.len()
    )
}

/// Cuts a recording at random places.
fn cut(
    plan: Plan,
    recording: Recording,
    cuts: usize,
    random: &mut StdRng,
    workshop: &Path,
    outcome: &mut Outcome,
) {
    let Recording { log, history, span } = recording;
    let expected = Expected::new(history);
    assert!(expected.given_twice().is_empty(), "given twice: {:?}", expected.given_twice());
    let (first, last) = (log.entries_until(span.0), log.entries_until(span.1));
    let mut places: Vec<usize> = (0..cuts).map(|_| random.random_range(first..=last)).collect();
    places.sort_unstable();
    let mut rebuilder = Rebuilder::new(&log, disk::DISK_BYTES);
    let image = workshop.join("image");
    for place in places {
        let seed = random.random();
        rebuilder.advance(place).unwrap();
        rebuilder.write_to(&image, seed).unwrap();
        let position = log.entries[place - 1].end;
        let faults = recover(&image, plan.mode, &expected, position, outcome.cuts % CHECKED == 0);
        outcome.cuts += 1;
        outcome.faulty += usize::from(!faults.is_empty());
        if let (Some(fault), true) = (faults.first(), outcome.first.is_empty()) {
            let unflushed = rebuilder.unflushed();
            outcome.first = format!(
                "cut {place} of {last}, {unflushed} writes unflushed, {} faults: {fault}",
                faults.len()
            );
            if let Some(keep) = variable::<PathBuf>("ALLOTD_KEEP") {
                rebuilder.write_to(&keep.join("power-loss.image"), seed).unwrap();
            }
        }
    }
}

/// Mounts a disk after a cut and starts the daemon on it; all that is wrong.
fn recover(image: &Path, mode: Mode, expected: &Expected, position: u64, check: bool) -> Vec<String> {
    let mounted = Mount::new(image, &image.with_file_name("recovered"))
        .unwrap_or_else(|error| panic!("ext4 itself did not survive the cut: {error}"));
    let data = mounted.path.join(record::DATA);
    let daemon = match Daemon::start(&data, mode, &image.with_file_name("recovered.words")) {
        Ok(daemon) => daemon,
        Err(words) => return vec![words],
    };
    let mut faults = expected.faults(&daemon, position).unwrap_or_else(|error| vec![error.to_string()]);
    if check {
        faults.extend(daemon.stop().err());
        let output = daemon::allotd().arg("check").arg(&data).output().unwrap();
        if !output.status.success() {
            faults.push(format!("allotd check: {output:?}"));
        }
    }
    faults
}
