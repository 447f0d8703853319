//! `allotd check`: every invariant of a data directory, looked at offline and whole.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use crate::disk::{self, MappedWords};
use crate::numbers::number::Rank;
use crate::state::table::WordTable;
use crate::state::time::Timestamp;
use crate::state::word::{State, Word};

use super::clock::Clock;
use super::directory::{OpenError, lock_directory, pool_dirs};
use super::manifest::{MANIFEST_FILE, Manifest, SegmentEntry};
use super::segment;
use super::settings::{MAX_REST_SECONDS, MAX_TTL_SECONDS};
use super::token::SECRET_BYTES;

/// Faults told of one words file; what is wrong with one word is often wrong with many.
const MAX_WORD_FAULTS: usize = 10;

/// Something that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file or directory.
    pub path: PathBuf,
    /// What is wrong with it.
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.what)
    }
}

/// What was looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// How many pools.
    pub pools: usize,
    /// How many numbers.
    pub numbers: u64,
    /// All that is wrong.
    pub faults: Vec<Fault>,
}

impl Checked {
    fn fault(&mut self, path: &Path, what: impl fmt::Display) {
        self.faults.push(Fault { path: path.to_owned(), what: what.to_string() });
    }
}

/// Checks a data directory that no daemon uses. Changes nothing in it.
pub fn check_directory(data_dir: &Path) -> Result<Checked, OpenError> {
    if !data_dir.join("LOCK").is_file() {
        return Err(OpenError::NoDataDirectory(data_dir.to_owned()));
    }
    let _lock = lock_directory(data_dir)?;
    let mut checked = Checked::default();
    let secret = data_dir.join("secret");
    match fs::metadata(&secret) {
        Ok(found) if found.len() == SECRET_BYTES as u64 => {}
        Ok(found) => checked.fault(&secret, format!("{} bytes instead of {SECRET_BYTES}", found.len())),
        Err(error) => checked.fault(&secret, error),
    }
    let pools_dir = data_dir.join("pools");
    match pool_dirs(&pools_dir) {
        Ok(dirs) => dirs.iter().for_each(|(_, dir)| check_pool(dir, &mut checked)),
        Err(error) => checked.fault(&pools_dir, error),
    }
    Ok(checked)
}

fn check_pool(dir: &Path, checked: &mut Checked) {
    checked.pools += 1;
    let manifest = match Manifest::read(dir) {
        Ok(manifest) => manifest,
        Err(error) => return checked.fault(dir, error),
    };
    // The next start removes what a process left behind that ended in a change.
    let mut expected = BTreeSet::from(manifest.leftovers(dir));
    expected.insert(dir.join(MANIFEST_FILE));
    for entry in &manifest.segments {
        let (set_path, words_path) = segment::files(dir, entry.id);
        check_set(&set_path, entry, checked);
        check_words(&words_path, entry, manifest.round, checked);
        checked.numbers += entry.numbers;
        expected.extend([set_path, words_path]);
    }
    check_disjoint(dir, &manifest, checked);
    match fs::read_dir(dir) {
        Ok(entries) => {
            for path in entries.flatten().map(|entry| entry.path()) {
                if !expected.contains(&path) {
                    checked.fault(&path, "is not named by the pool's manifest");
                }
            }
        }
        Err(error) => checked.fault(dir, error),
    }
}

fn check_set(path: &Path, entry: &SegmentEntry, checked: &mut Checked) {
    let set = match segment::open_set(path, entry.numbers) {
        Ok(set) => set,
        Err(error) => return checked.fault(path, error),
    };
    let (crc32c, bytes) = disk::crc32c_of(set.as_bytes());
    if (crc32c, bytes) != (entry.numbers_crc32c, entry.numbers_bytes) {
        checked.fault(
            path,
            format!(
                "{bytes} bytes with CRC32C {crc32c:08x}, the manifest says {} with {:08x}",
                entry.numbers_bytes, entry.numbers_crc32c
            ),
        );
    }
    if let Err(error) = set.validate() {
        checked.fault(path, error);
    }
}

fn check_words(path: &Path, entry: &SegmentEntry, round: u32, checked: &mut Checked) {
    let words = match MappedWords::open(path, entry.numbers as u32) {
        Ok(words) => WordTable::new(words),
        Err(error) => return checked.fault(path, error),
    };
    let now = Clock::start().now();
    let mut faults = 0;
    for rank in 0..words.len() {
        let Some(what) = impossible(words.get(rank), now, round) else { continue };
        faults += 1;
        if faults <= MAX_WORD_FAULTS {
            checked.fault(path, format!("the word of rank {rank} (byte {}): {what}", u64::from(rank) * 8));
        }
    }
    if faults > MAX_WORD_FAULTS {
        checked.fault(path, format!("and {} more words", faults - MAX_WORD_FAULTS));
    }
}

/// What no history explains in a word.
fn impossible(word: Word, now: Timestamp, round: u32) -> Option<String> {
    let latest = now.after(MAX_TTL_SECONDS.max(MAX_REST_SECONDS) + MAX_TTL_SECONDS);
    match word.state() {
        State::Leased | State::Resting if word.due().is_some_and(|due| due > latest) => {
            Some(format!("ends at {}, later than any lease or rest can", word.due()?))
        }
        State::Done if word.done_in_round().is_some_and(|done| done > round) => {
            Some(format!("done in round {}, the pool is in round {round}", word.done_in_round()?))
        }
        State::Leased | State::Resting | State::Done if word.generation() == 0 => {
            Some("in use, but never leased".to_owned())
        }
        _ => None,
    }
}

/// No number may be in two segments.
fn check_disjoint(dir: &Path, manifest: &Manifest, checked: &mut Checked) {
    let open = |entry: &SegmentEntry| segment::open_set(&segment::files(dir, entry.id).0, entry.numbers).ok();
    let sets: Vec<_> = manifest.segments.iter().filter_map(|entry| Some((entry.id, open(entry)?))).collect();
    for (i, (id, set)) in sets.iter().enumerate() {
        for (earlier_id, earlier) in &sets[..i] {
            let twice = set.ranges().find_map(|run| {
                let ranks = earlier.rank_range(run);
                if ranks.is_empty() { None } else { earlier.select(Rank(ranks.start)) }
            });
            if let Some(number) = twice {
                checked.fault(dir, format!("number {number} is in the segments {earlier_id} and {id}"));
            }
        }
    }
}
