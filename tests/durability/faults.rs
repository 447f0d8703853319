//! Every call of a run to the disk failed once, in every way.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use allotd::domain::settings::{NextState, Settings};
use allotd::engine::operations::import::{ImportError, NumberSource};
use allotd::engine::{Engine, EngineConfig};
use allotd::journal::{Durability, JournalError};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::clocks::FakeClocks;
use super::faulty::{FaultyDisk, Way};
use super::history::Promise;
use super::script::{Failure, MAIN, NUMBERS, Script, range};
use super::{config, scratch, setting};

/// Calls failed of each way in the usual test run; `ALLOTD_FAULTS=0` fails every one.
const FAULTS_PER_WAY: u64 = 8;
/// No wait is longer.
const PATIENCE: Duration = Duration::from_secs(20);
/// Far behind the end of a run.
const END: u64 = u64::MAX / 2;

const WAYS: [Way; 6] = [
    Way::Broken { short: false, for_ever: false },
    Way::Broken { short: false, for_ever: true },
    Way::Broken { short: true, for_ever: false },
    Way::Full { short: false, calls: 1 },
    Way::Full { short: false, calls: 3 },
    Way::Full { short: true, calls: 1 },
];

type Step = Box<dyn Fn(&mut Script, &mut StdRng) -> Result<(), Failure>>;

/// A bit of everything; the journal goes through two files.
fn steps() -> Vec<Step> {
    let mut steps: Vec<Step> = vec![
        Box::new(|script, _| script.open()),
        Box::new(|script, _| script.create_main()),
        Box::new(|script, _| script.create_resting()),
        Box::new(|script, random| script.mark(true, random)),
    ];
    for round in 0..20 {
        steps.push(Box::new(|script, _| script.lease(MAIN, NUMBERS as u32, 1_000)));
        steps.push(Box::new(|script, _| script.settle()));
        steps.push(Box::new(move |script, random| {
            let then = if round == 5 { NextState::Done } else { NextState::Available };
            script.return_leases(NUMBERS as usize, then, random)
        }));
        steps.push(Box::new(|script, _| script.settle()));
        match round {
            4 => steps.push(Box::new(|script, _| script.add_numbers())),
            7 => steps.push(Box::new(|script, _| script.start_round())),
            9 => steps.push(Box::new(Script::change_settings)),
            11 => steps.push(Box::new(|script, random| script.mark(false, random))),
            _ => {}
        }
    }
    steps.push(Box::new(|script, _| script.close()));
    steps.push(Box::new(|script, _| script.open()));
    steps.push(Box::new(|script, _| script.lease(MAIN, 10, 1_000)));
    steps.push(Box::new(|script, _| script.settle()));
    steps.push(Box::new(|script, _| script.close()));
    steps
}

fn is_full(failure: &str) -> bool {
    failure.contains("full") || failure.contains("No space left")
}

/// A script and the disk it runs on.
fn on_a_faulty_disk(dir: &Path, durability: Durability) -> (Arc<FaultyDisk>, Script) {
    let disk = Arc::new(FaultyDisk::default());
    let clocks = Arc::new(FakeClocks::default());
    let config = EngineConfig { durability, disk: disk.clone(), ..config(dir, &clocks) };
    let place = Arc::clone(&disk);
    (disk, Script::new(config, clocks, Box::new(move || place.calls())))
}

fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Nothing is confirmed any more, and the reason is reported.
fn assert_poisoned(script: &mut Script) {
    let journal = Arc::clone(script.engine().journal());
    assert!(journal.poisoned_by().is_some_and(|why| !why.is_empty()));
    assert_eq!(journal.check(), Err(JournalError::Poisoned));
    if script.engine().pool(MAIN).is_some() {
        assert!(script.lease(MAIN, 1, 1_000).is_err());
    }
    assert!(script.engine().close().is_err());
}

/// Runs all steps, lets a fault happen, and checks what is left. Returns how many calls there were, and
/// whether one failed.
fn run(durability: Durability, fault: Option<(u64, Way)>) -> (u64, bool) {
    let random = &mut StdRng::seed_from_u64(7);
    let dir = scratch();
    let (disk, mut script) = on_a_faulty_disk(dir.path(), durability);
    if let Some((call, way)) = fault {
        disk.fail(call, way);
    }
    let is_broken = fault.is_some_and(|(_, way)| matches!(way, Way::Broken { .. }));
    let mut noticed = false;
    'run: for step in steps() {
        let began = Instant::now();
        let (was_running, mut has_healed) = (script.is_running(), false);
        while let Err(failure) = step(&mut script, random) {
            let failure = failure.to_string();
            assert!(began.elapsed() < PATIENCE, "{fault:?}: {failure}");
            noticed = true;
            if !script.is_running() {
                // It did not open or did not close: it must open when the disk is well.
                disk.heal();
                if was_running {
                    continue 'run;
                }
                assert!(!has_healed, "{fault:?}: {failure}");
                has_healed = true;
                continue;
            }
            if script.engine().journal().is_poisoned() {
                break 'run;
            }
            let failed = disk.failed();
            if disk.has_lost(is_broken) {
                wait_for("something is lost, but the journal goes on", || {
                    script.engine().journal().is_poisoned()
                });
                break 'run;
            }
            assert!(is_full(&failure) || is_broken, "{fault:?} at {failed:?}: {failure}");
            std::thread::sleep(Duration::from_millis(20));
        }
        if disk.has_lost(is_broken) && script.is_running() {
            let journal = script.engine().journal();
            let what = format!("{fault:?} at {:?}, but the journal goes on", disk.failed());
            wait_for(&what, || journal.is_poisoned());
            break;
        }
    }
    let is_for_ever = matches!(fault, Some((_, Way::Broken { for_ever: true, .. })));
    if script.is_running() && script.engine().journal().is_poisoned() {
        assert!(is_for_ever || !disk.is_harmless(), "{fault:?} at {:?} ended the engine", disk.failed());
        noticed = true;
        assert_poisoned(&mut script);
    }
    let failed = disk.failed();
    assert!(noticed || !disk.has_lost(is_broken), "{fault:?} at {failed:?}: not noticed");
    script.drop_engine();
    let verified = script.history.verify(dir.path(), END, Promise::Confirmed);
    verified.unwrap_or_else(|error| panic!("{fault:?} at {failed:?}: {error}"));
    (disk.calls(), failed.is_some())
}

fn fail_all_calls(durability: Durability) {
    let began = Instant::now();
    let (calls, _) = run(durability, None);
    let wanted = setting("ALLOTD_FAULTS", FAULTS_PER_WAY);
    let stride = calls.checked_div(wanted).unwrap_or(1).max(1);
    let mut faults = 0;
    for (index, way) in WAYS.into_iter().enumerate() {
        // Each way begins elsewhere: together they cover more calls.
        let mut call = index as u64 % stride;
        while run(durability, Some((call, way))).1 || call < calls / 2 {
            faults += 1;
            call += stride;
        }
    }
    println!("{durability:?}: {calls} calls, {faults} faults, {:.1} s", began.elapsed().as_secs_f64());
}

#[test]
fn every_call_fails_in_every_way() {
    fail_all_calls(Durability::Sync);
}

#[test]
fn every_call_fails_in_every_way_between_syncs() {
    fail_all_calls(Durability::Interval { sync_interval_ms: 1 });
}

#[test]
fn a_full_disk_refuses_changes_and_goes_on_when_there_is_room() {
    let dir = scratch();
    let (disk, mut script) = on_a_faulty_disk(dir.path(), Durability::Sync);
    script.open().unwrap();
    script.create_main().unwrap();
    script.lease(MAIN, 100, 1_000).unwrap();
    script.settle().unwrap();
    let journal = Arc::clone(script.engine().journal());
    // A sync that fails, that of a spare file too, would end all; here writes are to find no space.
    wait_for("there is no spare file", || journal.stats().files >= 2);
    disk.fail(0, Way::Full { short: false, calls: u64::MAX });
    script.lease(MAIN, 1, 1_000).unwrap();
    journal.wake_writer();
    wait_for("it takes changes on a full disk", || journal.check() == Err(JournalError::Full));
    let refused = script.lease(MAIN, 1, 1_000).unwrap_err().to_string();
    assert!(refused.contains("full: free some space"), "{refused}");
    assert_eq!(script.engine().pool(MAIN).unwrap().counts().leased, 101, "what is there can be looked at");
    let source = NumberSource::Ranges(&[range(1, 5)]);
    let created = script.engine().create_pool(&"other".parse().unwrap(), Settings::default(), source);
    assert!(matches!(created, Err(ImportError::StorageFull | ImportError::Journal(JournalError::Full))));
    disk.heal();
    script.settle().unwrap();
    wait_for("it stays closed", || journal.check().is_ok());
    script.lease(MAIN, 1, 1_000).unwrap();
    script.close().unwrap();
    script.history.verify(dir.path(), END, Promise::Confirmed).unwrap();
}

#[test]
fn a_full_disk_does_not_keep_the_daemon_from_ending() {
    let dir = scratch();
    let (disk, mut script) = on_a_faulty_disk(dir.path(), Durability::Sync);
    script.open().unwrap();
    script.create_main().unwrap();
    disk.fail(0, Way::Full { short: false, calls: u64::MAX });
    script.lease(MAIN, 1, 1_000).unwrap();
    assert!(script.close().is_err());
    disk.heal();
    script.history.verify(dir.path(), END, Promise::Confirmed).unwrap();
    let engine = Engine::open(&script.history.config_at(dir.path(), END)).unwrap();
    assert!(!engine.report().journal.clean);
}
