//! `allotd export`: the numbers of a pool in a backup and their states at one instant, offline.
//!
//! The words are read as a start of the daemon reads them: from the tables, with the journal replayed over them
//! and merges completed in memory. Nothing is written.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};

use crate::backup::contents::{Contents, ContentsError};
use crate::coordinates::{Rank, SegmentId};
use crate::disk::mapping::Sharing;
use crate::domain::holder::HolderName;
use crate::domain::list_name::ListName;
use crate::domain::settings::PoolName;
use crate::engine::lists::files::OpenedLists;
use crate::engine::lists::list::List;
use crate::engine::open_report::OpenReport;
use crate::engine::operations::attempts::end_rules;
use crate::engine::operations::lookup::NumberState;
use crate::engine::segment::opened_files::OpenedSegment;
use crate::engine::segment::plausible::Plausible;
use crate::engine::startup::config::EngineConfig;
use crate::engine::startup::opened_pools::{OpenedPool, OpenedPools};
use crate::journal::on_damage::OnDamage;
use crate::journal::record::ListRecord;
use crate::journal::recovery::{self, RecoveryError};
use crate::numbers::number::Number;
use crate::numbers::set::run::LastRun;
use crate::state::end_rules::EndRules;
use crate::state::holder_column::HolderId;
use crate::state::number_state::State;
use crate::state::time::Timestamp;
use crate::state::word::Word;
use crate::store::damage::SegmentError;
use crate::store::data_dir;
use crate::store::holders_file::{self, HOLDERS_FILE, HoldersFileError};
use crate::store::list_files::ListFileError;
use crate::store::manifest::{MANIFEST_FILE, Manifest, ManifestError};

const NANOS_PER_SECOND: u64 = 1_000_000_000;
/// The directories of the pools, of the journal and of the lists in a backup, as its list of files has them.
const POOLS: &str = "pools/";
const JOURNAL: &str = "journal/";
const LISTS: &str = "lists/";

/// Why a pool of a backup cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The list of files cannot be used.
    #[error(transparent)]
    Contents(#[from] ContentsError),
    /// The backup has no such pool.
    #[error("the backup has no pool \"{0}\": it has {1}")]
    NoPool(PoolName, String),
    /// A file of the backup differs from what was written.
    #[error("{0} {1}: use another backup")]
    Fault(PathBuf, String),
    /// The pool's manifest cannot be used.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A file of a segment cannot be used.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// The names of holders cannot be used.
    #[error(transparent)]
    Holders(#[from] HoldersFileError),
    /// A list cannot be used.
    #[error(transparent)]
    List(#[from] ListFileError),
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] RecoveryError),
    /// Records of the journal are of no number of the pool.
    #[error("{0} records of the journal do not fit their segments: use another backup")]
    Refused(u64),
    /// The journal does not say at which time the words were so.
    #[error("the journal of the backup has no time: use another backup")]
    NoTime,
}

/// One pool of a backup, as it was at one instant.
pub struct Snapshot {
    pools: OpenedPools,
    /// Those that block the pool.
    lists: Vec<List>,
    /// The names of the holders; `None` if the pool tracks none.
    holders: Option<HashMap<HolderId, HolderName>>,
    as_of: Timestamp,
}

impl Snapshot {
    /// Reads a pool of a backup. Verifies the files that it needs first.
    pub fn open(backup: &Path, name: &PoolName) -> Result<Self, SnapshotError> {
        let contents = Contents::read(backup)?;
        check_pool(&contents, backup, name)?;
        let dir = data_dir::pools_dir(backup).join(name.as_str());
        let manifest = Manifest::read(&dir)?;
        let blocked_by = manifest.settings.blocked_by.clone();
        let (id, tracks_holders) = (manifest.pool_id(), manifest.settings.holders);
        let mut pools = OpenedPools::default();
        pools.take_holder_records(&holders_file::read(&holders_file::path_in(backup))?);
        pools.open_pool(
            &EngineConfig::new(backup, 1),
            name.clone(),
            dir.clone(),
            manifest,
            Sharing::Private,
        )?;
        let journaled = recovery::scan(&data_dir::journal_dir(backup), OnDamage::Refuse)?;
        let mut report = OpenReport::default();
        pools.apply(&journaled, &mut report);
        if report.records_refused > 0 {
            return Err(SnapshotError::Refused(report.records_refused));
        }
        // The writer records the time once per second at least, and every change in the copy is before its end.
        let last = journaled.into_recovered().last;
        let as_of = last.and_then(|(frame, _)| Timestamp::checked(frame.time_nanos / NANOS_PER_SECOND));
        let lists = lists_of(backup, name, &blocked_by, &pools.take_list_records())?;
        let names = pools.take_holders(id).into_iter().map(|holder| (holder.id, holder.name));
        let holders = tracks_holders.then(|| names.collect());
        let snapshot = Self { pools, lists, holders, as_of: as_of.ok_or(SnapshotError::NoTime)? };
        snapshot.settle()?;
        Ok(snapshot)
    }

    /// Looks for words that no history explains, and completes merges, as a start does.
    fn settle(&self) -> Result<(), SnapshotError> {
        let Some(pool) = self.pool() else { return Ok(()) };
        let plausible = Plausible::new(self.as_of, pool.round());
        for (segment, journaled) in pool.segments() {
            segment.resolve_damage(pool.dir(), plausible, journaled, OnDamage::Refuse)?;
        }
        let by_id = |id: SegmentId| pool.segments().map(|(segment, _)| segment).find(|s| s.id == id);
        for (into, sources) in pool.manifest().merges() {
            let Some(target) = by_id(into) else { continue };
            sources.iter().filter_map(|id| by_id(*id)).for_each(|source| target.take_over(source));
        }
        Ok(())
    }

    fn pool(&self) -> Option<&OpenedPool> {
        self.pools.pools().first()
    }

    /// Whether the pool tracks holders.
    pub fn tracks_holders(&self) -> bool {
        self.holders.is_some()
    }

    /// The name of a holder.
    pub fn holder_name(&self, holder: HolderId) -> Option<&HolderName> {
        self.holders.as_ref()?.get(&holder)
    }

    /// The instant of the states.
    pub fn as_of(&self) -> Timestamp {
        self.as_of
    }

    /// Calls `each` with every number and its state, ascending.
    pub fn for_each(&self, mut each: impl FnMut(NumberState) -> io::Result<()>) -> io::Result<()> {
        let Some(pool) = self.pool() else { return Ok(()) };
        let merged: HashSet<SegmentId> =
            pool.manifest().merges().flat_map(|(_, sources)| sources).copied().collect();
        let segments = pool.segments().map(|(segment, _)| segment);
        let mut parts: Vec<_> =
            segments.filter(|segment| !merged.contains(&segment.id)).map(Part::new).collect();
        let mut next = BinaryHeap::new();
        for (index, part) in parts.iter_mut().enumerate() {
            next.extend(part.next().map(|(number, rank)| Reverse((number, index, rank))));
        }
        let round = pool.round();
        let manifest = pool.manifest();
        let settings = &manifest.settings;
        let rules = end_rules(settings.on_expiry, settings.attempts, (round, manifest.attempts_floor));
        while let Some(Reverse((number, index, rank))) = next.pop() {
            let word = parts[index].segment.word(rank);
            let seen = self.seen(word, round, rules);
            let holder = parts[index].segment.holder_of(rank, seen);
            each(NumberState::new(number, self.shown(number, seen), seen, holder))?;
            next.extend(parts[index].next().map(|(number, rank)| Reverse((number, index, rank))));
        }
        Ok(())
    }

    /// As the daemon shows it: blocked instead of available if a list blocks it.
    fn shown(&self, number: Number, seen: Word) -> State {
        match seen.state() {
            State::Available if self.lists.iter().any(|list| list.contains(number)) => State::Blocked,
            state => state,
        }
    }

    fn seen(&self, word: Word, round: u32, rules: EndRules) -> Word {
        let seen = word.seen(self.as_of, rules);
        // A round that was opened in part is open: a start completes it.
        seen.open_round(round).unwrap_or(seen)
    }
}

/// The lists that block the pool.
fn lists_of(
    backup: &Path,
    pool: &PoolName,
    blocked_by: &[ListName],
    journaled: &[ListRecord],
) -> Result<Vec<List>, SnapshotError> {
    if blocked_by.is_empty() {
        return Ok(Vec::new());
    }
    let lists_dir = data_dir::lists_dir(backup);
    let mut opened = OpenedLists::open(&lists_dir)?;
    opened.take(journaled);
    let lists = opened.read()?.into_iter().map(|(list, _)| list);
    let lists: Vec<_> = lists.filter(|list| blocked_by.contains(&list.name())).collect();
    match blocked_by.iter().find(|name| !lists.iter().any(|list| list.name() == **name)) {
        Some(list) => {
            Err(ListFileError::Missing { pool: pool.to_string(), list: *list, lists: lists_dir }.into())
        }
        None => Ok(lists),
    }
}

/// Checks that the backup has the pool, and that the files of the pool, of the journal and of the lists are as
/// they were written.
fn check_pool(contents: &Contents, backup: &Path, name: &PoolName) -> Result<(), SnapshotError> {
    let manifests = contents
        .files
        .iter()
        .filter_map(|file| file.path.strip_prefix(POOLS)?.strip_suffix(MANIFEST_FILE)?.strip_suffix('/'));
    let names: Vec<_> = manifests.collect();
    if !names.contains(&name.as_str()) {
        let others = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        return Err(SnapshotError::NoPool(name.clone(), others));
    }
    let of_pool = format!("{POOLS}{name}/");
    let dirs = [of_pool.as_str(), JOURNAL, LISTS];
    for file in &contents.files {
        let is_needed = file.path == HOLDERS_FILE || dirs.iter().any(|dir| file.path.starts_with(dir));
        if let Some(what) = is_needed.then(|| file.fault(backup)).flatten() {
            return Err(SnapshotError::Fault(file.path_in(backup), what));
        }
    }
    Ok(())
}

/// The numbers of one segment that are still to come, ascending.
struct Part<'a> {
    segment: &'a OpenedSegment,
    last: LastRun,
    /// Of a sorted set.
    next_rank: u32,
    /// Of a set in the order of addition.
    sorted: Option<std::vec::IntoIter<(Number, Rank)>>,
}

impl<'a> Part<'a> {
    fn new(segment: &'a OpenedSegment) -> Self {
        let sorted = segment.set.as_growing().map(|_| {
            let ranks = (0..segment.set.len()).map(Rank);
            let mut numbers: Vec<_> =
                ranks.filter_map(|rank| Some((segment.set.select(rank)?, rank))).collect();
            numbers.sort_unstable();
            numbers.into_iter()
        });
        Self { segment, last: LastRun::default(), next_rank: 0, sorted }
    }

    fn next(&mut self) -> Option<(Number, Rank)> {
        if let Some(sorted) = &mut self.sorted {
            return sorted.next();
        }
        while self.next_rank < self.segment.set.len() {
            let rank = Rank(self.next_rank);
            self.next_rank += 1;
            if let Some(number) = self.segment.set.select_near(rank, &mut self.last) {
                return Some((number, rank));
            }
        }
        None
    }
}
