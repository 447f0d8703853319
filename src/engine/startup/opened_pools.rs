//! Pools whose files are open, before they are activated.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::coordinates::{Rank, SegmentId};
use crate::disk::mapping::Sharing;
use crate::domain::settings::PoolName;
use crate::engine::holders::recovered::{RecoveredHolder, RecoveredHolders};
use crate::engine::idempotency::recovered::RecoveredKeys;
use crate::engine::segment::opened_files::{Columns, OpenedSegment};
use crate::journal::record::{HolderRecord, KeyLeaseRecord, ListRecord, OldKeyLeaseRecord, Record};
use crate::journal::recovery::{Damage, Recovered};
use crate::numbers::number::Number;
use crate::state::holder_column::HolderId;
use crate::store::damage::SegmentError;
use crate::store::manifest::Manifest;
use crate::store::open_error::OpenError;
use crate::store::pool_dir::pool_dirs;

use super::config::EngineConfig;

/// Indexes of a pool and of one of its segments.
pub(super) type Place = (usize, usize);

/// A pool whose files are open.
pub(crate) struct OpenedPool {
    pub(super) name: PoolName,
    pub(super) dir: PathBuf,
    pub(super) manifest: Manifest,
    pub(super) segments: Vec<OpenedSegment>,
    /// The largest generation in the journal, by segment.
    pub(super) journaled: Vec<u32>,
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
    pub(super) pools: Vec<OpenedPool>,
    /// By pool id and segment id: the places in `pools` and its `segments`.
    pub(super) places: HashMap<(u64, SegmentId), Place>,
    pub(super) keys: RecoveredKeys,
    /// Changes of lists.
    pub(super) list_records: Vec<ListRecord>,
    /// By the pool's id.
    pub(super) holders: HashMap<u64, RecoveredHolders>,
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
                Record::Word(_)
                | Record::List(_)
                | Record::Holder(_)
                | Record::Round(_)
                | Record::Marks(_) => {}
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
}
