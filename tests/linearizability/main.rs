//! Concurrent calls of the engine against a sequential pool: every history must be one that the calls could
//! have made one after another, each at a moment between its beginning and its answer. "Exhausted" too: at
//! some such moment there was none. After a simulated crash, a call without an answer took effect or did not.
//!
//! `ALLOTD_HISTORIES` sets how many, `ALLOTD_SEED` the seed of the calls, which is printed. The
//! seed does not repeat how the threads run.

#![allow(clippy::unwrap_used)]

mod history;
mod spec;
mod subject;

use std::fmt::Write;
use std::time::{Duration, Instant};

use allotd::journal::Durability;
use history::{Bench, Crash, Event, History, POOL_NUMBERS, What};
use rand::rngs::{StdRng, SysRng};
use rand::{RngExt, SeedableRng, TryRng};
use spec::Answer;
use stateright::semantics::{ConsistencyTester, LinearizabilityTester};
use subject::Bug;

/// The first number of each pool; the others follow it.
const FIRST_NUMBER: u64 = 79_120_000_000;
const DEFAULT_HISTORIES: u64 = 4_000;
/// Seconds after which a test ends, unless `ALLOTD_HISTORIES` is set.
const MAX_SECONDS: u64 = 6;
/// Histories without a crash for each one with a crash, which takes that much longer.
const HISTORIES_PER_CRASH: u64 = 40;
/// Histories in which each bug must show.
const BUG_HISTORIES: u64 = 2_000;

fn from_environment(name: &str, default: impl FnOnce() -> u64) -> u64 {
    std::env::var(name).map_or_else(|_| default(), |text| text.parse().expect("a number"))
}

fn histories() -> u64 {
    from_environment("ALLOTD_HISTORIES", || DEFAULT_HISTORIES)
}

/// Whether a test that is to be short has run long enough.
fn is_over(started: Instant) -> bool {
    std::env::var_os("ALLOTD_HISTORIES").is_none() && started.elapsed() > Duration::from_secs(MAX_SECONDS)
}

fn seeded() -> StdRng {
    let seed = from_environment("ALLOTD_SEED", || SysRng.try_next_u64().unwrap());
    println!("ALLOTD_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

fn is_linearizable(history: &History) -> bool {
    let mut tester = LinearizabilityTester::new(history.before.clone());
    for event in &history.events {
        match &event.what {
            What::Call(call) => tester.on_invoke(event.thread, call.clone()).unwrap(),
            What::Answer(answer) => tester.on_return(event.thread, Some(*answer)).unwrap(),
        };
    }
    tester.is_consistent()
}

fn told(history: &History) -> String {
    let mut text = format!("{:?}\n", history.before);
    for Event { at, thread, what } in &history.events {
        writeln!(text, "{at} thread {thread}: {what:?}").unwrap();
    }
    text
}

/// What the histories were made of, so that a test that tests nothing is seen.
#[derive(Debug, Default)]
struct Tally {
    histories: u64,
    overlapping: u64,
    leased: u64,
    exhausted: u64,
    renewed: u64,
    returned: u64,
    stale: u64,
    unanswered: u64,
}

impl Tally {
    fn count(&mut self, history: &History) {
        self.histories += 1;
        let mut open = 0;
        let mut most = 0;
        for event in &history.events {
            let What::Answer(answer) = event.what else {
                open += 1;
                most = most.max(open);
                continue;
            };
            open -= 1;
            match answer {
                Answer::Leased { .. } => self.leased += 1,
                Answer::Exhausted => self.exhausted += 1,
                Answer::Renewed { .. } => self.renewed += 1,
                Answer::Returned { .. } => self.returned += 1,
                Answer::Stale => self.stale += 1,
                Answer::Busy | Answer::Saw { .. } | Answer::Done => {}
            }
        }
        self.unanswered += open;
        self.overlapping += u64::from(most > 1);
    }
}

fn run(histories: u64, durability: Durability, crash: impl Fn(&mut StdRng) -> Option<Crash>) -> Tally {
    let mut random = seeded();
    let directory = tempfile::tempdir().unwrap();
    let mut bench = Bench::new(directory.path(), durability);
    let mut tally = Tally::default();
    let started = Instant::now();
    for index in 0..histories {
        if is_over(started) {
            break;
        }
        let pool = random.random_range(0..POOL_NUMBERS.len());
        let history = bench.run(pool, crash(&mut random), None, &mut random);
        assert!(is_linearizable(&history), "history {index} of pool {pool}:\n{}", told(&history));
        tally.count(&history);
    }
    println!("{tally:?} in {:?}", started.elapsed());
    let each = [tally.leased, tally.renewed, tally.returned, tally.stale];
    assert!(each.into_iter().all(|count| count > tally.histories / 4), "hardly any of a kind");
    tally
}

#[test]
fn concurrent_calls_are_linearizable() {
    let tally = run(histories(), Durability::None, |_| None);
    assert!(tally.exhausted > tally.histories / 20, "hardly ever exhausted");
    assert!(tally.overlapping > tally.histories / 100, "hardly any calls at the same time");
}

#[test]
fn what_was_told_before_a_crash_is_linearizable_with_what_is_found_after_it() {
    let crash = |random: &mut StdRng| Some(if random.random() { Crash::Poison } else { Crash::Drop });
    let tally = run(histories() / HISTORIES_PER_CRASH, Durability::Sync, crash);
    assert!(tally.unanswered > tally.histories / 10, "hardly any calls under way at a crash");
}

#[test]
fn every_bug_is_caught() {
    let bugs = [
        (Bug::TokenNotChecked, None),
        (Bug::LeasedTwice, None),
        (Bug::OldReturnEndsNewLease, None),
        (Bug::FalselyExhausted, None),
        (Bug::RenewalForgotten, None),
        (Bug::EndsEarly, None),
        (Bug::ToldTooEarly, Some(Crash::Poison)),
    ];
    let mut random = seeded();
    for (bug, crash) in bugs {
        let directory = tempfile::tempdir().unwrap();
        let durability = if crash.is_some() { Durability::Sync } else { Durability::None };
        let mut bench = Bench::new(directory.path(), durability);
        let (mut shown, mut caught) = (0, None);
        for index in 0..BUG_HISTORIES {
            let pool = random.random_range(0..POOL_NUMBERS.len());
            let history = bench.run(pool, crash, Some(bug), &mut random);
            shown += u64::from(history.bug_shown);
            if !is_linearizable(&history) {
                caught = Some(index + 1);
                break;
            }
        }
        println!("{bug:?}: shown in {shown} histories, caught in history {caught:?}");
        assert!(caught.is_some(), "{bug:?} was never caught");
    }
}
