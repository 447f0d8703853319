//! Directories that are not as they were left: refused with a clear error, and left as they are.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use allotd::check::check_directory;
use allotd::domain::settings::{NextState, Settings};
use allotd::engine::operations::import::NumberSource;
use allotd::engine::operations::lease::{LeaseError, LeaseRequest};
use allotd::engine::operations::lease_ref::LeaseRef;
use allotd::engine::operations::return_leases::{ReturnError, ReturnItem};
use allotd::engine::{Engine, EngineConfig};
use allotd::state::number_state::State;
use allotd::state::time::Timestamp;
use allotd::store::open_error::OpenError;

use super::clocks::{BEGINNING_SECONDS, FakeClocks};
use super::flips::{content, make_unclean, write};
use super::script::range;
use super::{config, scratch};

type Files = std::collections::BTreeMap<PathBuf, Vec<u8>>;

const PAGE: usize = 4096;
/// The files of the journal in use, oldest first.
fn journal_paths(files: &Files) -> Vec<PathBuf> {
    files.keys().filter(|path| path.extension().is_some_and(|kind| kind == "journal")).cloned().collect()
}

/// Changes a directory, and checks how it is refused: the error names a file or directory and says what.
fn refuse(files: &Files, clocks: &Arc<FakeClocks>, words: &[&str], change: impl FnOnce(&mut Files)) {
    let mut files = files.clone();
    change(&mut files);
    let dir = scratch();
    write(&files, dir.path());
    let before = content(dir.path());
    let error = match Engine::open(&config(dir.path(), clocks)) {
        Ok(engine) => panic!("{words:?}: it opened: {}", engine.report()),
        Err(error) => error.to_string(),
    };
    for word in words.iter().chain(&[dir.path().to_str().unwrap()]) {
        assert!(error.contains(word), "{error:?} does not tell of {word:?}");
    }
    assert_eq!(before, content(dir.path()), "{error}: the directory was changed");
    let checked = check_directory(dir.path());
    assert!(checked.map_or(true, |checked| !checked.faults.is_empty()), "{error}: the check found nothing");
    assert_eq!(before, content(dir.path()), "{error}: the check changed the directory");
}

fn journal(files: &mut Files, index: usize) -> &mut Vec<u8> {
    let path = journal_paths(files).swap_remove(index);
    files.get_mut(&path).unwrap()
}

#[test]
fn a_journal_that_is_not_as_it_was_written_is_refused() {
    let base = scratch();
    let clocks = make_unclean(base.path());
    let mut files = content(base.path());
    let paths = journal_paths(&files);
    let names: Vec<&str> = paths.iter().map(|path| path.to_str().unwrap()).collect();
    assert_eq!(names.len(), 3);
    let second = &names[1].trim_start_matches("journal/").trim_start_matches('0')[..1];
    files.retain(|path, _| !path.starts_with("staging"));
    let refuse = |words: &[&str], change: &dyn Fn(&mut Files)| refuse(&files, &clocks, words, change);
    let help = "--recover-damaged";
    for (index, name) in names.iter().copied().enumerate() {
        refuse(&[name, "byte 0", "head", help], &|files| journal(files, index)[20] ^= 1);
        refuse(&[name, "byte 0", "as a journal file"], &|files| journal(files, index)[3] ^= 1);
        refuse(&[name, "byte 4096", "changed since"], &|files| journal(files, index)[PAGE + 100] ^= 1);
        refuse(&[name, "bytes, its head says"], &|files| journal(files, index).truncate(1 << 20));
        refuse(&[name, "bytes, its head says"], &|files| journal(files, index).push(0));
        refuse(&[name, "as a journal file"], &|files| journal(files, index).clear());
        refuse(&[name, "is not whole"], &|files| journal(files, index)[PAGE..2 * PAGE].fill(0));
        refuse(&[name, "is not whole"], &|files| {
            // The first frame, an empty one, over the beginning of the next.
            journal(files, index).copy_within(PAGE..2 * PAGE, 2 * PAGE);
        });
    }
    refuse(&[names[2], &format!("file {second} is missing")], &|files| drop(files.remove(&paths[1])));
    refuse(&["journal", "no journal file"], &|files| {
        files.retain(|path, _| !path.starts_with("journal"));
    });
    refuse(&[names[1], "its head is that of file"], &|files| {
        let first = journal(files, 0).clone();
        *journal(files, 1) = first;
    });
    refuse(&[names[2], "has format 9", "the version of allotd that wrote it"], &|files| {
        let page = &mut journal(files, 2)[..PAGE];
        page[8] = 9;
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&page[..12]), &page[16..56]);
        page[12..16].copy_from_slice(&checksum.to_le_bytes());
    });
}

#[test]
fn a_frame_after_the_end_that_was_there_before_is_not_taken_again() {
    let base = scratch();
    let clocks = make_unclean(base.path());
    let mut files = content(base.path());
    let last = journal(&mut files, 2);
    let end = last.chunks(PAGE).rposition(|page| page[4..8] == *b"ALJF").unwrap() + 1;
    last.copy_within(PAGE..2 * PAGE, end * PAGE);
    let dir = scratch();
    write(&files, dir.path());
    let truth = Engine::open(&config(base.path(), &clocks)).unwrap().report().journal.records;
    let engine = Engine::open(&config(dir.path(), &clocks)).unwrap();
    assert_eq!(engine.report().journal.records, truth);
}

#[test]
fn files_of_a_pool_that_do_not_fit_are_refused() {
    let base = scratch();
    let clocks = make_unclean(base.path());
    let mut files = content(base.path());
    files.retain(|path, _| !path.starts_with("staging"));
    let of = |name: &str| PathBuf::from("pools/main").join(name);
    let cases: [(&str, &[&str]); 4] = [
        ("0001.words", &["expected"]),
        ("0001.sums", &["length", "--recover-damaged"]),
        ("0001.numbers", &["0001.numbers"]),
        ("pool.toml", &["damaged"]),
    ];
    for (name, words) in cases {
        let words: Vec<&str> = words.iter().copied().chain([name]).collect();
        refuse(&files, &clocks, &words, |files| {
            files.get_mut(&of(name)).unwrap().pop();
        });
        refuse(&files, &clocks, &words, |files| files.get_mut(&of(name)).unwrap().push(1));
        refuse(&files, &clocks, &[name], |files| drop(files.remove(&of(name))));
    }
    refuse(&files, &clocks, &["secret"], |files| files.get_mut(Path::new("secret")).unwrap()[3] ^= 1);
    refuse(&files, &clocks, &["version"], |files| files.get_mut(Path::new("LOCK")).unwrap()[3] ^= 1);
}

#[test]
fn a_directory_that_cannot_be_written_is_refused() {
    let base = tempfile::tempdir().unwrap();
    let clocks = make_unclean(base.path());
    let before = content(base.path());
    let protect = |how: &str| {
        let done = Command::new("chattr").args(["-R", how]).arg(base.path()).status();
        done.is_ok_and(|status| status.success())
    };
    if !protect("+i") {
        println!("skipped: this file system or user cannot make files immutable");
        return;
    }
    let opened = Engine::open(&config(base.path(), &clocks)).map(drop);
    assert!(protect("-i"));
    let error = opened.unwrap_err().to_string();
    assert!(error.contains("LOCK") && error.contains("not permitted"), "{error}");
    assert_eq!(before, content(base.path()));
    Engine::open(&config(base.path(), &clocks)).unwrap();
}

fn lease(engine: &Engine) -> allotd::engine::operations::lease::Lease {
    let mut leases = Vec::new();
    let request = LeaseRequest { count: 1, ttl_seconds: None, within: None };
    let (pool, mut worker) = (engine.pool("p").unwrap(), engine.worker());
    pool.lease(&mut worker, &request, &mut leases).unwrap();
    pool.settle().unwrap();
    leases[0]
}

/// Time goes on from where it was, though the clocks of the other machine were years ahead; also when the
/// journal's older files are not needed and nothing was recorded since.
#[test]
fn a_directory_of_a_machine_whose_clock_was_ahead_keeps_its_time() {
    const YEARS: u64 = 5 * 365 * 24 * 3600;
    let dir = scratch();
    let ahead = Arc::new(FakeClocks::at(BEGINNING_SECONDS + YEARS, 1));
    let engine = Engine::open(&config(dir.path(), &ahead)).unwrap();
    let source = [range(1, 9)];
    engine.create_pool(&"p".parse().unwrap(), Settings::default(), NumberSource::Ranges(&source)).unwrap();
    let held = lease(&engine);
    for machine in 2..6 {
        if machine % 2 == 0 {
            engine.close().unwrap();
        }
        let clocks = Arc::new(FakeClocks::at(BEGINNING_SECONDS, machine));
        let copy = scratch();
        write(&content(dir.path()), copy.path());
        let moved = Engine::open(&config(copy.path(), &clocks)).unwrap();
        assert!(moved.now().seconds() >= (BEGINNING_SECONDS + YEARS) as u32);
        let began = Instant::now();
        while moved.journal().stats().checkpoints == 0 {
            assert!(began.elapsed() < Duration::from_secs(10));
            std::thread::sleep(Duration::from_millis(1));
        }
        // As after a kill: the files as they are now.
        let killed = scratch();
        write(&content(copy.path()), killed.path());
        assert_eq!(check_directory(killed.path()).unwrap().faults, []);
        let again = Engine::open(&config(killed.path(), &clocks)).unwrap();
        assert!(again.now().seconds() >= (BEGINNING_SECONDS + YEARS) as u32, "machine {machine}");
        let found = again.pool("p").unwrap().lookup(held.number).unwrap();
        assert_eq!((found.state, found.until), (State::Leased, Some(held.expires_at)));
    }
}

#[test]
fn a_clock_that_would_end_all_leases_for_ever_is_refused() {
    const YEAR: u64 = 366 * 24 * 3600;
    let dir = scratch();
    let end = u64::from(Timestamp::MAX.seconds());
    let refused = |clocks: FakeClocks, accept_clock| {
        let config = EngineConfig { accept_clock, ..config(dir.path(), &Arc::new(clocks)) };
        match Engine::open(&config) {
            Err(OpenError::Clock(error)) => error.to_string(),
            other => panic!("{:?}", other.map(|_| "it opens")),
        }
    };
    assert!(refused(FakeClocks::at(end + 1, 1), true).contains("set the clock"), "the first start");
    let engine = Engine::open(&config(dir.path(), &Arc::new(FakeClocks::default()))).unwrap();
    let source = [range(1, 9)];
    engine.create_pool(&"p".parse().unwrap(), Settings::default(), NumberSource::Ranges(&source)).unwrap();
    let held = lease(&engine);
    engine.close().unwrap();
    drop(engine);
    let before = content(dir.path());
    let ahead = || FakeClocks::at(BEGINNING_SECONDS + 10 * YEAR + 2, 3);
    assert!(refused(ahead(), false).contains("--accept-clock"));
    assert!(refused(FakeClocks::at(end + 1, 2), true).contains("set the clock"));
    assert_eq!(content(dir.path()), before, "nothing is changed");
    // With the clock set again, the lease is still there.
    let clocks = Arc::new(FakeClocks::at(BEGINNING_SECONDS + 1, 2));
    let engine = Engine::open(&config(dir.path(), &clocks)).unwrap();
    assert_eq!(engine.pool("p").unwrap().lookup(held.number).unwrap().state, State::Leased);
    engine.close().unwrap();
    drop(engine);
    let accepting = EngineConfig { accept_clock: true, ..config(dir.path(), &Arc::new(ahead())) };
    let engine = Engine::open(&accepting).unwrap();
    assert_eq!(engine.pool("p").unwrap().lookup(held.number).unwrap().state, State::Available);
}

#[test]
fn an_end_beyond_the_last_time_is_refused_and_not_cut() {
    let dir = scratch();
    let end = u64::from(Timestamp::MAX.seconds());
    let engine = Engine::open(&config(dir.path(), &Arc::new(FakeClocks::at(end - 5_000, 1)))).unwrap();
    let source = [range(1, 9)];
    engine.create_pool(&"p".parse().unwrap(), Settings::default(), NumberSource::Ranges(&source)).unwrap();
    let (pool, mut worker, mut leases) = (engine.pool("p").unwrap(), engine.worker(), Vec::new());
    let mut lease = |ttl| {
        let request = LeaseRequest { count: 1, ttl_seconds: Some(ttl), within: None };
        pool.lease(&mut worker, &request, &mut leases)
    };
    assert_eq!(lease(5_001), Err(LeaseError::EndsTooLate));
    lease(5_000).unwrap();
    let held = LeaseRef { number: leases[0].number, token: Some(leases[0].token) };
    let mut results = Vec::new();
    assert_eq!(pool.renew(&mut worker, &[held], Some(5_001), &mut results), Err(LeaseError::EndsTooLate));
    let mut returned = Vec::new();
    let mut rest = |seconds| {
        let item = ReturnItem { lease: held, then: NextState::Rest(seconds), outcome: None };
        pool.return_leases(&mut worker, &[item], &mut returned)
    };
    assert_eq!(rest(5_001), Err(ReturnError::RestEndsTooLate));
    rest(1_000).unwrap();
}
