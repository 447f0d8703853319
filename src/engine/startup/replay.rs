//! Replays the journal over the files of pools.

use std::collections::{HashMap, HashSet};

use crate::coordinates::SegmentId;
use crate::engine::open_report::OpenReport;
use crate::engine::segment::plausible::Plausible;
use crate::journal::frame::Frame;
use crate::journal::record::{
    HELD_UNTIL_CHANGE, HolderRecord, ListRecord, RETURNED_BY_HOLDER, Record, WordRecord,
};
use crate::journal::recovery::Journaled;
use crate::state::holder_column::{HolderId, MAX_HOLDER_ID};
use crate::state::time::Timestamp;
use crate::sys::parallel;

use super::opened_pools::{OpenedPools, Place};

const NANOS_PER_SECOND: u64 = 1_000_000_000;
/// Minimum records per replaying thread.
const MIN_RECORDS_PER_THREAD: u64 = 1 << 16;
/// Records whose words are prefetched before the first is written: enough for the fetches to overlap.
const RECORDS_AT_ONCE: usize = 32;

impl OpenedPools {
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
                    Record::Round(_) | Record::Marks(_) => continue,
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
        // Its lease has ended: the word has a later generation.
        if record.holder & HELD_UNTIL_CHANGE != 0 { HolderId::NOBODY } else { holder }
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
