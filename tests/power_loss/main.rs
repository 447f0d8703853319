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
mod operator;
mod record;
mod verify;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use rand::rngs::{StdRng, SysRng};
use rand::{RngExt, SeedableRng, TryRng};

use daemon::{Daemon, Mode};
use disk::Mount;
use load::History;
use log::{Rebuilder, WriteLog};
use record::{Plan, Recording, Syncs, record};
use verify::Expected;

/// Cuts of a run of CI, and of each recording of a longer run.
const CUTS: usize = 30;
const CUTS_PER_RECORDING: usize = 200;
/// At every n-th cut the daemon is stopped cleanly, and `allotd check` must then find nothing.
const CHECKED: usize = 5;
/// Every n-th cut is made while the daemon recovers from another, several in each such recovery.
const TWICE: usize = 5;
const CUTS_PER_RECOVERY: usize = 6;
/// Faulty cuts that are described.
const SHOWN: usize = 3;

/// Arguments that make checkpoints frequent enough to be cut in.
const SMALL_JOURNAL: &[&str] = &["--journal-file-mib", "2"];

const NONE: Mode = Mode { durability: "none", skip_sync: false, arguments: SMALL_JOURNAL };
const SYNC: Mode = Mode { durability: "sync", skip_sync: false, arguments: SMALL_JOURNAL };
const SYNC_SKIPPED: Mode = Mode { durability: "sync", skip_sync: true, arguments: SMALL_JOURNAL };

/// Also seen without `--nocapture`: a run that was skipped must not look like one that passed.
macro_rules! say {
    ($($text:tt)*) => {
        let _ = writeln!(std::io::stderr(), $($text)*);
    };
}

/// One run at a time: each wants the machine for itself.
static TURN: Mutex<()> = Mutex::new(());

#[test]
fn a_synced_daemon_loses_nothing() {
    run("sync", Plan { mode: SYNC, syncs: Syncs::Daemon }, |outcome| {
        assert_eq!(outcome.faulty, 0, "{:#?}", outcome.shown);
    });
}

#[test]
fn the_control_loses_nothing() {
    run("control", Plan { mode: NONE, syncs: Syncs::Client }, |outcome| {
        assert_eq!(outcome.faulty, 0, "the harness raises a false alarm: {:#?}", outcome.shown);
    });
}

#[test]
fn losses_without_durability_are_caught() {
    run("none", Plan { mode: NONE, syncs: Syncs::Daemon }, Outcome::caught_in_half);
}

#[test]
fn losses_of_a_daemon_that_skips_its_syncs_are_caught() {
    // The hidden variable is only read in such builds.
    if cfg!(debug_assertions) {
        run("sync skipped", Plan { mode: SYNC_SKIPPED, syncs: Syncs::Daemon }, Outcome::caught_in_half);
    }
}

/// Answers that come a moment too early are the smallest fault: only a cut within that moment shows it.
#[test]
fn answers_before_the_sync_are_caught() {
    run("too early", Plan { mode: NONE, syncs: Syncs::ClientTooLate }, |outcome| {
        assert!(outcome.faulty * 10 >= outcome.cuts, "only {} of {}", outcome.faulty, outcome.cuts);
    });
}

/// What came of all cuts of a run.
#[derive(Debug, Default)]
struct Outcome {
    cuts: usize,
    faulty: usize,
    /// Writes that no flush covered, over all cuts.
    unflushed: usize,
    /// The first of them.
    shown: Vec<String>,
}

impl Outcome {
    fn add(&mut self, rebuilder: &Rebuilder<'_>, seed: u64, mut faults: Vec<String>) {
        self.cuts += 1;
        self.unflushed += rebuilder.unflushed();
        if faults.is_empty() {
            return;
        }
        if let (true, Some(keep)) = (self.shown.is_empty(), variable::<PathBuf>("ALLOTD_KEEP")) {
            rebuilder.write_to(&keep.join("power-loss.image"), seed).unwrap();
        }
        let fault = format!("{rebuilder}: {} faults, such as {}", faults.len(), faults.swap_remove(0));
        self.add_fault(fault);
    }

    fn add_fault(&mut self, fault: String) {
        self.faulty += 1;
        if self.shown.len() < SHOWN {
            self.shown.push(fault);
        }
    }

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
        assert!(variable::<usize>("ALLOTD_CUTS").is_none(), "{reason}");
        say!("{name}: skipped: {reason}");
        return;
    }
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    if !daemon::has_durability(plan.mode.durability, disk::workshop().path()) {
        say!("{name}: skipped: this daemon has no --durability {}", plan.mode.durability);
        return;
    }
    let seed: u64 = variable("ALLOTD_SEED").unwrap_or_else(|| SysRng.try_next_u64().unwrap());
    let cuts = variable("ALLOTD_CUTS").unwrap_or(CUTS);
    say!("{name}: {cuts} cuts, ALLOTD_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut outcome = Outcome::default();
    while outcome.cuts < cuts {
        let started = Instant::now();
        let workshop = disk::workshop();
        let recording = record(plan, random.random(), workshop.path());
        let recorded = started.elapsed();
        let (before, faulty) = (outcome.cuts, outcome.faulty);
        let wanted = CUTS_PER_RECORDING.min(cuts - outcome.cuts);
        let figures = figures(&recording);
        let cutting = Instant::now();
        cut(plan, recording, wanted, &mut random, workshop.path(), &mut outcome);
        say!(
            "{name}: {figures}; recorded in {:.1} s; {} of {wanted} cuts faulty, {:.0} ms a cut",
            recorded.as_secs_f64(),
            outcome.faulty - faulty,
            cutting.elapsed().as_secs_f64() * 1e3 / (outcome.cuts - before) as f64
        );
    }
    let Outcome { cuts, faulty, unflushed, .. } = &outcome;
    say!("{name}: {cuts} cuts, {faulty} with losses, {unflushed} unflushed writes in all");
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

/// Cuts a recording at random places; some cuts are made twice, the second time during the recovery.
fn cut(
    plan: Plan,
    recording: Recording,
    cuts: usize,
    random: &mut StdRng,
    workshop: &Path,
    outcome: &mut Outcome,
) {
    let Recording { log, history, operator, span } = recording;
    let expected = Expected::new(history, operator);
    assert!(expected.given_twice().is_empty(), "given twice: {:?}", expected.given_twice());
    let (first, last) = (log.entries_until(span.0), log.entries_until(span.1));
    let twice = cuts / TWICE / CUTS_PER_RECOVERY * CUTS_PER_RECOVERY;
    let once = cuts - twice;
    let mut places: Vec<usize> = (0..once).map(|_| place(&log, first, last, random)).collect();
    places.sort_unstable();
    let mut rebuilder = Rebuilder::new(&log, vec![0; disk::DISK_BYTES as usize]);
    let image = workshop.join("image");
    let every = once * CUTS_PER_RECOVERY / twice.max(1);
    for (index, place) in places.into_iter().enumerate() {
        let seed = random.random();
        rebuilder.advance(place).unwrap();
        rebuilder.write_to(&image, seed).unwrap();
        let position = log.entries[place - 1].end;
        // Only of a daemon that claims to sync: of the others, only what was confirmed counts.
        let check = plan.mode.durability == "sync" && index % CHECKED == 0;
        let faults = recover(&image, plan.mode, &expected, position, check);
        outcome.add(&rebuilder, seed, faults);
        if twice > 0 && index % every == every / 2 {
            rebuilder.write_to(&image, seed).unwrap();
            cut_recovery(plan, &expected, (&image, position), random, outcome);
        }
    }
}

/// Where to cut: anywhere, or, in half of the cuts, just before the next flush is done, when the most is at
/// stake.
fn place(log: &WriteLog, first: usize, last: usize, random: &mut StdRng) -> usize {
    let place = random.random_range(first..=last);
    if random.random_bool(0.5) { log.before_flush(place).min(last) } else { place }
}

/// Cuts the power again while the daemon recovers from a cut.
fn cut_recovery(
    plan: Plan,
    expected: &Expected,
    (image, position): (&Path, u64),
    random: &mut StdRng,
    outcome: &mut Outcome,
) {
    let workshop = disk::workshop();
    let disk = workshop.path().join("disk");
    std::fs::copy(image, &disk).unwrap();
    let before = std::fs::read(&disk).unwrap();
    let log = match record::record_recovery(plan.mode, workshop.path()) {
        Ok(log) => log,
        Err(fault) => {
            outcome.cuts += 1;
            return outcome.add_fault(fault);
        }
    };
    let mut places: Vec<usize> =
        (0..CUTS_PER_RECOVERY).map(|_| place(&log, 0, log.entries.len(), random)).collect();
    places.sort_unstable();
    let mut rebuilder = Rebuilder::new(&log, before);
    for place in places {
        let seed = random.random();
        rebuilder.advance(place).unwrap();
        rebuilder.write_to(image, seed).unwrap();
        outcome.add(&rebuilder, seed, recover(image, plan.mode, expected, position, false));
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
