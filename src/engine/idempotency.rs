//! Leases made under an `Idempotency-Key`, so that a repeated call returns the same leases.
//!
//! A key is stored, as a hash, until the original end of its leases: in memory, and in the journal or, after
//! a checkpoint, in the file of [`crate::store::idempotency_file`].
//!
//! A call with a key waits for an earlier one with the same key, because it must return the same result. Keys
//! share a fixed number of locks. Calls without a key take none of them.

use std::collections::HashMap;
use std::sync::PoisonError;

use siphasher::sip128::{Hasher128, SipHasher24 as SipHasher128};

use crate::coordinates::{Rank, SegmentId};
use crate::domain::lease_token::SECRET_BYTES;
use crate::journal::record::{KeyLeaseRecord, KeyRecord, Record};
use crate::state::time::Timestamp;
use crate::store::idempotency_file::MAX_KEYED_LEASES;
use crate::sys::atomics::{AtomicU64, Ordering};
use crate::sys::sync::{Mutex, MutexGuard};

/// Maximum length of an `Idempotency-Key`, in bytes.
pub const MAX_KEY_BYTES: usize = 128;
/// Number of locks that the keys share.
pub(crate) const SHARDS: usize = if cfg!(allotd_shuttle) { 2 } else { 64 };
/// Records of keys may take one part in this many of a journal file.
const JOURNAL_FILE_SHARE: u64 = 4;
/// Journal bytes per lease under a key, including its share of the key's record.
const BYTES_PER_LEASE: u64 = 2 * crate::journal::record::RECORD_BYTES as u64;

/// The hash of a pool and a key in it.
pub(crate) type KeyHash = [u8; 16];

/// One lease of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StoredLease {
    pub(crate) segment: SegmentId,
    pub(crate) rank: Rank,
    pub(crate) generation: u32,
}

/// The leases made under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredLeases {
    pub(crate) pool: u64,
    /// Hash of the request's body.
    pub(crate) body: u64,
    pub(crate) until: Timestamp,
    pub(crate) leases: Box<[StoredLease]>,
}

/// All keys with live leases.
pub(crate) struct Keys {
    hasher: SipHasher128,
    shards: Box<[Mutex<HashMap<KeyHash, StoredLeases>>]>,
    leases: AtomicU64,
    most_leases: u64,
    next_purged: AtomicU64,
}

impl Keys {
    /// No keys yet. They are hashed under the data directory's secret; their number is bounded by what fits
    /// into a part of a journal file.
    pub(crate) fn new(secret: &[u8; SECRET_BYTES], journal_file_bytes: u64) -> Self {
        let most_leases = (journal_file_bytes / JOURNAL_FILE_SHARE / BYTES_PER_LEASE).min(MAX_KEYED_LEASES);
        Self {
            hasher: SipHasher128::new_with_key(secret),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            leases: AtomicU64::new(0),
            most_leases,
            next_purged: AtomicU64::new(0),
        }
    }

    /// The hash of a pool's key.
    pub(crate) fn hash(&self, pool: u64, key: &[u8]) -> KeyHash {
        let mut hasher = self.hasher;
        std::hash::Hasher::write_u64(&mut hasher, pool);
        std::hash::Hasher::write(&mut hasher, key);
        hasher.finish128().as_bytes()
    }

    /// The hash of a body.
    pub(crate) fn hash_body(&self, body: &[u8]) -> u64 {
        let mut hasher = self.hasher;
        std::hash::Hasher::write(&mut hasher, body);
        hasher.finish128().h1
    }

    /// Locks the shard that holds this key.
    pub(crate) fn lock(&self, key: &KeyHash) -> Shard<'_> {
        let shard = &self.shards[usize::from(key[0]) % SHARDS];
        Shard { keys: self, entries: shard.lock().unwrap_or_else(PoisonError::into_inner) }
    }

    /// Removes ended keys from one shard, the next one at each call.
    pub(crate) fn purge_some(&self, now: Timestamp) {
        let shard = self.next_purged.fetch_add(1, Ordering::Relaxed) as usize % SHARDS;
        let entries = self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner);
        Shard { keys: self, entries }.purge(now);
    }

    /// The records of all keys whose leases have not ended.
    pub(crate) fn records(&self, now: Timestamp) -> Vec<Record> {
        let mut records = Vec::new();
        for shard in &self.shards {
            let entries = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let live = entries.iter().filter(|(_, kept)| kept.until > now);
            records.extend(live.flat_map(|(key, kept)| kept.records(key)));
        }
        records
    }

    /// Restores keys that were read from the journal.
    pub(crate) fn restore(&self, recovered: RecoveredKeys, now: Timestamp) {
        for (key, kept) in recovered.whole().filter(|(_, kept)| kept.until > now) {
            self.lock(&key).insert(key, kept);
        }
    }
}

/// A locked shard of the keys.
pub(crate) struct Shard<'a> {
    keys: &'a Keys,
    entries: MutexGuard<'a, HashMap<KeyHash, StoredLeases>>,
}

impl Shard<'_> {
    /// The leases made under a key, if they have not ended.
    pub(crate) fn get(&self, key: &KeyHash, now: Timestamp) -> Option<&StoredLeases> {
        self.entries.get(key).filter(|kept| kept.until > now)
    }

    /// Whether there is space for `leases` more. Removes ended keys if there is not.
    pub(crate) fn has_room(&mut self, leases: u32, now: Timestamp) -> bool {
        let fits = |keys: &Keys| keys.leases.load(Ordering::Relaxed) + u64::from(leases) <= keys.most_leases;
        fits(self.keys) || {
            self.purge(now);
            fits(self.keys)
        }
    }

    /// Stores the leases made under a key.
    pub(crate) fn insert(&mut self, key: KeyHash, kept: StoredLeases) {
        let added = kept.leases.len() as u64;
        let removed = self.entries.insert(key, kept).map_or(0, |old| old.leases.len() as u64);
        self.keys.leases.fetch_add(added, Ordering::Relaxed);
        self.keys.leases.fetch_sub(removed, Ordering::Relaxed);
    }

    fn purge(&mut self, now: Timestamp) {
        let mut removed = 0;
        self.entries.retain(|_, kept| {
            let live = kept.until > now;
            removed += if live { 0 } else { kept.leases.len() as u64 };
            live
        });
        if removed > 0 {
            self.entries.shrink_to_fit();
            self.keys.leases.fetch_sub(removed, Ordering::Relaxed);
        }
    }
}

impl StoredLeases {
    /// The records of a key and its leases.
    pub(crate) fn records(&self, key: &KeyHash) -> impl Iterator<Item = Record> {
        let head = KeyRecord {
            key: *key,
            body: self.body,
            leases: self.leases.len() as u32,
            until_seconds: self.until.seconds(),
        };
        let (pool, key_start) = (self.pool, key_start(key));
        let lease = move |lease: &StoredLease| {
            let StoredLease { segment, rank, generation } = *lease;
            Record::KeyLease(KeyLeaseRecord { pool, segment, rank, key_start, generation })
        };
        std::iter::once(Record::Key(head)).chain(self.leases.iter().map(lease))
    }
}

fn key_start(key: &KeyHash) -> [u8; 8] {
    std::array::from_fn(|i| key[i])
}

/// Keys read from the journal.
#[derive(Debug, Default)]
pub(crate) struct RecoveredKeys {
    /// By the first half of the key's hash: lease records contain only that half.
    keys: HashMap<[u8; 8], (KeyRecord, Vec<KeyLeaseRecord>)>,
}

impl RecoveredKeys {
    /// Adds a key's record. It replaces what was read for the key before: an earlier use, or a duplicate.
    pub(crate) fn key(&mut self, record: &KeyRecord) {
        self.keys.insert(key_start(&record.key), (*record, Vec::new()));
    }

    /// Adds the record of one lease of a key.
    pub(crate) fn lease(&mut self, record: &KeyLeaseRecord) {
        if let Some((_, leases)) = self.keys.get_mut(&record.key_start) {
            leases.push(*record);
        }
    }

    /// The keys whose leases were all read. The others were never confirmed.
    fn whole(self) -> impl Iterator<Item = (KeyHash, StoredLeases)> {
        self.keys.into_values().filter_map(|(head, leases)| {
            let pool = leases.first()?.pool;
            let whole = leases.len() == head.leases as usize;
            let kept = |lease: KeyLeaseRecord| StoredLease {
                segment: lease.segment,
                rank: lease.rank,
                generation: lease.generation,
            };
            whole.then(|| {
                let until = Timestamp::new(head.until_seconds);
                let leases = leases.into_iter().map(kept).collect();
                (head.key, StoredLeases { pool, body: head.body, until, leases })
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: [u8; SECRET_BYTES] = [7; SECRET_BYTES];

    fn at(seconds: u32) -> Timestamp {
        Timestamp::new(seconds)
    }

    fn kept(until: u32, leases: u32) -> StoredLeases {
        let lease = |rank| StoredLease { segment: SegmentId(1), rank: Rank(rank), generation: rank + 1 };
        StoredLeases { pool: 5, body: 9, until: at(until), leases: (0..leases).map(lease).collect() }
    }

    #[test]
    fn keys_are_restored_from_their_records_and_forgotten_at_their_end() {
        let keys = Keys::new(&SECRET, 1 << 20);
        let (a, b) = (keys.hash(5, b"a"), keys.hash(5, b"b"));
        assert_ne!(a, keys.hash(6, b"a"));
        keys.lock(&a).insert(a, kept(100, 3));
        keys.lock(&b).insert(b, kept(50, 2));
        let records = keys.records(at(60));
        assert_eq!(records.len(), 4, "b has ended");
        let restored = Keys::new(&SECRET, 1 << 20);
        let mut recovered = RecoveredKeys::default();
        // The key's record alone, then everything twice.
        for record in records[..1].iter().chain(&records).chain(&records) {
            match record {
                Record::Key(record) => recovered.key(record),
                Record::KeyLease(record) => recovered.lease(record),
                Record::Word(_) => unreachable!(),
            }
        }
        restored.restore(recovered, at(60));
        assert_eq!(restored.lock(&a).get(&a, at(99)), Some(&kept(100, 3)));
        assert_eq!(restored.lock(&a).get(&a, at(100)), None);
    }

    #[test]
    fn a_key_with_a_lease_missing_is_not_restored() {
        let keys = Keys::new(&SECRET, 1 << 20);
        let a = keys.hash(5, b"a");
        let mut recovered = RecoveredKeys::default();
        for record in kept(100, 3).records(&a).take(3) {
            match record {
                Record::Key(record) => recovered.key(&record),
                Record::KeyLease(record) => recovered.lease(&record),
                Record::Word(_) => unreachable!(),
            }
        }
        keys.restore(recovered, at(1));
        assert_eq!(keys.lock(&a).get(&a, at(1)), None);
    }

    #[test]
    fn memory_is_bounded_and_comes_back() {
        let keys = Keys::new(&SECRET, 64 << 10);
        let most = keys.most_leases as u32;
        assert_eq!(most, 256);
        let a = keys.hash(5, b"a");
        assert!(keys.lock(&a).has_room(most, at(1)));
        keys.lock(&a).insert(a, kept(100, most));
        assert!(!keys.lock(&a).has_room(1, at(1)));
        keys.lock(&a).insert(a, kept(100, 10));
        assert!(keys.lock(&a).has_room(most - 10, at(1)));
        for _ in 0..SHARDS {
            keys.purge_some(at(100));
        }
        assert!(keys.lock(&a).has_room(most, at(100)));
    }
}
