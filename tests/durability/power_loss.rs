//! Power lost at any place of a run, and again while the first loss is recovered from.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use allotd::engine::{Engine, EngineConfig};
use allotd::journal::Durability;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::clocks::FakeClocks;
use super::history::{History, Promise};
use super::power::PowerDisk;
use super::replay::{Event, Replay, any_kept};
use super::script::Script;
use super::{config, scratch, seed, setting};

/// Steps of one run.
const STEPS: usize = 300;
/// Crash points in the usual test run; `ALLOTD_CRASH_POINTS` for more.
const CRASH_POINTS: u64 = 250;
/// Crash points checked in one run.
const POINTS_PER_RUN: u64 = 500;
/// One point in this many, on average, is followed by another loss of power during recovery.
const ONE_IN_TWICE: u32 = 4;

/// A run that was recorded.
struct Recorded {
    start: Replay,
    events: Vec<Event>,
    history: History,
}

/// Opens the engine; some processes are killed while they do it.
fn open(script: &mut Script, disk: &PowerDisk, random: &mut StdRng) {
    disk.set_off(false);
    while random.random_bool(0.5) {
        disk.set_off_after(random.random_range(0..25));
        let _ = script.open();
        disk.set_off(true);
        script.drop_engine();
        disk.set_off(false);
    }
    script.open().unwrap();
}

fn record(durability: Durability, seed: u64, steps: usize) -> Recorded {
    let random = &mut StdRng::seed_from_u64(seed);
    let dir = scratch();
    let disk = Arc::new(PowerDisk::over(dir.path()));
    let clocks = Arc::new(FakeClocks::default());
    let config = EngineConfig { durability, disk: disk.clone(), ..config(dir.path(), &clocks) };
    let place = Arc::clone(&disk);
    let mut script = Script::new(config, clocks, Box::new(move || place.position()));
    open(&mut script, &disk, random);
    script.create_main().unwrap();
    script.create_resting().unwrap();
    for _ in 0..steps {
        script.step(random).unwrap();
        match random.random_range(0..60) {
            0 => {
                script.close().unwrap();
                open(&mut script, &disk, random);
            }
            1 => {
                disk.set_off(true);
                script.drop_engine();
                open(&mut script, &disk, random);
            }
            _ => {}
        }
    }
    if random.random_bool(0.5) {
        script.close().unwrap();
    }
    let history = std::mem::take(&mut script.history);
    drop(script);
    let (start, events) = disk.trace();
    Recorded { start, events, history }
}

/// What a loss of power after `at` events must leave.
fn promise(durability: Durability, events: &[Event], at: u64) -> Promise {
    if durability == Durability::Sync {
        return Promise::Confirmed;
    }
    // A sync of the file that the last frame was written to: all frames before are durable.
    let mut last_written = None;
    let mut durable = 0;
    for (place, event) in events[..at as usize].iter().enumerate() {
        match event {
            Event::Write { node, bytes, .. } if bytes.get(4..8) == Some(b"ALJF") => last_written = Some(node),
            Event::Sync { node } if last_written == Some(node) => durable = place as u64,
            _ => {}
        }
    }
    Promise::ConfirmedBefore(durable)
}

/// Loses power again while the directory is recovered; the second directory is what that leaves.
fn lose_power_again(
    history: &History,
    first: &Path,
    second: &Path,
    at: u64,
    durability: Durability,
    random: &mut StdRng,
) -> Result<(), String> {
    let disk = Arc::new(PowerDisk::over(first));
    let config = EngineConfig { disk: disk.clone(), durability, ..history.config_at(first, at) };
    let engine = Engine::open(&config).map_err(|error| format!("first open: {error}"))?;
    let patience = Instant::now() + Duration::from_millis(random.random_range(0..30));
    while engine.journal().stats().checkpoints == 0 && Instant::now() < patience {
        std::thread::sleep(Duration::from_millis(1));
    }
    disk.set_off(true);
    drop(engine);
    let (mut replay, events) = disk.trace();
    let end = random.random_range(0..=events.len());
    events[..end].iter().for_each(|event| replay.apply(event));
    replay.lose_power(second, any_kept(random), random);
    Ok(())
}

/// Loses power at one place and checks what is left.
fn lose_power_at(
    recorded: &Recorded,
    replay: &Replay,
    at: u64,
    durability: Durability,
    random: &mut StdRng,
) -> Result<(), String> {
    let scratch = scratch();
    let (mut dir, second) = (scratch.path().join("a"), scratch.path().join("b"));
    let kept = any_kept(random);
    replay.lose_power(&dir, kept, random);
    let twice = random.random_ratio(1, ONE_IN_TWICE);
    let explain = |error: String| format!("after {at} events, {kept:?} kept, twice {twice}: {error}");
    if twice {
        lose_power_again(&recorded.history, &dir, &second, at, durability, random).map_err(explain)?;
        dir = second;
    }
    let promise = promise(durability, &recorded.events, at);
    let verified = recorded.history.verify(&dir, at, promise);
    if verified.is_err() && setting("ALLOTD_KEEP", 0) == 1 {
        let _ = scratch.keep();
    }
    verified.map_err(explain)
}

/// Loses power at `points` places or more. Returns how many there were, and the failures.
fn campaign(durability: Durability, points: u64, seed: u64, mutant: bool) -> (u64, Vec<String>) {
    let began = Instant::now();
    let mut done = 0;
    let mut failures = Vec::new();
    let mut run = 0;
    while done < points {
        let recorded = record(durability, seed.wrapping_add(run), STEPS);
        let random = &mut StdRng::seed_from_u64(seed.wrapping_add(run));
        run += 1;
        let mut replay = recorded.start.clone();
        replay.ignores_sync = mutant;
        let wanted = POINTS_PER_RUN.min(points - done);
        let chance = (wanted as f64 / recorded.events.len() as f64).min(1.0);
        for (index, event) in recorded.events.iter().enumerate() {
            replay.apply(event);
            if random.random_bool(chance) {
                let at = index as u64 + 1;
                failures.extend(lose_power_at(&recorded, &replay, at, durability, random).err());
                done += 1;
            }
        }
    }
    println!(
        "{durability:?}: {done} losses of power in {run} runs, {} failed, {:.1} s",
        failures.len(),
        began.elapsed().as_secs_f64()
    );
    (done, failures)
}

fn points(default: u64) -> u64 {
    setting("ALLOTD_CRASH_POINTS", default)
}

fn assert_none(failures: &[String]) {
    let first = &failures[..3.min(failures.len())];
    assert!(failures.is_empty(), "{} failures, the first: {first:#?}", failures.len());
}

#[test]
fn nothing_confirmed_is_lost_with_the_power() {
    let (_, failures) = campaign(Durability::Sync, points(CRASH_POINTS), seed(), false);
    assert_none(&failures);
}

#[test]
fn the_loss_of_an_interval_is_consistent() {
    let durability = Durability::Interval { sync_interval_ms: 5 };
    let (_, failures) = campaign(durability, points(CRASH_POINTS) / 2, seed(), false);
    assert_none(&failures);
}

#[test]
fn a_disk_that_does_not_sync_is_found_out() {
    let (done, failures) = campaign(Durability::Sync, points(CRASH_POINTS).min(1_000) / 4, seed(), true);
    assert!(failures.len() as u64 * 2 > done, "{} of {done}", failures.len());
}
