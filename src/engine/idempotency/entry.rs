//! One use of an `Idempotency-Key`: the leases that its call made.

use std::sync::{Arc, OnceLock};

use crate::domain::key_owner::KeyOwner;
use crate::journal::record::{KeyLeaseRecord, KeyRecord, Record};
use crate::numbers::number::Number;
use crate::state::time::Timestamp;
use crate::sys::atomics::{AtomicU32, Ordering};

/// The hash of a key and of what it is a key of: a pool, or the call that leases from several.
pub(crate) type KeyHash = [u8; 16];

/// One lease of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StoredLease {
    pub(crate) number: Number,
    pub(crate) generation: u32,
}

/// The leases made under a key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct StoredLeases {
    /// The pool that all of them are of.
    pub(crate) pool: u64,
    /// Their original end.
    pub(crate) until: Timestamp,
    pub(crate) leases: Box<[StoredLease]>,
}

/// One use of a key.
#[derive(Debug)]
pub(crate) struct KeyEntry {
    /// Hash of the request's body.
    pub(crate) body: u64,
    /// Whose leases are counted; `None` after a restart too, as the journal does not name owners.
    pub(super) owner: Option<Arc<KeyOwner>>,
    /// Not set while the call is under way; without leases if it made none.
    stored: OnceLock<StoredLeases>,
    /// Second until which the key is kept without looking at the words again.
    kept_until: AtomicU32,
}

impl KeyEntry {
    /// A use whose call is under way.
    pub(super) fn under_way(body: u64, owner: Option<Arc<KeyOwner>>) -> Self {
        Self { body, owner, stored: OnceLock::new(), kept_until: AtomicU32::new(0) }
    }

    /// A use whose leases are known.
    pub(crate) fn completed(body: u64, stored: StoredLeases) -> Self {
        let kept_until = AtomicU32::new(stored.until.seconds());
        Self { body, owner: None, stored: OnceLock::from(stored), kept_until }
    }

    /// The leases; none while the call is under way, or if it made none.
    pub(crate) fn leases(&self) -> &[StoredLease] {
        self.stored.get().map_or(&[], |stored| &stored.leases)
    }

    /// The pool of the leases; `None` while the call is under way.
    pub(crate) fn pool(&self) -> Option<u64> {
        self.stored.get().map(|stored| stored.pool)
    }

    /// Keeps the key until then.
    pub(crate) fn keep_until(&self, until: Timestamp) {
        self.kept_until.fetch_max(until.seconds(), Ordering::Relaxed);
    }

    /// Whether the key is kept without looking at the words.
    pub(super) fn is_kept(&self, now: Timestamp) -> bool {
        self.kept_until.load(Ordering::Relaxed) > now.seconds()
    }

    /// Forgets leases of a use whose call has ended.
    pub(super) fn retain(&mut self, keeps: impl Fn(&StoredLease) -> bool) {
        if let Some(stored) = self.stored.get_mut() {
            stored.leases = stored.leases.iter().copied().filter(keeps).collect();
        }
    }

    /// What the call stored; `None` while it is under way.
    pub(super) fn stored(&self) -> Option<&StoredLeases> {
        self.stored.get()
    }

    /// Ends the call. Only the call that began the entry does.
    pub(super) fn complete(&self, stored: StoredLeases) {
        self.keep_until(stored.until);
        let _ = self.stored.set(stored);
    }

    /// Whether the call has ended and its leases' original end, or the latest known one, has passed.
    pub(super) fn has_ended(&self, now: Timestamp) -> bool {
        self.stored.get().is_some() && !self.is_kept(now)
    }

    /// The records of the key and its leases; none if there are no leases.
    pub(crate) fn records(&self, key: &KeyHash) -> impl Iterator<Item = Record> {
        let (pool, key_start) = (self.pool().unwrap_or_default(), key_start(key));
        let stored = self.stored.get().filter(|stored| !stored.leases.is_empty());
        let head = stored.map(|stored| KeyRecord {
            key: *key,
            body: self.body,
            leases: stored.leases.len() as u32,
            until_seconds: stored.until.seconds(),
        });
        let until_tag = head.map_or(0, |head| head.until_seconds as u16);
        let lease = move |lease: &StoredLease| {
            let StoredLease { number, generation } = *lease;
            Record::KeyLease(KeyLeaseRecord { pool, number: number.get(), key_start, generation, until_tag })
        };
        head.map(Record::Key).into_iter().chain(self.leases().iter().map(lease))
    }
}

/// The part of a key's hash that the records of its leases contain.
pub(super) fn key_start(key: &KeyHash) -> [u8; 8] {
    std::array::from_fn(|i| key[i])
}
