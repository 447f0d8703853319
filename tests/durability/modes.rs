//! A directory that is opened in another durability mode than it was left in.

use std::sync::Arc;

use allotd::check::check_directory;
use allotd::engine::{Engine, EngineConfig};
use allotd::journal::Durability;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::clocks::FakeClocks;
use super::flips::{content, write};
use super::history::Promise;
use super::power::PowerDisk;
use super::script::{MAIN, NUMBERS, Script};
use super::{config, scratch, seed};

/// More calls than opening makes.
const MOST_CALLS: usize = 60;

/// With `none` the words are changed in their file, past the disk. They may differ from the checksums only once
/// these say so.
#[test]
fn a_start_without_journal_that_is_killed_leaves_no_damage() {
    let random = &mut StdRng::seed_from_u64(seed());
    let dir = scratch();
    let clocks = Arc::new(FakeClocks::default());
    let mut script = Script::new(config(dir.path(), &clocks), Arc::clone(&clocks), Box::new(|| 0));
    script.open().unwrap();
    script.create_main().unwrap();
    script.create_resting().unwrap();
    (0..30).for_each(|_| script.step(random).unwrap());
    script.lease(MAIN, NUMBERS as u32, 5_000).unwrap();
    script.settle().unwrap();
    script.drop_engine();
    let files = content(dir.path());
    let mut was_opened = false;
    for calls in 0..MOST_CALLS {
        let dir = scratch();
        write(&files, dir.path());
        let disk = Arc::new(PowerDisk::over(dir.path()));
        disk.set_off_after(calls);
        let without =
            EngineConfig { durability: Durability::None, disk: disk.clone(), ..config(dir.path(), &clocks) };
        let opened = Engine::open(&without);
        was_opened = opened.is_ok();
        disk.set_off(true);
        drop(opened);
        let checked = check_directory(dir.path()).unwrap();
        assert_eq!(checked.faults, [], "killed after {calls} calls to the disk");
        script.history.verify(dir.path(), u64::MAX / 2, Promise::Confirmed).unwrap();
    }
    assert!(was_opened, "opening makes more calls than {MOST_CALLS}");
}
