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
use std::sync::{Arc, OnceLock, PoisonError, TryLockError};

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
    /// Records of keys of which a standby does not have all records yet.
    parts: OnceLock<Vec<Record>>,
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
            parts: OnceLock::new(),
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
        let mut records = self.parts.get().cloned().unwrap_or_default();
        for shard in &self.shards {
            let entries = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let entries: Vec<_> = entries.iter().map(|(key, entry)| (*key, Arc::clone(entry))).collect();
            records.extend(entries.iter().flat_map(|(key, entry)| entry.records(key)));
        }
        records
    }

    /// Keeps the keys of which only a part was read as they are: the rest comes with the next records of the log.
    pub(crate) fn keep_parts(&self, recovered: &RecoveredKeys) {
        let _ = self.parts.set(recovered.parts());
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
mod tests;
