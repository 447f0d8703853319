//! Leasing under an `Idempotency-Key`: a repeated call is told of the same leases.

use std::sync::Arc;

use crate::engine::idempotency::entry::{KeyEntry, KeyHash, StoredLease, StoredLeases};
use crate::engine::idempotency::{Begun, Keys};
use crate::engine::pool::Pool;
use crate::engine::worker::Worker;
use crate::journal::queue::Position;
use crate::numbers::number::Number;
use crate::numbers::set::run::LastRun;
use crate::state::number_state::State;
use crate::state::time::Timestamp;
use crate::state::word::Word;

use super::lease::{Lease, LeaseError, LeaseRequest};

/// A call with a key.
pub(super) struct Once<'a> {
    pub(super) keys: &'a Keys,
    /// What the key is a key of.
    pub(super) scope: u64,
    pub(super) key: &'a [u8],
    pub(super) body: &'a [u8],
    pub(super) count: u32,
    pub(super) now: Timestamp,
}

impl<'p> Once<'_> {
    /// Leases by `first` at the first call, which also says from which pool. A repetition finds the pool of its
    /// leases by `of`; a pool that is not found has been deleted, and its leases with it.
    pub(super) fn lease(
        &self,
        worker: &mut Worker,
        leases: &mut Vec<Lease>,
        of: impl Fn(u64) -> Option<&'p Pool>,
        first: impl FnOnce(&mut Worker, &mut Vec<Lease>) -> Result<(&'p Pool, Position), LeaseError>,
    ) -> Result<(&'p Pool, Position), LeaseError> {
        leases.clear();
        let keys = self.keys;
        let (key, body) = (keys.hash(self.scope, self.key), keys.hash_body(self.body));
        let pool_of = |entry: &KeyEntry| of(entry.pool()?);
        loop {
            match keys.begin(&key, body, self.count, self.now) {
                Begun::First(entry) => match first(worker, leases) {
                    Ok((pool, position)) => {
                        let position = pool.store_leases(worker, &key, &entry, self.count, leases, position);
                        return Ok((pool, position));
                    }
                    Err(error) => {
                        keys.complete(&entry, self.count, StoredLeases::default());
                        return Err(error);
                    }
                },
                Begun::Stored(entry) => {
                    let pool = pool_of(&entry).ok_or(LeaseError::KeyStale)?;
                    return Ok((pool, pool.tell(worker, &entry, leases)?));
                }
                Begun::Ended(entry) => match pool_of(&entry).and_then(|pool| pool.live_until(&entry)) {
                    Some(until) => entry.keep_until(until),
                    None if keys.forget(&key, &entry) => {}
                    None => return Err(LeaseError::KeyPending),
                },
                Begun::Pending => return Err(LeaseError::KeyPending),
                Begun::OtherBody => return Err(LeaseError::KeyMismatch),
                Begun::Full => return Err(LeaseError::TooManyKeys),
            }
        }
    }
}

impl Pool {
    /// Like [`Self::lease`], but a repeated call with the same key and body is told of the same leases, as far
    /// as their numbers' words still say so, for as long as any of them lives. With
    /// [`LeaseError::KeyStale`] `leases` holds those that are over. With [`LeaseError::KeyPending`] another
    /// call with the key is under way: try again.
    pub fn lease_once(
        &self,
        worker: &mut Worker,
        key: &[u8],
        body: &[u8],
        request: &LeaseRequest<'_>,
        leases: &mut Vec<Lease>,
    ) -> Result<Position, LeaseError> {
        let (keys, now, count) = (&self.shared.keys, self.shared.clock.now(), request.count);
        let once = Once { keys, scope: self.id, key, body, count, now };
        let first =
            |worker: &mut Worker, leases: &mut Vec<Lease>| Ok((self, self.lease(worker, request, leases)?));
        Ok(once.lease(worker, leases, |_| Some(self), first)?.1)
    }

    /// Stores the leases of a call under its key. The entry is complete before its records are pushed: so a
    /// checkpoint that began before either finds it or, as the older files were closed before it looked, the
    /// records go into newer files.
    fn store_leases(
        &self,
        worker: &Worker,
        key: &KeyHash,
        entry: &KeyEntry,
        count: u32,
        leases: &[Lease],
        position: Position,
    ) -> Position {
        let stored = |lease: &Lease| StoredLease { number: lease.number, generation: lease.generation };
        let stored = StoredLeases {
            pool: self.id,
            until: leases.iter().map(|lease| lease.expires_at).min().unwrap_or_default(),
            leases: leases.iter().map(stored).collect(),
        };
        // A repetition that finds the entry waits for the records too.
        let _changing = self.shared.journal.change(worker.slot);
        self.shared.keys.complete(entry, count, stored);
        for record in entry.records(key) {
            self.shared.journal.push(worker.slot, record);
        }
        worker.position(position.group > 0)
    }

    /// The leases of an earlier call that still live.
    fn tell(
        &self,
        worker: &Worker,
        entry: &Arc<KeyEntry>,
        leases: &mut Vec<Lease>,
    ) -> Result<Position, LeaseError> {
        leases.extend(entry.leases().iter().filter_map(|stored| self.live(stored)));
        if leases.is_empty() {
            let over = |stored: &StoredLease| Lease {
                number: stored.number,
                token: self.keys.token(stored.number, stored.generation),
                generation: stored.generation,
                expires_at: Timestamp::default(),
            };
            leases.extend(entry.leases().iter().map(over));
            return Err(LeaseError::KeyStale);
        }
        Ok(worker.observed_position())
    }

    fn word_of(&self, number: Number) -> Option<Word> {
        let segments = self.segments.load();
        let (segment, rank) = segments.locate(number, &mut LastRun::default())?;
        Some(self.look(segments.get(segment), rank))
    }

    /// Whether a number's word has the generation of a stored lease, or a later one.
    pub(crate) fn knows(&self, stored: &StoredLease) -> bool {
        self.word_of(stored.number).is_some_and(|word| word.generation() >= stored.generation)
    }

    /// A stored lease, if the number's word says that it lives.
    fn live(&self, stored: &StoredLease) -> Option<Lease> {
        let StoredLease { number, generation } = *stored;
        let word = self.word_of(number)?;
        let is_live = word.state() == State::Leased && word.generation() == generation;
        let expires_at = word.due().filter(|_| is_live)?;
        Some(Lease { number, token: self.keys.token(number, generation), generation, expires_at })
    }

    /// The latest end of a key's leases that live.
    pub(crate) fn live_until(&self, entry: &KeyEntry) -> Option<Timestamp> {
        entry.leases().iter().filter_map(|stored| Some(self.live(stored)?.expires_at)).max()
    }
}
