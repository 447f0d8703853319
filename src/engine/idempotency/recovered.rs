//! Collects keys from the records of the journal and of the file of keys.

use std::collections::HashMap;

use crate::journal::record::{KeyLeaseRecord, KeyRecord, Record};
use crate::numbers::number::Number;
use crate::state::time::Timestamp;

use super::entry::{KeyEntry, KeyHash, StoredLease, StoredLeases, key_start};

/// One use of a key, as far as its records were read.
#[derive(Debug)]
struct Collected {
    head: KeyRecord,
    pool: u64,
    /// By number and generation, the place among the leases. A record can be read from the file of keys and
    /// from the journal.
    leases: HashMap<(u64, u32), usize>,
}

/// Keys read from the journal.
#[derive(Debug, Default)]
pub(crate) struct RecoveredKeys {
    /// By the first half of the key's hash: lease records contain only that half.
    keys: HashMap<[u8; 8], Collected>,
}

impl RecoveredKeys {
    /// Adds a key's record. Of two uses of the key the later one counts, which ends after the earlier one has: the
    /// journal may have it first, as the records of two threads have no order.
    pub(crate) fn key(&mut self, record: &KeyRecord) {
        let start = key_start(&record.key);
        let is_next =
            |known: &Collected| known.head != *record && known.head.until_seconds <= record.until_seconds;
        if self.keys.get(&start).is_none_or(is_next) {
            self.keys.insert(start, Collected { head: *record, pool: 0, leases: HashMap::new() });
        }
    }

    /// Adds the record of one lease of a key.
    pub(crate) fn lease(&mut self, record: &KeyLeaseRecord) {
        if let Some(known) = self.keys.get_mut(&record.key_start)
            && known.head.until_seconds as u16 == record.until_tag
        {
            known.pool = record.pool;
            let place = known.leases.len();
            known.leases.entry((record.number, record.generation)).or_insert(place);
        }
    }

    /// The end of the use of a key that was read last, as its leases' records have it.
    pub(crate) fn until_tag(&self, key_start: [u8; 8]) -> Option<u16> {
        Some(self.keys.get(&key_start)?.head.until_seconds as u16)
    }

    /// The records of the keys whose leases were not all read: a standby may still get the others.
    pub(super) fn parts(&self) -> Vec<Record> {
        let is_part = |known: &&Collected| known.leases.len() != known.head.leases as usize;
        let records = self.keys.values().filter(is_part).flat_map(|known| {
            let mut leases: Vec<_> = known.leases.iter().collect();
            leases.sort_unstable_by_key(|(_, place)| **place);
            let lease = |((number, generation), _): (&(u64, u32), &usize)| {
                Record::KeyLease(KeyLeaseRecord {
                    pool: known.pool,
                    number: *number,
                    key_start: key_start(&known.head.key),
                    generation: *generation,
                    until_tag: known.head.until_seconds as u16,
                })
            };
            let leases: Vec<_> = leases.into_iter().map(lease).collect();
            std::iter::once(Record::Key(known.head)).chain(leases)
        });
        records.collect()
    }

    /// The keys whose leases were all read. The others were never confirmed.
    pub(super) fn whole(self) -> impl Iterator<Item = (KeyHash, KeyEntry)> {
        let is_whole = |known: &Collected| known.leases.len() == known.head.leases as usize;
        self.keys.into_values().filter(is_whole).map(|Collected { head, pool, leases }| {
            let mut leases: Vec<_> = leases.into_iter().collect();
            leases.sort_unstable_by_key(|(_, place)| *place);
            let lease = |((number, generation), _)| {
                Some(StoredLease { number: Number::new(number).ok()?, generation })
            };
            let leases = leases.into_iter().filter_map(lease).collect();
            let stored = StoredLeases { pool, until: Timestamp::new(head.until_seconds), leases };
            (head.key, KeyEntry::completed(head.body, stored))
        })
    }
}
