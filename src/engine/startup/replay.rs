//! Opens the files of the pools, replays the journal over them, and activates the pools.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::coordinates::{self, Rank, SegmentId};
use crate::disk::device::Disk;
use crate::disk::mapping::Sharing;
use crate::domain::counts::Counts;
use crate::domain::lease_token::Epoch;
use crate::domain::settings::PoolName;
use crate::engine::holders::recovered::{RecoveredHolder, RecoveredHolders};
use crate::engine::idempotency::recovered::RecoveredKeys;
use crate::engine::open_report::OpenReport;
use crate::engine::pool::{Pool, Pools};
use crate::engine::segment::Segments;
use crate::engine::segment::holders::FoundHolders;
use crate::engine::segment::opened::{Columns, OpenedSegment};
use crate::engine::segment::plausible::Plausible;
use crate::engine::shared::Shared;
use crate::journal::frame::Frame;
use crate::journal::record::{
    HolderRecord, KeyLeaseRecord, ListRecord, OldKeyLeaseRecord, RETURNED_BY_HOLDER, Record, WordRecord,
};
use crate::journal::recovery::{Damage, Journaled, Recovered};
use crate::numbers::number::Number;
use crate::state::holder_column::{HolderId, MAX_HOLDER_ID};
use crate::state::time::Timestamp;
use crate::store::damage::SegmentError;
use crate::store::manifest::Manifest;
use crate::store::open_error::OpenError;
use crate::store::pool_dir::{pool_dirs, remove_strays};
use crate::store::staging;
use crate::store::totals_file::{AllTotals, PoolTotals};
use crate::sys::parallel;

use super::config::{EngineConfig, Membership};

const NANOS_PER_SECOND: u64 = 1_000_000_000;
/// Minimum records per replaying thread.
const MIN_RECORDS_PER_THREAD: u64 = 1 << 16;
/// Records whose words are prefetched before the first is written: enough for the fetches to overlap.
const RECORDS_AT_ONCE: usize = 32;

/// Indexes of a pool and of one of its segments.
pub(super) type Place = (usize, usize);

/// A pool whose files are open.
pub(crate) struct OpenedPool {
    name: PoolName,
    dir: PathBuf,
    manifest: Manifest,
    segments: Vec<OpenedSegment>,
    /// The largest generation in the journal, by segment.
    journaled: Vec<u32>,
}

impl OpenedPool {
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    pub(crate) fn round(&self) -> u32 {
        self.manifest.round
    }

    /// The segments, and the largest generation of each in the journal.
    pub(crate) fn segments(&self) -> impl Iterator<Item = (&OpenedSegment, u32)> {
        self.segments.iter().zip(self.journaled.iter().copied())
    }
}

/// Pools whose files are open, before they are activated.
#[derive(Default)]
pub(crate) struct OpenedPools {
    pools: Vec<OpenedPool>,
    /// By pool id and segment id: the places in `pools` and its `segments`.
    places: HashMap<(u64, SegmentId), Place>,
    keys: RecoveredKeys,
    /// Changes of lists.
    list_records: Vec<ListRecord>,
    /// By the pool's id.
    holders: HashMap<u64, RecoveredHolders>,
}

impl OpenedPools {
    /// Opens the files of all pools.
    pub(crate) fn open(config: &EngineConfig, pools_dir: &Path, sharing: Sharing) -> Result<Self, OpenError> {
        let mut raw = Self::default();
        let dirs = pool_dirs(pools_dir).map_err(|error| OpenError::Io(pools_dir.to_owned(), error))?;
        for (name, dir) in dirs {
            let manifest = Manifest::read(&dir)?;
            raw.open_pool(config, name, dir, manifest, sharing)?;
        }
        Ok(raw)
    }

    /// Opens the files of one pool.
    pub(crate) fn open_pool(
        &mut self,
        config: &EngineConfig,
        name: PoolName,
        dir: PathBuf,
        manifest: Manifest,
        sharing: Sharing,
    ) -> Result<(), SegmentError> {
        let columns = Columns { layout: manifest.words_layout(), has_holders: manifest.settings.holders };
        let open =
            |entry| OpenedSegment::open(&config.disk, &dir, entry, sharing, config.on_damage(), columns);
        let segments = manifest.segments.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        for (index, entry) in manifest.segments.iter().enumerate() {
            self.places.insert((manifest.pool_id(), entry.id), (self.pools.len(), index));
        }
        let journaled = vec![0; segments.len()];
        self.pools.push(OpenedPool { name, dir, manifest, segments, journaled });
        Ok(())
    }

    /// Replays all records of the journal on all processors: words in any order, keys in journal order.
    pub(crate) fn apply(&mut self, journal: &Journaled, report: &mut OpenReport) {
        let part = journal.recovered().records.div_ceil(parallel::processors() as u64);
        let parts = journal.parts(part.max(MIN_RECORDS_PER_THREAD));
        let taken = parallel::for_each(parts, |frames| Replayer::new(self).replay(frames));
        for taken in taken {
            report.records_of_deleted_pools += taken.of_deleted_pools;
            report.records_refused += taken.refused;
            report.words_changed += taken.words_changed;
            for ((pool, segment), generation) in taken.largest {
                let journaled = &mut self.pools[pool].journaled[segment];
                *journaled = generation.max(*journaled);
            }
            self.take_key_records(&taken.keys);
            self.list_records.extend(taken.lists);
            self.take_holder_records(&taken.holder_names);
            for (id, seen) in taken.holders {
                let holders = self.holders.entry(id).or_default();
                holders.has_seen(seen.last);
                for holder in seen.returned {
                    holders.has_returned(holder);
                }
            }
        }
    }

    /// Takes the names of holders.
    pub(crate) fn take_holder_records(&mut self, records: &[HolderRecord]) {
        for record in records {
            self.holders.entry(record.pool).or_default().take(record);
        }
    }

    /// Replays records of keys, in order.
    pub(crate) fn take_key_records(&mut self, records: &[Record]) {
        for record in records {
            match record {
                Record::Key(record) => self.keys.key(record),
                Record::KeyLease(record) => self.keys.lease(record),
                Record::OldKeyLease(record) => {
                    if let Some(record) = self.by_number(record) {
                        self.keys.lease(&record);
                    }
                }
                Record::Word(_) | Record::List(_) | Record::Holder(_) | Record::Round(_) => {}
            }
        }
    }

    /// A lease of a key by rank, as the lease of a number. Its end is not in the record: it is that of the key
    /// whose record was read last.
    fn by_number(&self, record: &OldKeyLeaseRecord) -> Option<KeyLeaseRecord> {
        let OldKeyLeaseRecord { pool, segment, rank, key_start, generation } = *record;
        let number = self.segment(*self.places.get(&(pool, segment))?).number(rank)?.get();
        let until_tag = self.keys.until_tag(key_start)?;
        Some(KeyLeaseRecord { pool, number, key_start, generation, until_tag })
    }

    /// Begins an epoch of tokens in each pool of which confirmed leases may be unknown: it was restored, the
    /// journal is damaged, or the machine lost its power, with which unsynced changes go too.
    pub(crate) fn begin_epochs(
        &mut self,
        config: &EngineConfig,
        journal: &Recovered,
    ) -> Result<(), OpenError> {
        let boot_id = config.clocks.boot_id();
        let lost_power = |(_, last_boot): &(_, [u8; 16])| *last_boot != boot_id || boot_id == [0; 16];
        let is_lost = match config.membership {
            Membership::Single => {
                let lost_power = journal.last.as_ref().is_some_and(lost_power);
                !journal.damage.is_empty() || (!journal.clean && lost_power)
            }
            // The log has what is not here.
            Membership::Following => return Ok(()),
            Membership::Leading(_) => !journal.damage.is_empty(),
        };
        for raw in &mut self.pools {
            let segments = raw.segments.iter().zip(&raw.journaled);
            if is_lost || raw.manifest.begins_epoch || raw.segments.iter().any(|s| !s.damaged().is_empty()) {
                let largest = segments.map(|(segment, journaled)| segment.largest_generation(*journaled));
                let floor = largest.max().unwrap_or(0);
                let written = staging::random_id().and_then(|id| {
                    raw.manifest.begin_epoch(Epoch { floor, id });
                    raw.manifest.write(&*config.disk, &raw.dir)
                });
                written.map_err(|error| OpenError::Io(raw.dir.clone(), error))?;
            }
        }
        Ok(())
    }

    /// The first id that a pool's holders have not been given, as far as names and records tell.
    pub(crate) fn next_holder(&self, pool: u64) -> HolderId {
        self.holders.get(&pool).map_or(HolderId(1), RecoveredHolders::next)
    }

    /// The name of a holder, as far as names were read.
    pub(crate) fn holder_name(&self, pool: u64, id: HolderId) -> Option<String> {
        self.holders.get(&pool)?.name(id)
    }

    /// Moves the names of a pool's holders out, the latest ids first.
    pub(crate) fn take_holders(&mut self, pool: u64) -> Vec<RecoveredHolder> {
        self.holders.remove(&pool).map_or_else(Vec::new, RecoveredHolders::into_names)
    }

    /// Moves the changes of lists out.
    pub(crate) fn take_list_records(&mut self) -> Vec<ListRecord> {
        std::mem::take(&mut self.list_records)
    }

    /// Moves the keys out.
    pub(crate) fn take_keys(&mut self) -> RecoveredKeys {
        std::mem::take(&mut self.keys)
    }

    /// Where a segment is; `None` if there is no such segment.
    pub(super) fn place(&self, pool: u64, segment: SegmentId) -> Option<Place> {
        self.places.get(&(pool, segment)).copied()
    }

    /// The number at a place that the journal names.
    pub(crate) fn number(&self, pool: u64, segment: SegmentId, rank: Rank) -> Option<Number> {
        self.segment(self.place(pool, segment)?).number(rank)
    }

    pub(super) fn segment(&self, place: Place) -> &OpenedSegment {
        &self.pools[place.0].segments[place.1]
    }

    /// The pools.
    pub(crate) fn pools(&self) -> &[OpenedPool] {
        &self.pools
    }

    /// Reports a journal without files. If there are pools, that is damage: they were created while a journal
    /// was running, and it always has a file.
    pub(crate) fn missing_journal(&self, dir: &Path, recovered: &Recovered) -> Option<Damage> {
        let missing = recovered.files.is_empty() && !self.pools.is_empty();
        let what = "it has no journal file, but there are pools".to_owned();
        missing.then(|| Damage { path: dir.to_owned(), offset: 0, what })
    }

    /// Pauses all pools: numbers that seem available may have been leased in a lost part of the journal.
    fn pause(&mut self, disk: &dyn Disk, report: &mut OpenReport) -> Result<(), OpenError> {
        for raw in &mut self.pools {
            raw.manifest.set_paused(true, None);
            let written = raw.manifest.write(disk, &raw.dir);
            written.map_err(|error| OpenError::Io(raw.dir.clone(), error))?;
            report.paused.push(raw.name.clone());
        }
        Ok(())
    }

    /// Notes which pools a restore paused, or resumes them if that was asked for.
    fn tell_pauses(&mut self, config: &EngineConfig, report: &mut OpenReport) -> Result<(), OpenError> {
        for raw in &mut self.pools {
            let Some(until) = raw.manifest.paused_until() else { continue };
            if config.serve_at_once {
                raw.manifest.set_paused(false, None);
                let written = raw.manifest.write(&*config.disk, &raw.dir);
                written.map_err(|error| OpenError::Io(raw.dir.clone(), error))?;
            } else {
                report.restored.push((raw.name.clone(), until));
            }
        }
        Ok(())
    }

    /// Activates the pools. Reports damage before it changes anything.
    pub(crate) fn activate(
        mut self,
        shared: &Arc<Shared>,
        config: &EngineConfig,
        kept: &AllTotals,
        report: &mut OpenReport,
    ) -> Result<Pools, OpenError> {
        for raw in &self.pools {
            let plausible = Plausible::new(shared.clock.now(), raw.manifest.round);
            let (mut given_up, mut repaired, mut without_holders) = (0, 0, 0);
            for (segment, journaled) in raw.segments() {
                let settled = segment.resolve_damage(&raw.dir, plausible, journaled, config.on_damage())?;
                given_up += settled.given_up;
                repaired += settled.repaired;
                report.checksums_renewed.extend(segment.sums_damage().map(ToString::to_string));
                if let Some(holders) = segment.holders() {
                    report.checksums_renewed.extend(holders.sums_damage.as_ref().map(ToString::to_string));
                    without_holders +=
                        holders.damaged().iter().map(|r| u64::from(coordinates::count(r))).sum::<u64>();
                }
            }
            if given_up > 0 {
                report.given_up.push((raw.name.clone(), given_up));
            }
            if without_holders > 0 {
                report.holders_lost.push((raw.name.clone(), without_holders));
            }
            if repaired > 0 {
                report.repaired.push((raw.name.clone(), repaired));
            }
        }
        if !report.journal.damage.is_empty() {
            self.pause(&*config.disk, report)?;
        }
        self.tell_pauses(config, report)?;
        let mut pools = Pools::new();
        let none = PoolTotals::default();
        let mut holders = std::mem::take(&mut self.holders);
        for raw in self.pools {
            let (mut counts, mut list) = (Counts::default(), Vec::new());
            for segment in complete_merges(&raw.manifest, raw.segments) {
                let begun = segment.activate(shared.slots);
                let (segment, found) = begun.map_err(|error| OpenError::Io(raw.dir.clone(), error))?;
                counts.merge(found);
                list.push(Arc::new(segment));
            }
            // The manifest that names the latest files may still be to come from the log.
            if !matches!(config.membership, Membership::Following) {
                remove_strays(&*config.disk, &raw.dir, &raw.manifest)
                    .map_err(|error| OpenError::Io(raw.dir.clone(), error))?;
            }
            let name = raw.name.to_string();
            let segments = Segments::new(list);
            let kept = kept.get(&raw.manifest.pool_id()).unwrap_or(&none);
            let zones = raw.manifest.zones.map(|zones| zones.read(&raw.dir)).transpose()?;
            let mut manifest = raw.manifest;
            let drops_lists = shared.lists.drop_missing(&mut manifest, &name, config.on_damage())?;
            if drops_lists {
                report.paused.push(raw.name.clone());
            }
            // The tables have been written anew by now.
            let is_older = std::mem::take(&mut manifest.is_without_attempts);
            if drops_lists || is_older {
                let written = manifest.write(&*config.disk, &raw.dir);
                written.map_err(|error| OpenError::Io(raw.dir.clone(), error))?;
            }
            let settings = manifest.settings.clone();
            let mut recovered = holders.remove(&manifest.pool_id()).unwrap_or_default();
            let mut found = FoundHolders::default();
            for segment in &segments.list {
                found.add(segment);
            }
            recovered.has_seen(found.last);
            let pool = Pool::new(raw.name, raw.dir, shared.clone(), manifest, segments, counts, kept);
            pool.holders.start_from(recovered.next());
            if settings.holders {
                pool.holders.restore(recovered.into_names(), &found.leases);
            }
            pool.set_zones(zones.map(Arc::new));
            let pool = Arc::new(pool);
            // All that they name exist.
            let _ = pool.use_lists_at_start(&settings);
            pool.finish_round();
            pools.insert(name, pool);
        }
        Ok(pools)
    }
}

/// Completes the merges that an earlier process began. Returns the segments without those that are merged:
/// their files stay until the merged segment is written to its table.
fn complete_merges(manifest: &Manifest, segments: Vec<OpenedSegment>) -> Vec<OpenedSegment> {
    let mut merged = Vec::new();
    for (target, sources) in manifest.merges() {
        let Some(target) = segments.iter().find(|segment| segment.id == target) else { continue };
        for source in segments.iter().filter(|segment| sources.contains(&segment.id)) {
            target.take_over(source);
        }
        merged.extend_from_slice(sources);
    }
    segments.into_iter().filter(|segment| !merged.contains(&segment.id)).collect()
}

/// What one thread replayed.
#[derive(Default)]
struct ReplayCounts {
    of_deleted_pools: u64,
    refused: u64,
    words_changed: u64,
    /// The largest generation of each segment.
    largest: HashMap<Place, u32>,
    /// Records of keys, in order.
    keys: Vec<Record>,
    /// Changes of lists.
    lists: Vec<ListRecord>,
    /// Names of holders.
    holder_names: Vec<HolderRecord>,
    /// What the records of words say of holders, by the pool's id.
    holders: HashMap<u64, SeenHolders>,
}

/// What records of words say of a pool's holders.
#[derive(Default)]
struct SeenHolders {
    last: HolderId,
    /// Who has returned something.
    returned: HashSet<HolderId>,
}

/// Replays records on one thread.
struct Replayer<'a> {
    pools: &'a OpenedPools,
    taken: ReplayCounts,
    /// The segment looked up last, and its largest generation. The next record is nearly always of it too.
    last: Option<((u64, SegmentId), Place, u32)>,
}

impl<'a> Replayer<'a> {
    fn new(pools: &'a OpenedPools) -> Self {
        Self { pools, taken: ReplayCounts::default(), last: None }
    }

    fn replay<'f>(mut self, frames: impl Iterator<Item = Frame<'f>>) -> ReplayCounts {
        let mut batch: Vec<(Place, WordRecord)> = Vec::with_capacity(RECORDS_AT_ONCE);
        for frame in frames {
            let seconds = frame.head.time_nanos / NANOS_PER_SECOND;
            let written_at = Timestamp::new(u32::try_from(seconds).unwrap_or(u32::MAX));
            for record in frame.records() {
                let record = match record {
                    Record::Word(record) => record,
                    Record::List(record) => {
                        self.taken.lists.push(record);
                        continue;
                    }
                    Record::Holder(record) => {
                        self.taken.holder_names.push(record);
                        continue;
                    }
                    Record::Round(_) => continue,
                    other => {
                        self.taken.keys.push(other);
                        continue;
                    }
                };
                let Some(place) = self.place(&record) else {
                    self.taken.of_deleted_pools += 1;
                    continue;
                };
                self.pools.segment(place).prefetch(record.rank);
                batch.push((place, record));
                if batch.len() == RECORDS_AT_ONCE {
                    self.take(&mut batch, written_at);
                }
            }
            self.take(&mut batch, written_at);
        }
        self.remember_largest();
        self.taken
    }

    fn place(&mut self, record: &WordRecord) -> Option<Place> {
        let key = (record.pool, record.segment);
        if let Some((last, place, largest)) = &mut self.last
            && *last == key
        {
            *largest = record.word.generation().max(*largest);
            return Some(*place);
        }
        let place = *self.pools.places.get(&key)?;
        self.remember_largest();
        self.last = Some((key, place, record.word.generation()));
        Some(place)
    }

    /// The holder that a record names.
    #[inline]
    fn holder(&mut self, record: &WordRecord) -> HolderId {
        if record.holder == 0 {
            return HolderId::NOBODY;
        }
        let holder = HolderId(record.holder & MAX_HOLDER_ID);
        let seen = self.taken.holders.entry(record.pool).or_default();
        seen.last = seen.last.max(holder);
        if record.holder & RETURNED_BY_HOLDER != 0 {
            seen.returned.insert(holder);
        }
        holder
    }

    fn remember_largest(&mut self) {
        if let Some((_, place, largest)) = self.last.take() {
            let known = self.taken.largest.entry(place).or_default();
            *known = largest.max(*known);
        }
    }

    fn take(&mut self, batch: &mut Vec<(Place, WordRecord)>, written_at: Timestamp) {
        for (place, record) in batch.drain(..) {
            let plausible = Plausible::new(written_at, self.pools.pools[place.0].manifest.round);
            let holder = self.holder(&record);
            match self.pools.segment(place).apply(record.rank, record.word, holder, plausible) {
                Some(changed) => self.taken.words_changed += u64::from(changed),
                None => self.taken.refused += 1,
            }
        }
    }
}
