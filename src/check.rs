//! `allotd check`: checks every invariant of a data directory offline.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{fmt, fs};

use crate::backup::contents::Contents;
use crate::coordinates::Rank;
use crate::disk::device::RealDisk;
use crate::disk::files;
use crate::disk::mapping::{Sharing, WORD_BYTES};
use crate::domain::list_name::ListName;
use crate::engine::clock::{Clock, SystemClocks};
use crate::engine::segment::opened_files::{self, OpenedSegment};
use crate::engine::segment::plausible::Plausible;
use crate::engine::startup::config::EngineConfig;
use crate::engine::startup::opened_pools::OpenedPools;
use crate::journal::on_damage::OnDamage;
use crate::journal::record::ListRecord;
use crate::journal::recovery;
use crate::state::holder_column::HolderId;
use crate::store::data_dir::{self, CONTENTS_FILE};
use crate::store::data_dir_lock::lock_directory;
use crate::store::growing_file;
use crate::store::list_files::{self, CHANGES_FILE, ListFileError, ListManifest};
use crate::store::manifest::{MANIFEST_FILE, Manifest, SegmentEntry};
use crate::store::open_error::OpenError;
use crate::store::pool_dir::{SegmentPaths, pool_dirs};
use crate::store::{holders_file, idempotency_file, secret};

/// Maximum faults reported per file of words: the same fault often affects many words.
const MAX_WORD_FAULTS: usize = 10;

/// A violated invariant.
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

/// The result of a check.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// How many pools.
    pub pools: usize,
    /// How many numbers.
    pub numbers: u64,
    /// How many lists.
    pub lists: usize,
    /// How many journal records.
    pub journal_records: u64,
    /// All faults found.
    pub faults: Vec<Fault>,
}

impl Checked {
    fn fault(&mut self, path: &Path, what: impl fmt::Display) {
        self.faults.push(Fault { path: path.to_owned(), what: what.to_string() });
    }
}

/// Checks a data directory that no daemon uses, or a backup. Does not modify it.
pub fn check_directory(data_dir: &Path) -> Result<Checked, OpenError> {
    if !data_dir.join("LOCK").is_file() {
        return Err(OpenError::NoDataDirectory(data_dir.to_owned()));
    }
    let _lock = lock_directory(&RealDisk, data_dir)?;
    let mut checked = Checked::default();
    let secret = data_dir.join(secret::SECRET_FILE);
    match secret::read_secret(&secret) {
        Ok(Some(_)) => {}
        Ok(None) => checked.fault(&secret, "is missing: the daemon does not start without it"),
        Err(error) => checked.fault(data_dir, error),
    }
    check_contents(data_dir, &mut checked);
    let keys = idempotency_file::path_in(data_dir);
    if let Err(error) = idempotency_file::read(&keys) {
        checked.fault(&keys, error);
    }
    let holders = holders_file::path_in(data_dir);
    let mut raw = OpenedPools::default();
    match holders_file::read(&holders) {
        Ok(records) => raw.take_holder_records(&records),
        Err(error) => checked.fault(&holders, error),
    }
    let lists = check_lists(&data_dir::lists_dir(data_dir), &mut checked);
    let pools_dir = data_dir::pools_dir(data_dir);
    match pool_dirs(&pools_dir) {
        Ok(dirs) => {
            for (name, dir) in dirs {
                let Some(manifest) = check_pool_files(&dir, &mut checked) else { continue };
                for list in manifest.settings.lists().filter(|list| !lists.contains(list)) {
                    checked.fault(&dir, format!("names the list {list}, which does not exist"));
                }
                let config = EngineConfig { recover_damaged: true, ..EngineConfig::new(data_dir, 1) };
                if let Err(error) = raw.open_pool(&config, name, dir.clone(), manifest, Sharing::Private) {
                    checked.fault(&dir, error);
                }
            }
        }
        Err(error) => checked.fault(&pools_dir, error),
    }
    check_states(data_dir, raw, &mut checked);
    Ok(checked)
}

/// Checks the files of all lists. Returns the names of those that there are.
fn check_lists(lists_dir: &Path, checked: &mut Checked) -> BTreeSet<ListName> {
    let dirs = match list_files::list_dirs(lists_dir) {
        Ok(dirs) => dirs,
        Err(error) => {
            checked.fault(lists_dir, error);
            return BTreeSet::new();
        }
    };
    checked.lists = dirs.len();
    let mut ids = BTreeMap::new();
    for (name, dir) in &dirs {
        match check_list(dir, checked) {
            Ok(id) => {
                if let Some(other) = ids.insert(id, *name) {
                    checked.fault(dir, format!("has the id of the list {other}"));
                }
            }
            Err(error) => checked.fault(dir, error),
        }
    }
    dirs.into_iter().map(|(name, _)| name).collect()
}

/// Checks the files of one list. Returns its id.
fn check_list(dir: &Path, checked: &mut Checked) -> Result<u64, ListFileError> {
    let manifest = ListManifest::read(dir)?;
    if let Some(entry) = &manifest.numbers {
        match list_files::open_set(dir, entry).map(|set| set.validate()) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => checked.fault(&list_files::set_path(dir, entry.file), error),
            Err(error) => checked.fault(dir, error),
        }
    }
    let changes = list_files::read_changes(dir, manifest.id())?;
    let end = |record: &ListRecord| record.first.saturating_add(record.more.into());
    if !changes.windows(2).all(|pair| end(&pair[0]) < pair[1].first) {
        checked.fault(&dir.join(CHANGES_FILE), "its changes do not ascend");
    }
    let known = list_files::known_files(dir, &manifest);
    let entries = fs::read_dir(dir).map_err(|error| ListFileError::Io(dir.to_owned(), error))?;
    for path in entries.flatten().map(|entry| entry.path()) {
        if !known.contains(&path) && !is_unfinished(&path) {
            checked.fault(&path, "is not a file of the list");
        }
    }
    Ok(manifest.id())
}

/// Checks the files of a backup, if the directory is one.
fn check_contents(dir: &Path, checked: &mut Checked) {
    if !dir.join(CONTENTS_FILE).exists() {
        return;
    }
    match Contents::read(dir) {
        Ok(contents) => {
            for file in &contents.files {
                if let Some(what) = file.fault(dir) {
                    checked.fault(&file.path_in(dir), what);
                }
            }
        }
        Err(error) => checked.fault(&dir.join(CONTENTS_FILE), error),
    }
}

/// Checks what does not need the words: the manifest, the number sets, the names of the files.
fn check_pool_files(dir: &Path, checked: &mut Checked) -> Option<Manifest> {
    checked.pools += 1;
    let manifest = match Manifest::read(dir) {
        Ok(manifest) => manifest,
        Err(error) => {
            checked.fault(dir, error);
            return None;
        }
    };
    let mut expected = BTreeSet::from([dir.join(MANIFEST_FILE)]);
    // Their numbers are also in the segments that they are merged into.
    let merged: BTreeSet<_> = manifest.merges().flat_map(|(_, sources)| sources).copied().collect();
    for entry in &manifest.segments {
        let paths = SegmentPaths::of(dir, entry);
        match check_numbers(&paths.set, entry) {
            Ok(_) if merged.contains(&entry.id) => {}
            Ok(numbers) => checked.numbers += numbers,
            Err(error) => checked.fault(&paths.set, error),
        }
        expected.extend(paths.all().into_iter().cloned());
        if manifest.settings.holders {
            expected.extend(paths.of_holders().into_iter().cloned());
        }
    }
    if let Some(zones) = manifest.zones {
        expected.insert(zones.path_in(dir));
        if let Err(error) = zones.read(dir) {
            checked.fault(&zones.path_in(dir), error);
        }
    }
    check_disjoint(dir, &manifest, checked);
    match fs::read_dir(dir) {
        Ok(entries) => {
            for path in entries.flatten().map(|entry| entry.path()) {
                if !expected.contains(&path) && !is_unfinished(&path) {
                    checked.fault(&path, "is not listed in the pool's manifest");
                }
            }
        }
        Err(error) => checked.fault(dir, error),
    }
    Some(manifest)
}

/// Checks the numbers of a segment. Returns how many there are, or what is wrong.
fn check_numbers(path: &Path, entry: &SegmentEntry) -> Result<u64, String> {
    if entry.capacity > 0 {
        let read = growing_file::read(path, entry.id, entry.capacity, OnDamage::Refuse);
        return Ok(read.map_err(|error| error.to_string())?.numbers.len() as u64);
    }
    let set = opened_files::open_set(path, entry.numbers).map_err(|error| error.to_string())?;
    set.validate().map_err(|error| error.to_string())?;
    Ok(entry.numbers)
}

/// Whether a file may be left from adding a segment or replacing a manifest when the daemon ended. The next
/// start removes it.
fn is_unfinished(path: &Path) -> bool {
    crate::store::pool_dir::is_ours(path)
}

/// Checks the journal, and the words after replaying it.
fn check_states(data_dir: &Path, mut raw: OpenedPools, checked: &mut Checked) {
    let journal_dir = data_dir::journal_dir(data_dir);
    let mut report = crate::engine::open_report::OpenReport::default();
    let journaled = match recovery::scan(&journal_dir, OnDamage::GiveUp) {
        Ok(journaled) => journaled,
        Err(error) => return checked.fault(&journal_dir, error),
    };
    raw.apply(&journaled, &mut report);
    let recovered = journaled.into_recovered();
    for damage in recovered.damage.iter().chain(&raw.missing_journal(&journal_dir, &recovered)) {
        checked.fault(&damage.path, format!("damaged at byte {}: {}", damage.offset, damage.what));
    }
    if report.records_refused > 0 {
        checked.fault(&journal_dir, format!("{} records do not fit their segments", report.records_refused));
    }
    if recovered.clean && report.words_changed > 0 {
        let what = format!(
            "it was closed cleanly, but {} words are newer in it than in their tables",
            report.words_changed
        );
        checked.fault(&journal_dir, what);
    }
    checked.journal_records = recovered.records;
    let last = recovered.last.as_ref().map(|(frame, boot_id)| (frame, boot_id));
    let now = Clock::resume_unchecked(std::sync::Arc::new(SystemClocks), last).now();
    for pool in raw.pools() {
        let plausible = Plausible::new(now, pool.round());
        for (segment, journaled) in pool.segments() {
            check_words(pool.dir(), segment, plausible, journaled, checked);
            // A daemon that was killed may have written an id whose name it had not.
            let next = recovered.clean.then(|| raw.next_holder(pool.manifest().pool_id()));
            let floor = pool.manifest().epochs().last().map_or(0, |epoch| epoch.floor);
            check_holders(pool.dir(), segment, (floor, next), checked);
        }
    }
}

fn check_words(
    dir: &Path,
    segment: &OpenedSegment,
    plausible: Plausible,
    journaled_generation: u32,
    checked: &mut Checked,
) {
    let path = SegmentPaths::new(dir, segment.id).table.words;
    if let Some(damage) = segment.sums_damage() {
        checked.fault(dir, damage);
    }
    let mut faults: BTreeMap<Rank, String> = BTreeMap::new();
    for ranks in segment.damaged() {
        let what =
            format!("the checksum of the words of ranks {} to {} is wrong", ranks.start, ranks.end.0 - 1);
        faults.insert(ranks.start, what);
    }
    for (rank, what) in segment.implausible(plausible, journaled_generation) {
        faults.entry(rank).or_insert(what);
    }
    for (rank, what) in faults.iter().take(MAX_WORD_FAULTS) {
        checked.fault(
            &path,
            format!("the word of rank {rank} (byte {}): {what}", u64::from(rank.0) * WORD_BYTES),
        );
    }
    if faults.len() > MAX_WORD_FAULTS {
        checked.fault(&path, format!("and {} more words", faults.len() - MAX_WORD_FAULTS));
    }
    let (free, counts) = segment.rebuilt();
    if free != counts.available {
        let what = format!("{} numbers are available, but the index has {free}", counts.available);
        checked.fault(&path, what);
    }
}

/// Checks the column of holders. `floor` is that of the newest epoch of tokens, `next` the first id that has not been
/// given out, if it is known.
fn check_holders(
    dir: &Path,
    segment: &OpenedSegment,
    (floor, next): (u32, Option<HolderId>),
    checked: &mut Checked,
) {
    let Some(holders) = segment.holders() else { return };
    let path = SegmentPaths::new(dir, segment.id).holders.words;
    if let Some(damage) = &holders.sums_damage {
        checked.fault(dir, damage);
    }
    let sums = holders.damaged().iter().map(|ranks| {
        let (first, last) = (ranks.start, ranks.end.0 - 1);
        format!("the checksum of the entries of ranks {first} to {last} is wrong")
    });
    let entries = (0..segment.len()).map(Rank).filter_map(|rank| {
        let (generation, holder) = holders.column.raw(rank);
        let of_word = segment.word(rank).generation();
        // A lease writes its entry first, and may have come no further.
        if generation > of_word.max(floor).saturating_add(1) {
            Some(format!("the entry of rank {rank} is of generation {generation}, its word of {of_word}"))
        } else if next.is_some_and(|next| holder >= next) {
            Some(format!("the entry of rank {rank} names the holder {}, an id never given out", holder.0))
        } else if holder == HolderId::NOBODY && generation > 0 {
            Some(format!("the entry of rank {rank} has a generation and no holder"))
        } else {
            None
        }
    });
    let mut count = 0;
    for what in sums.chain(entries) {
        count += 1;
        if count <= MAX_WORD_FAULTS {
            checked.fault(&path, what);
        }
    }
    if count > MAX_WORD_FAULTS {
        checked.fault(&path, format!("and {} more entries", count - MAX_WORD_FAULTS));
    }
}

/// Checks that no number is in two segments, except during a merge.
fn check_disjoint(dir: &Path, manifest: &Manifest, checked: &mut Checked) {
    let merged: BTreeSet<_> = manifest.merges().flat_map(|(_, sources)| sources).copied().collect();
    let open = |entry: &SegmentEntry| {
        let path = SegmentPaths::of(dir, entry).set;
        opened_files::open_numbers(&files::real(), &path, entry, OnDamage::GiveUp).ok()
    };
    let alone = manifest.segments.iter().filter(|entry| !merged.contains(&entry.id));
    let sets: Vec<_> = alone.filter_map(|entry| Some((entry.id, open(entry)?))).collect();
    for (i, (id, set)) in sets.iter().enumerate() {
        for (earlier_id, earlier) in &sets[..i] {
            let twice = set.runs().find_map(|run| {
                let ranks = earlier.rank_ranges(run).next()?;
                earlier.select(ranks.start)
            });
            if let Some(number) = twice {
                checked
                    .fault(dir, format!("number {number} is in both segment {earlier_id} and segment {id}"));
            }
        }
    }
}
