//! Single bits flipped anywhere in a data directory.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use allotd::check::check_directory;
use allotd::disk::device::{Disk, RealDisk};
use allotd::domain::settings::{NextState, Settings};
use allotd::engine::operations::export::Export;
use allotd::engine::operations::lease::{LeaseError, LeaseRequest, MAX_LEASE_COUNT};
use allotd::engine::{Engine, EngineConfig, NumberState};
use allotd::journal::frame::HEAD_BYTES;
use allotd::state::number_state::State;
use allotd::state::state_set::StateSet;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::clocks::FakeClocks;
use super::script::{MAIN, NUMBERS, Script};
use super::{config, scratch, seed, setting};

/// Flips in the usual test run; `ALLOTD_FLIPS` for more.
const FLIPS: u64 = 400;
/// One flip in this many, on average, is followed by an opening, for which the directory is copied; in a long run.
const ONE_IN_OPENED: [u32; 2] = [4, 30];
const LONG_RUN_FLIPS: u64 = 10_000;

/// A disk on which no checkpoint comes to its end, so that the journal keeps its files.
#[derive(Debug)]
struct NoCheckpoints;

impl Disk for NoCheckpoints {
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        let path = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
        if path.extension().is_some_and(|kind| kind == "sums") && bytes.len() < 4096 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        RealDisk.write_at(file, bytes, offset)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        if is_journal(from) { Err(io::ErrorKind::StorageFull.into()) } else { RealDisk.rename(from, to) }
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        if is_journal(path) { Err(io::ErrorKind::StorageFull.into()) } else { RealDisk.remove_file(path) }
    }
}

/// Whether it is a file in use of a journal.
fn is_journal(path: &Path) -> bool {
    path.extension().is_some_and(|kind| kind == "journal")
}

/// All that an engine shows of a pool.
#[derive(Debug, Clone, PartialEq)]
struct Told {
    settings: Settings,
    round: u32,
    paused: bool,
    numbers: Vec<NumberState>,
}

fn told(engine: &Engine) -> BTreeMap<String, Told> {
    let tell = |pool: Arc<allotd::engine::Pool>| {
        let mut export = Export::new(pool.clone(), StateSet::all(), None);
        let (mut rows, mut numbers) = (Vec::new(), Vec::new());
        while export.next_block(&mut rows) {
            numbers.extend_from_slice(&rows);
        }
        let told = Told {
            settings: Settings::clone(&pool.settings()),
            round: pool.round(),
            paused: pool.is_paused(),
            numbers,
        };
        (pool.name().to_string(), told)
    };
    engine.pools().into_iter().map(tell).collect()
}

fn journal_files(dir: &Path) -> usize {
    let names = fs::read_dir(dir.join("journal")).unwrap().map(|entry| entry.unwrap().path());
    names.filter(|path| is_journal(path)).count()
}

/// A directory that was not closed, with more than one file of the journal.
pub(crate) fn make_unclean(dir: &Path) -> Arc<FakeClocks> {
    let random = &mut StdRng::seed_from_u64(3);
    let clocks = Arc::new(FakeClocks::default());
    let mut script = Script::new(config(dir, &clocks), Arc::clone(&clocks), Box::new(|| 0));
    script.open().unwrap();
    script.create_main().unwrap();
    script.create_resting().unwrap();
    (0..100).for_each(|_| script.step(random).unwrap());
    script.close().unwrap();
    let stuck = EngineConfig { disk: Arc::new(NoCheckpoints), ..config(dir, &clocks) };
    script.set_config(stuck);
    script.open().unwrap();
    let mut rounds_left = 8;
    while rounds_left > 0 {
        script.lease(MAIN, NUMBERS as u32, 5_000).unwrap();
        script.settle().unwrap();
        let then = if rounds_left % 2 == 0 { NextState::Rest(15) } else { NextState::Available };
        script.return_leases(1_500, then, random).unwrap();
        script.settle().unwrap();
        script.advance().unwrap();
        if journal_files(dir) > 1 {
            rounds_left -= 1;
            if rounds_left == 6 {
                script.drop_engine();
                script.open().unwrap();
            }
        }
    }
    script.drop_engine();
    clocks
}

/// What happens to a directory after it was closed cleanly.
#[derive(Debug, Clone, Copy)]
enum After {
    CleanEnd,
    Start,
    StartAndChanges,
    AnotherCleanEnd,
    AnotherStart,
}

/// A directory that was closed cleanly at least once. Its journal keeps all of its files.
fn make_clean(dir: &Path, after: After) -> Arc<FakeClocks> {
    let random = &mut StdRng::seed_from_u64(4);
    let clocks = Arc::new(FakeClocks::default());
    let mut script = Script::new(config(dir, &clocks), Arc::clone(&clocks), Box::new(|| 0));
    script.open().unwrap();
    script.create_main().unwrap();
    script.create_resting().unwrap();
    (0..50).for_each(|_| script.step(random).unwrap());
    script.close().unwrap();
    if matches!(after, After::CleanEnd) {
        return clocks;
    }
    script.set_config(EngineConfig { disk: Arc::new(NoCheckpoints), ..config(dir, &clocks) });
    script.open().unwrap();
    if matches!(after, After::Start) {
        script.drop_engine();
        return clocks;
    }
    script.lease(MAIN, NUMBERS as u32, 5_000).unwrap();
    script.settle().unwrap();
    script.drop_engine();
    if matches!(after, After::StartAndChanges) {
        return clocks;
    }
    script.set_config(config(dir, &clocks));
    script.open().unwrap();
    script.close().unwrap();
    if matches!(after, After::AnotherStart) {
        script.set_config(EngineConfig { disk: Arc::new(NoCheckpoints), ..config(dir, &clocks) });
        for _ in 0..2 {
            script.open().unwrap();
            script.drop_engine();
        }
    }
    clocks
}

/// All files below a directory, by their path in it.
pub(crate) fn content(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(next) = dirs.pop() {
        for path in fs::read_dir(next).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                dirs.push(path);
            } else {
                // A running engine renames and removes files meanwhile.
                if let Ok(content) = fs::read(&path) {
                    files.insert(path.strip_prefix(dir).unwrap().to_owned(), content);
                }
            }
        }
    }
    files
}

/// Writes such a directory.
pub(crate) fn write(files: &BTreeMap<PathBuf, Vec<u8>>, dir: &Path) {
    for (path, bytes) in files {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        super::replay::write_sparse(&path, bytes);
    }
}

struct Flip<'a> {
    path: &'a Path,
    byte: usize,
    bit: u8,
}

fn any_flip<'a>(files: &'a BTreeMap<PathBuf, Vec<u8>>, random: &mut StdRng) -> Flip<'a> {
    let (path, bytes) = files.iter().nth(random.random_range(0..files.len())).unwrap();
    // Half of the flips where something is written.
    let mut byte = random.random_range(0..bytes.len());
    if random.random_bool(0.5) {
        let written = (0..10).map(|_| random.random_range(0..bytes.len())).find(|at| bytes[*at] != 0);
        byte = written.unwrap_or(byte);
    }
    Flip { path, byte, bit: random.random_range(0..8) }
}

/// Compares what is shown despite ignored damage with the truth: nobody gets what another may hold.
fn assert_nothing_false(
    told: &BTreeMap<String, Told>,
    truth: &BTreeMap<String, Told>,
    journal: bool,
    flip: &str,
) {
    for (name, pool) in truth {
        let now = &told[name];
        assert_eq!(
            (&now.settings, now.round, now.numbers.len()),
            (&pool.settings, pool.round, pool.numbers.len())
        );
        for (found, expected) in now.numbers.iter().zip(&pool.numbers) {
            let is_given_up = found.state == State::Retired;
            let is_older = journal && found.generation <= expected.generation;
            assert!(found == expected || is_given_up || is_older, "{flip}: {found:?} was {expected:?}");
        }
        assert!(!journal || now.paused, "{flip}: the journal is not whole, but {name} is not paused");
    }
}

/// Opens a damaged directory with `recover_damaged`.
fn recover(dir: &Path, clocks: &Arc<FakeClocks>, truth: &BTreeMap<String, Told>, path: &Path, flip: &str) {
    let config = EngineConfig { recover_damaged: true, ..config(dir, clocks) };
    let is_journal = path.starts_with("journal");
    let kind = path.extension().and_then(|kind| kind.to_str()).unwrap_or_default();
    let engine = match Engine::open(&config) {
        Ok(engine) => engine,
        Err(error) => {
            assert!(!is_journal && !["words", "sums"].contains(&kind), "{flip}: {error}");
            return;
        }
    };
    let report = engine.report().clone();
    let lost = !report.journal.damage.is_empty();
    let gave_up = lost || !report.given_up.is_empty() || !report.checksums_renewed.is_empty();
    assert!(gave_up || !report.repaired.is_empty(), "{flip}: {report}");
    let words = report.to_string();
    assert!(words.contains(if gave_up { "given up" } else { "repaired" }), "{flip}: {words}");
    let now = told(&engine);
    assert_nothing_false(&now, truth, lost, flip);
    let mut worker = engine.worker();
    for pool in engine.pools() {
        let request = LeaseRequest { count: MAX_LEASE_COUNT, ttl_seconds: None, within: None };
        let mut leases = Vec::new();
        match pool.lease(&mut worker, &request, &mut leases) {
            Ok(_) | Err(LeaseError::Exhausted | LeaseError::Paused) => {}
            Err(error) => panic!("{flip}: {error}"),
        }
        let pool_truth = &truth[pool.name().as_str()].numbers;
        for lease in &leases {
            let found = pool_truth.binary_search_by_key(&lease.number, |number| number.number).unwrap();
            assert_eq!(pool_truth[found].state, State::Available, "{flip}: {} has two holders", lease.number);
        }
    }
    engine.close().unwrap();
    drop(engine);
    let faults = check_directory(dir).unwrap().faults;
    assert!(faults.is_empty(), "{flip}: after it was given up {faults:?}");
}

#[test]
fn every_flipped_bit_is_found_or_does_no_harm() {
    let random = &mut StdRng::seed_from_u64(seed());
    let base = scratch();
    let clocks = make_unclean(base.path());
    let journals = journal_files(base.path());
    assert!(journals >= 3, "{journals} files of the journal");
    flip_bits(base.path(), &clocks, setting("ALLOTD_FLIPS", FLIPS), random);
}

#[test]
fn every_flipped_bit_is_found_in_every_state_of_a_journal() {
    let random = &mut StdRng::seed_from_u64(seed());
    let states =
        [After::CleanEnd, After::Start, After::StartAndChanges, After::AnotherCleanEnd, After::AnotherStart];
    for after in states {
        let base = scratch();
        let clocks = make_clean(base.path(), after);
        let journals = journal_files(base.path());
        println!("{after:?}: {journals} files of the journal");
        let is_started = matches!(after, After::Start | After::StartAndChanges | After::AnotherStart);
        assert_eq!(journals > 1, is_started, "{after:?}");
        flip_bits(base.path(), &clocks, setting("ALLOTD_FLIPS", FLIPS) / states.len() as u64, random);
        if is_started {
            flip_first_frame(base.path());
        }
    }
}

/// Flips bits of the first frame in the newest file of the journal.
fn flip_first_frame(base: &Path) {
    let names = fs::read_dir(base.join("journal")).unwrap().map(|entry| entry.unwrap().path());
    let newest = names.filter(|path| is_journal(path)).max().unwrap();
    let file = fs::OpenOptions::new().read(true).write(true).open(&newest).unwrap();
    for byte in (HEAD_BYTES as u64..2 * HEAD_BYTES as u64).step_by(61) {
        let mut content = [0];
        file.read_exact_at(&mut content, byte).unwrap();
        file.write_all_at(&[content[0] ^ 8], byte).unwrap();
        let found = check_directory(base).unwrap().faults;
        assert!(!found.is_empty(), "byte {byte} of {}", newest.display());
        file.write_all_at(&content, byte).unwrap();
    }
}

/// Flips bits anywhere in a directory, and puts them back.
fn flip_bits(base: &Path, clocks: &Arc<FakeClocks>, flips: u64, random: &mut StdRng) {
    let began = Instant::now();
    let files = content(base);
    let journals = journal_files(base);
    let sound = check_directory(base).unwrap();
    assert_eq!(sound.faults, []);
    let copy = || {
        let dir = scratch();
        write(&files, dir.path());
        dir
    };
    let truth_dir = copy();
    let engine = Engine::open(&config(truth_dir.path(), clocks)).unwrap();
    assert_eq!(engine.report().journal.files.len(), journals);
    let truth = told(&engine);
    drop(engine);
    let (mut found, mut opened, mut harmless) = (0, 0, BTreeMap::<PathBuf, u64>::new());
    for _ in 0..flips {
        let Flip { path, byte, bit } = any_flip(&files, random);
        let flip = format!("bit {bit} of byte {byte} of {}", path.display());
        let flipped = [files[path][byte] ^ (1 << bit)];
        let put = |dir: &Path, bytes: &[u8]| {
            let file = fs::OpenOptions::new().write(true).open(dir.join(path)).unwrap();
            file.write_all_at(bytes, byte as u64).unwrap();
        };
        put(base, &flipped);
        let checked = check_directory(base);
        let is_found = checked.as_ref().map_or(true, |checked| !checked.faults.is_empty());
        put(base, &files[path][byte..=byte]);
        found += u64::from(is_found);
        assert!(is_found || checked.is_ok_and(|checked| checked == sound), "{flip}");
        if !random.random_ratio(1, ONE_IN_OPENED[usize::from(flips > LONG_RUN_FLIPS)]) {
            continue;
        }
        opened += 1;
        let dir = copy();
        put(dir.path(), &flipped);
        let before = is_found.then(|| content(dir.path()));
        match Engine::open(&config(dir.path(), clocks)) {
            Ok(engine) => {
                assert!(!is_found, "{flip}: the check found it, it was opened");
                assert_eq!(told(&engine), truth, "{flip}");
                *harmless.entry(path.to_owned()).or_default() += 1;
            }
            Err(error) => {
                assert!(is_found, "{flip}: the check did not find it: {error}");
                assert_eq!(before.as_ref(), Some(&content(dir.path())), "{flip}: changed");
                recover(dir.path(), clocks, &truth, path, &flip);
            }
        }
    }
    println!(
        "{flips} flips: {found} found, {opened} opened, {:.1} s; harmless: {harmless:?}",
        began.elapsed().as_secs_f64()
    );
}
