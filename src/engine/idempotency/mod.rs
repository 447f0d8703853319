//! Leases made under an `Idempotency-Key`, so that a repeated call is told of the same leases.
//!
//! A key is stored, as a hash, for as long as any of its leases lives, and at least until their original end: in
//! memory, and in the journal or, after a checkpoint, in the file of [`crate::store::idempotency_file`].
//!
//! A call with a key inserts an entry, leases, completes the entry, and only then passes its records to the
//! journal. No lock is held meanwhile. A repetition that meets an entry under way, or a lock that another
//! thread has, is told to try again: a caller never blocks its thread here. Calls without a key take no lock.

pub(crate) mod entry;
pub(crate) mod recovered;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, TryLockError};

use siphasher::sip128::{Hasher128, SipHasher24 as SipHasher128};

use crate::domain::key_owner::KeyOwner;
use crate::domain::lease_token::SECRET_BYTES;
use crate::journal::record::Record;
use crate::state::time::Timestamp;
use crate::store::idempotency_file::MAX_KEYED_LEASES;
use crate::sys::atomics::{AtomicU64, Ordering};
use crate::sys::lock::{Lock, LockGuard};

use entry::{KeyEntry, KeyHash, StoredLease, StoredLeases};
use recovered::RecoveredKeys;

/// Maximum length of an `Idempotency-Key`, in bytes.
pub const MAX_KEY_BYTES: usize = 128;
/// Stands in the hash of a key for the pool, if the call chooses among several: a repetition is told of the same
/// leases, whichever of the pools has numbers by then. No pool has this id.
pub(crate) const OF_SEVERAL_POOLS: u64 = 0;
/// Number of locks that the keys share.
const SHARDS: usize = if cfg!(allotd_shuttle) { 4 } else { 1_024 };
/// Shards of which [`Keys::purge_some`] removes ended keys in one call.
const PURGED_SHARDS: u64 = if cfg!(allotd_shuttle) { 2 } else { 16 };
/// Most keys that are looked at under one lock when ended ones are removed.
const PURGED_AT_ONCE: usize = 64;
/// Records of keys may take one part in this many of a journal file.
const JOURNAL_FILE_SHARE: u64 = 4;
/// Journal bytes per lease under a key, including its share of the key's record.
const BYTES_PER_LEASE: u64 = 2 * crate::journal::record::RECORD_BYTES as u64;

/// An owner's keys may stand for one part in this many of all leases under keys.
const OWNER_SHARE: u64 = 4;
/// What is hashed before an owner's key: with it the text is longer than that of any key without an owner, so
/// that no two of them are equal.
const OWNED_PREFIX: [u8; MAX_KEY_BYTES] = [0; MAX_KEY_BYTES];

/// Whose key a call uses, and for how many leases its keys may stand.
#[derive(Debug, Clone, Copy)]
pub struct KeyShare<'a> {
    /// The owner.
    pub owner: &'a Arc<KeyOwner>,
    /// At most a quarter of what all keys may stand for, if this is more.
    pub most_leases: u64,
}

/// Another thread has the lock of a key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Locked;

/// What a call with a key has to do.
pub(crate) enum Begun {
    /// Lease, then complete the entry by [`Keys::complete`].
    First(Arc<KeyEntry>),
    /// Tell of the leases of an earlier call.
    Stored(Arc<KeyEntry>),
    /// Look whether any of the leases lives: their known end has passed. If so [`KeyEntry::keep_until`], else
    /// [`Keys::forget`].
    Ended(Arc<KeyEntry>),
    /// Try again soon.
    Pending,
    /// The key was used with another body.
    OtherBody,
    /// There are too many leases under keys.
    Full,
    /// There are too many under the owner's keys.
    OwnerFull,
}

type Entries = HashMap<KeyHash, Arc<KeyEntry>>;

/// All keys with live leases.
pub(crate) struct Keys {
    hasher: SipHasher128,
    shards: Box<[Lock<Entries>]>,
    /// Leases stored, and those that calls under way may make.
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
            shards: (0..SHARDS).map(|_| Lock::default()).collect(),
            leases: AtomicU64::new(0),
            most_leases,
            next_purged: AtomicU64::new(0),
        }
    }

    /// The hash of a key of a pool, or of [`OF_SEVERAL_POOLS`]. Without an owner it is that of versions that knew
    /// none.
    pub(crate) fn hash(&self, scope: u64, owner: Option<&KeyOwner>, key: &[u8]) -> KeyHash {
        let mut hasher = self.hasher;
        std::hash::Hasher::write_u64(&mut hasher, scope);
        if let Some(owner) = owner {
            std::hash::Hasher::write(&mut hasher, &OWNED_PREFIX);
            std::hash::Hasher::write_u64(&mut hasher, owner.name().len() as u64);
            std::hash::Hasher::write(&mut hasher, owner.name().as_bytes());
        }
        std::hash::Hasher::write(&mut hasher, key);
        hasher.finish128().as_bytes()
    }

    /// The hash of a body.
    pub(crate) fn hash_body(&self, body: &[u8]) -> u64 {
        let mut hasher = self.hasher;
        std::hash::Hasher::write(&mut hasher, body);
        hasher.finish128().h1
    }

    fn shard(&self, key: &KeyHash) -> &Lock<Entries> {
        &self.shards[usize::from(u16::from_le_bytes([key[0], key[1]])) % SHARDS]
    }

    fn try_lock(&self, key: &KeyHash) -> Option<LockGuard<'_, Entries>> {
        match self.shard(key).try_lock() {
            Ok(entries) => Some(entries),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// The call that a key stands for, once it has ended. Fails if another thread has the lock.
    pub(crate) fn find(&self, key: &KeyHash) -> Result<Option<Arc<KeyEntry>>, Locked> {
        let entries = self.try_lock(key).ok_or(Locked)?;
        Ok(entries.get(key).filter(|entry| !entry.leases().is_empty()).cloned())
    }

    /// Whether a key has been used, also by a call that is under way. Fails if another thread has the lock.
    pub(crate) fn is_used(&self, key: &KeyHash) -> Result<bool, Locked> {
        Ok(self.try_lock(key).ok_or(Locked)?.contains_key(key))
    }

    /// Whether a key stands for leases.
    pub(crate) fn has(&self, key: &KeyHash) -> bool {
        let entries = self.try_lock(key);
        entries.is_some_and(|entries| entries.get(key).is_some_and(|entry| !entry.leases().is_empty()))
    }

    /// Begins a call that leases up to `count` numbers under a key.
    pub(crate) fn begin(
        &self,
        key: &KeyHash,
        body: u64,
        count: u32,
        share: Option<KeyShare<'_>>,
        now: Timestamp,
    ) -> Begun {
        let Some(mut entries) = self.try_lock(key) else { return Begun::Pending };
        if let Some(entry) = entries.get(key) {
            match entry.stored() {
                None => return Begun::Pending,
                Some(stored) if stored.leases.is_empty() => {}
                Some(_) if !entry.is_kept(now) => return Begun::Ended(Arc::clone(entry)),
                Some(_) if entry.body != body => return Begun::OtherBody,
                Some(_) => return Begun::Stored(Arc::clone(entry)),
            }
        }
        if !self.reserve(count) {
            return Begun::Full;
        }
        if let Some(KeyShare { owner, most_leases }) = share
            && !owner.reserve(count, most_leases.min(self.most_leases / OWNER_SHARE))
        {
            self.leases.fetch_sub(count.into(), Ordering::Relaxed);
            return Begun::OwnerFull;
        }
        let owner = share.map(|share| Arc::clone(share.owner));
        let entry = Arc::new(KeyEntry::under_way(body, owner));
        entries.insert(*key, Arc::clone(&entry));
        Begun::First(entry)
    }

    fn reserve(&self, count: u32) -> bool {
        let fits =
            |leases: u64| (leases + u64::from(count) <= self.most_leases).then(|| leases + u64::from(count));
        self.leases.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }

    /// Completes a call that was begun for up to `count` leases. `stored` has no leases if it made none.
    pub(crate) fn complete(&self, entry: &KeyEntry, count: u32, stored: StoredLeases) {
        let unused = u64::from(count) - stored.leases.len() as u64;
        entry.complete(stored);
        self.release(entry, unused);
    }

    fn release(&self, entry: &KeyEntry, leases: u64) {
        self.leases.fetch_sub(leases, Ordering::Relaxed);
        if let Some(owner) = &entry.owner {
            owner.release(leases);
        }
    }

    /// Forgets a use of a key. Returns whether it is gone; if not, another thread has the lock.
    pub(crate) fn forget(&self, key: &KeyHash, entry: &Arc<KeyEntry>) -> bool {
        let Some(mut entries) = self.try_lock(key) else { return false };
        if entries.get(key).is_some_and(|other| Arc::ptr_eq(other, entry)) {
            entries.remove(key);
            self.release(entry, entry.leases().len() as u64);
            if entries.is_empty() {
                entries.shrink_to_fit();
            }
        }
        true
    }

    /// Keys of one shard whose known end has passed, a few of them.
    fn ended(&self, shard: usize, now: Timestamp) -> Vec<(KeyHash, Arc<KeyEntry>)> {
        let entries = self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner);
        let ended = entries.iter().filter(|(_, entry)| entry.has_ended(now));
        ended.take(PURGED_AT_ONCE).map(|(key, entry)| (*key, Arc::clone(entry))).collect()
    }

    fn purge(&self, shard: usize, now: Timestamp, live_until: &impl Fn(&KeyEntry) -> Option<Timestamp>) {
        loop {
            let ended = self.ended(shard, now);
            for (key, entry) in &ended {
                match live_until(entry) {
                    Some(until) => entry.keep_until(until),
                    None => drop(self.forget(key, entry)),
                }
            }
            if ended.len() < PURGED_AT_ONCE {
                return;
            }
        }
    }

    /// Removes ended keys from some of the shards, other ones at each call. `live_until` returns the latest end
    /// of a key's leases that live.
    pub(crate) fn purge_some(&self, now: Timestamp, live_until: impl Fn(&KeyEntry) -> Option<Timestamp>) {
        let first = self.next_purged.fetch_add(PURGED_SHARDS, Ordering::Relaxed);
        for shard in first..first + PURGED_SHARDS {
            self.purge(shard as usize % SHARDS, now, &live_until);
        }
    }

    /// The records of all keys. Those whose known end has passed are among them: nobody has looked yet whether
    /// a lease of theirs was renewed.
    pub(crate) fn records(&self) -> Vec<Record> {
        let mut records = Vec::new();
        for shard in &self.shards {
            let entries = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let entries: Vec<_> = entries.iter().map(|(key, entry)| (*key, Arc::clone(entry))).collect();
            records.extend(entries.iter().flat_map(|(key, entry)| entry.records(key)));
        }
        records
    }

    /// Restores keys that were read from the journal, if their end has not passed or any of their leases lives.
    /// `is_known` tells whether a number's word has the generation of a lease: a loss of power can take the
    /// words of a key's leases, which are given out again then.
    pub(crate) fn restore(
        &self,
        recovered: RecoveredKeys,
        now: Timestamp,
        is_known: impl Fn(u64, &StoredLease) -> bool,
        live_until: impl Fn(&KeyEntry) -> Option<Timestamp>,
    ) {
        for (key, mut entry) in recovered.whole() {
            let Some(pool) = entry.pool() else { continue };
            entry.retain(|lease| is_known(pool, lease));
            if let Some(until) = live_until(&entry) {
                entry.keep_until(until);
            }
            if entry.is_kept(now) && !entry.leases().is_empty() {
                self.leases.fetch_add(entry.leases().len() as u64, Ordering::Relaxed);
                let mut entries = self.shard(&key).lock().unwrap_or_else(PoisonError::into_inner);
                entries.insert(key, Arc::new(entry));
            }
        }
    }
}

#[cfg(test)]
#[cfg(not(allotd_loom))]
mod tests {
    use super::*;
    use crate::numbers::number::Number;

    const SECRET: [u8; SECRET_BYTES] = [7; SECRET_BYTES];

    fn at(seconds: u32) -> Timestamp {
        Timestamp::new(seconds)
    }

    fn stored(until: u32, leases: u32) -> StoredLeases {
        let lease = |index: u32| StoredLease {
            number: Number::new(u64::from(index) + 100).unwrap(),
            generation: index + 1,
        };
        StoredLeases { pool: 5, until: at(until), leases: (0..leases).map(lease).collect() }
    }

    fn insert(keys: &Keys, key: &KeyHash, leases: u32, until: u32) {
        let Begun::First(entry) = keys.begin(key, 9, leases, None, at(1)) else { panic!("the first use") };
        keys.complete(&entry, leases, stored(until, leases));
    }

    fn recover<'r>(records: impl IntoIterator<Item = &'r Record>) -> RecoveredKeys {
        let mut recovered = RecoveredKeys::default();
        for record in records {
            match record {
                Record::Key(record) => recovered.key(record),
                Record::KeyLease(record) => recovered.lease(record),
                Record::Word(_)
                | Record::OldKeyLease(_)
                | Record::List(_)
                | Record::Holder(_)
                | Record::Round(_)
                | Record::Marks(_) => {
                    unreachable!()
                }
            }
        }
        recovered
    }

    fn none(_: &KeyEntry) -> Option<Timestamp> {
        None
    }

    #[test]
    fn keys_are_restored_from_their_records_and_forgotten_at_their_end() {
        let keys = Keys::new(&SECRET, 1 << 20);
        let (a, b) = (keys.hash(5, None, b"a"), keys.hash(5, None, b"b"));
        assert_ne!(a, keys.hash(6, None, b"a"));
        insert(&keys, &a, 3, 100);
        let of_a = keys.records();
        insert(&keys, &b, 2, 50);
        let records = keys.records();
        assert_eq!((of_a.len(), records.len()), (4, 7));
        // The key's record alone, then everything, then a part: its file has gone since.
        let read = || recover(of_a[..1].iter().chain(&records).chain(&of_a[2..]));
        let restored = Keys::new(&SECRET, 1 << 20);
        restored.restore(read(), at(60), |_, lease| lease.generation != 2, none);
        assert!(matches!(restored.begin(&b, 9, 2, None, at(60)), Begun::First(_)), "it has ended");
        // Unless a lease was renewed.
        let renewed = Keys::new(&SECRET, 1 << 20);
        renewed.restore(read(), at(60), |_, _| true, |entry| (entry.leases().len() == 2).then_some(at(90)));
        assert!(matches!(renewed.begin(&b, 9, 2, None, at(89)), Begun::Stored(_)));
        let Begun::Stored(entry) = restored.begin(&a, 9, 3, None, at(99)) else { panic!("stored") };
        let all = stored(100, 3).leases;
        assert_eq!(entry.leases(), [all[0], all[2]], "the word of the second is lost");
        assert!(matches!(restored.begin(&a, 8, 3, None, at(99)), Begun::OtherBody));
        assert!(matches!(restored.begin(&a, 9, 3, None, at(100)), Begun::Ended(_)));
    }

    #[test]
    fn a_key_is_kept_while_a_lease_lives() {
        let keys = Keys::new(&SECRET, 1 << 20);
        let a = keys.hash(5, None, b"a");
        insert(&keys, &a, 1, 100);
        let purge = |now, live: Option<u32>| {
            (0..SHARDS as u64 / PURGED_SHARDS).for_each(|_| keys.purge_some(at(now), |_| live.map(at)));
        };
        purge(100, Some(300));
        assert!(matches!(keys.begin(&a, 9, 1, None, at(299)), Begun::Stored(_)));
        purge(300, None);
        assert!(matches!(keys.begin(&a, 9, 1, None, at(299)), Begun::First(_)));
    }

    #[test]
    fn a_call_under_way_is_pending_and_a_failed_one_is_forgotten() {
        let keys = Keys::new(&SECRET, 1 << 20);
        let a = keys.hash(5, None, b"a");
        let Begun::First(entry) = keys.begin(&a, 9, 1, None, at(1)) else { panic!("the first use") };
        assert!(matches!(keys.begin(&a, 9, 1, None, at(1)), Begun::Pending));
        assert_eq!(keys.records().len(), 0);
        keys.complete(&entry, 1, stored(0, 0));
        assert!(matches!(keys.begin(&a, 9, 1, None, at(1)), Begun::First(_)));
    }

    #[test]
    fn a_key_with_a_lease_missing_is_not_restored() {
        let keys = Keys::new(&SECRET, 1 << 20);
        let a = keys.hash(5, None, b"a");
        let records: Vec<_> = KeyEntry::completed(9, stored(100, 3)).records(&a).take(3).collect();
        keys.restore(recover(&records), at(1), |_, _| true, none);
        assert!(matches!(keys.begin(&a, 9, 1, None, at(1)), Begun::First(_)));
    }

    #[test]
    fn memory_is_bounded_and_comes_back() {
        let keys = Keys::new(&SECRET, 64 << 10);
        let most = keys.most_leases as u32;
        assert_eq!(most, 256);
        let (a, b) = (keys.hash(5, None, b"a"), keys.hash(5, None, b"b"));
        // What a call under way may lease counts.
        let Begun::First(entry) = keys.begin(&a, 9, most, None, at(1)) else { panic!("room") };
        assert!(matches!(keys.begin(&b, 9, 1, None, at(1)), Begun::Full));
        keys.complete(&entry, most, stored(100, 10));
        let Begun::First(entry) = keys.begin(&b, 9, most - 10, None, at(1)) else { panic!("room again") };
        keys.complete(&entry, most - 10, stored(0, 0));
        (0..SHARDS as u64 / PURGED_SHARDS).for_each(|_| keys.purge_some(at(100), none));
        assert!(matches!(keys.begin(&a, 9, most, None, at(100)), Begun::First(_)));
    }

    #[test]
    fn keys_of_owners_differ_and_each_has_its_share() {
        let keys = Keys::new(&SECRET, 1 << 20);
        let (one, other) = (Arc::new(KeyOwner::new("one")), Arc::new(KeyOwner::new("other")));
        let a = keys.hash(5, Some(&one), b"a");
        assert_eq!(a, keys.hash(5, Some(&KeyOwner::new("one")), b"a"));
        assert_ne!(a, keys.hash(5, Some(&other), b"a"));
        assert_ne!(a, keys.hash(5, None, b"a"));
        assert_ne!(keys.hash(5, Some(&KeyOwner::new("on")), b"ea"), keys.hash(5, Some(&one), b"a"));
        let begin = |key, count, owner, most_leases| {
            keys.begin(key, 9, count, Some(KeyShare { owner, most_leases }), at(1))
        };
        let most = (keys.most_leases / OWNER_SHARE) as u32;
        assert!(matches!(begin(&a, most + 1, &one, u64::MAX), Begun::OwnerFull));
        assert!(matches!(begin(&a, 3, &one, 2), Begun::OwnerFull));
        let Begun::First(entry) = begin(&a, most, &one, u64::MAX) else { panic!("its share") };
        let b = keys.hash(5, Some(&other), b"b");
        assert!(matches!(begin(&b, 1, &one, u64::MAX), Begun::OwnerFull));
        assert!(matches!(begin(&b, 1, &other, 1), Begun::First(_)));
        keys.complete(&entry, most, stored(100, 2));
        let c = keys.hash(5, Some(&one), b"c");
        assert!(matches!(begin(&c, most - 1, &one, u64::MAX), Begun::OwnerFull));
        let Begun::First(_) = begin(&c, most - 2, &one, u64::MAX) else { panic!("what was not used") };
        assert!(keys.forget(&a, &entry));
        assert!(matches!(begin(&a, 2, &one, u64::MAX), Begun::First(_)));
    }
}
