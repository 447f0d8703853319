//! The whole engine in one process, under a scheduler that a seed decides: callers, operators, the sweeper, the
//! checkpointer, the journal's writer and the recorder, on a disk that fails, fills up and loses power, with a
//! clock that the run moves. What a caller was told must be true, and stay true.
//!
//! `tests/simulation.sh` builds and runs it. `ALLOTD_SEED` repeats one schedule and prints what happened last.

#![cfg(allotd_shuttle)]
#![allow(clippy::unwrap_used)] // a run that cannot go on
#![allow(dead_code)] // parts of the other tests' files

mod caller;
mod campaign;
mod clocks;
mod disk;
mod history;
mod holder;
mod life;
mod listing;
mod member;
mod members;
mod model;
mod operator;
mod owners;
#[path = "../durability/power.rs"]
mod power;
mod register;
#[path = "../durability/replay.rs"]
mod replay;
mod scenario;
mod speakers;
mod waiting;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::Instant;

use allotd::sys::simulation::scheduler::Seeds;
use allotd::sys::simulation::{thread, world};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};

/// The most steps of one schedule. One that has more makes no progress.
const MAX_STEPS: usize = 600_000;
/// Bytes of a simulated thread's stack.
const STACK_BYTES: usize = 512 << 10;
/// Of so many seeds one is of calls that wait, and one of a cluster.
const KINDS_OF_SEEDS: u64 = 5;
const CLUSTER_SEED: u64 = 3;
const WAITING_SEED: u64 = 4;
/// Schedules of the short run.
const SCHEDULES: u64 = 2_000;
/// The length of the text that tells kinds of findings apart.
const KIND_CHARS: usize = 120;
/// Lines of the last events that a finding is printed with.
const PRINTED_EVENTS: usize = 1_500;

thread_local! {
    /// How many schedules were run.
    static RUN: Cell<u64> = const { Cell::new(0) };
    /// What the verdict over the last schedule was.
    static FINDINGS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

fn scratch() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    let parent = if memory.is_dir() { memory } else { std::env::temp_dir() };
    parent.join(format!("allotd-simulation-{}", std::process::id()))
}

/// Runs schedules until one has a finding; returns its seed.
fn search(first: u64, schedules: u64, stride: u64) -> Option<u64> {
    let (begun, limit) = (Instant::now(), setting("ALLOTD_SECONDS").unwrap_or(u64::MAX));
    let mut config = Config::new();
    config.stack_size = STACK_BYTES;
    config.failure_persistence = FailurePersistence::None;
    config.max_steps = MaxSteps::FailAfter(MAX_STEPS);
    config.silence_warnings = true;
    FINDINGS.with_borrow_mut(Vec::clear);
    let runner = Runner::new(Seeds::new(first, schedules, stride), config);
    let ran = catch_unwind(AssertUnwindSafe(|| {
        runner.run(move || {
            thread::run(move || {
                RUN.set(RUN.get() + 1);
                if begun.elapsed().as_secs() >= limit {
                    world::stop();
                }
                let seed = world::seed();
                speakers::forget();
                let run = match seed % KINDS_OF_SEEDS {
                    WAITING_SEED => waiting::run,
                    CLUSTER_SEED => members::run,
                    _ => scenario::run,
                };
                let findings = run(seed, &scratch());
                if !findings.is_empty() {
                    FINDINGS.with_borrow_mut(|all| all.extend(findings));
                    world::stop();
                }
            });
        });
    }));
    if ran.is_err() {
        let waits = world::waits();
        FINDINGS.with_borrow_mut(|all| all.push(format!("a panic, or no progress; now:\n{waits}")));
    }
    let found = FINDINGS.with_borrow(|all| !all.is_empty());
    found.then(world::seed)
}

/// A finding without what differs from one schedule to the next.
fn kind_of(finding: &str) -> String {
    let text = finding.replace(scratch().to_str().unwrap_or_default(), "");
    let plain = |word: &str| {
        let is_plain = word.chars().all(|c| c.is_ascii_alphabetic() || ".,:()'\"".contains(c));
        if is_plain { word.to_owned() } else { "#".to_owned() }
    };
    let words: Vec<String> = text.split_ascii_whitespace().map(plain).collect();
    words.join(" ").chars().take(KIND_CHARS).collect()
}

/// Runs all schedules and counts the findings by their first words.
fn survey(first: u64, schedules: u64, stride: u64) {
    let mut kinds: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let end = first + schedules * stride;
    let mut next = first;
    while next < end {
        let Some(seed) = search(next, (end - next).div_ceil(stride), stride) else { break };
        for finding in FINDINGS.with_borrow(Clone::clone) {
            kinds.entry(kind_of(&finding)).or_insert((seed, 0)).1 += 1;
        }
        next = seed + stride;
    }
    for (kind, (seed, count)) in kinds {
        println!("{count:>6} times, first by {seed:>6}: {kind}");
    }
}

/// Prints a finding, and what happened before it.
fn report(seed: u64) {
    world::trace(true);
    let first = FINDINGS.with_borrow(Clone::clone);
    let hash = world::hash();
    search(seed, 1, 1);
    let events = world::events();
    for event in &events[events.len().saturating_sub(PRINTED_EVENTS)..] {
        println!("{event}");
    }
    if world::hash() != hash {
        println!("the repetition went another way");
    }
    println!("after {} steps:", world::steps());
    first.iter().for_each(|finding| println!("FOUND {finding}"));
    println!("ALLOTD_SEED={seed}");
}

#[test]
fn simulated_schedules_have_no_finding() {
    if let Some(seed) = setting("ALLOTD_SEED") {
        let found = search(seed, 1, 1);
        println!("{} steps, {:x}", world::steps(), world::hash());
        report(seed);
        assert!(found.is_none(), "ALLOTD_SEED={seed}");
        return;
    }
    let first = setting("ALLOTD_FIRST_SEED").unwrap_or(0);
    let schedules = setting("ALLOTD_SCHEDULES").unwrap_or(SCHEDULES);
    let stride = setting("ALLOTD_STRIDE").unwrap_or(1);
    let begun = Instant::now();
    if setting("ALLOTD_SURVEY").is_some() {
        survey(first, schedules, stride);
        println!("{:.0} schedules a second", RUN.get() as f64 / begun.elapsed().as_secs_f64());
        return;
    }
    let found = search(first, schedules, stride);
    let seconds = begun.elapsed().as_secs_f64();
    let _ = std::fs::remove_dir_all(scratch());
    if let Some(seed) = found {
        println!("found after {} schedules, {seconds:.1} s", (seed - first) / stride + 1);
        report(seed);
        let _ = std::fs::remove_dir_all(scratch());
        panic!("ALLOTD_SEED={seed}");
    }
    println!("{} schedules, {:.0} a second", RUN.get(), RUN.get() as f64 / seconds);
}
