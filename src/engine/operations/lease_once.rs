//! Leasing under an `Idempotency-Key`: a repeated call is told of the same leases.

use std::sync::Arc;

use crate::domain::holder::HolderName;
use crate::engine::idempotency::entry::{KeyEntry, KeyHash, StoredLease, StoredLeases};
use crate::engine::idempotency::{Begun, KeyShare, Keys, Locked};
use crate::engine::pool::Pool;
use crate::engine::shared::Shared;
use crate::engine::worker::Worker;
use crate::journal::queue::Position;
use crate::numbers::number::Number;
use crate::numbers::set::run::LastRun;
use crate::state::number_state::State;
use crate::state::time::Timestamp;
use crate::state::word::Word;

use super::lease::{Lease, LeaseError, LeaseRequest};

/// The key of a call, by which a repetition is recognized.
#[derive(Debug, Clone, Copy)]
pub struct Once<'a> {
    /// The `Idempotency-Key`.
    pub key: &'a [u8],
    /// The body of the call.
    pub body: &'a [u8],
    /// Whose key it is; `None` for that of anybody.
    pub share: Option<KeyShare<'a>>,
}

impl Once<'_> {
    /// The hash of the key. `scope` is what it is a key of.
    pub(super) fn hash(&self, keys: &Keys, scope: u64) -> KeyHash {
        keys.hash(scope, self.share.map(|share| &**share.owner), self.key)
    }
}

/// What a call with a key was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeasedOnce {
    /// What must be committed before it is told.
    pub position: Position,
    /// Whether the leases are those of an earlier call.
    pub is_repeated: bool,
}

impl LeasedOnce {
    /// The leases of the call itself.
    pub(crate) fn new(position: Position) -> Self {
        Self { position, is_repeated: false }
    }
}

/// The use of a key by a call that waits: from its first search to its last the key is that of a call under way. It
/// ends with this, unless the call leased something.
pub struct HeldKey {
    shared: Arc<Shared>,
    begun: Option<(Arc<KeyEntry>, u32)>,
}

impl Drop for HeldKey {
    fn drop(&mut self) {
        if let Some((entry, count)) = self.begun.take() {
            self.shared.keys.complete(&entry, count, StoredLeases::default());
        }
    }
}

/// A call with a key.
pub(super) struct KeyedCall<'a> {
    pub(super) keys: &'a Keys,
    /// What the key is a key of.
    pub(super) scope: u64,
    pub(super) once: &'a Once<'a>,
    pub(super) count: u32,
    pub(super) now: Timestamp,
    /// The key's use, if the call waits.
    pub(super) held: Option<&'a mut HeldKey>,
}

impl<'p> KeyedCall<'_> {
    /// Leases by `first` at the first call, which also says from which pool. A repetition finds the pool of its
    /// leases by `of`; a pool that is not found has been deleted, and its leases with it.
    pub(super) fn lease(
        self,
        worker: &mut Worker,
        leases: &mut Vec<Lease>,
        of: impl Fn(u64) -> Option<&'p Pool>,
        first: impl FnOnce(&mut Worker, &mut Vec<Lease>) -> Result<(&'p Pool, Position), LeaseError>,
    ) -> Result<(&'p Pool, LeasedOnce), LeaseError> {
        leases.clear();
        let Self { keys, scope, once, count, now, mut held } = self;
        let (key, body) = (once.hash(keys, scope), keys.hash_body(once.body));
        let pool_of = |entry: &KeyEntry| of(entry.pool()?);
        loop {
            let begun = held.as_mut().and_then(|held| held.begun.take());
            let begun = match begun {
                Some((entry, _)) => Begun::First(entry),
                None => keys.begin(&key, body, count, once.share, now),
            };
            match begun {
                Begun::First(entry) => match first(worker, leases) {
                    Ok((pool, position)) => {
                        let position = pool.store_leases(worker, &key, &entry, count, leases, position);
                        return Ok((pool, LeasedOnce::new(position)));
                    }
                    Err(error) => {
                        match held {
                            Some(held) if error.may_pass() => held.begun = Some((entry, count)),
                            _ => keys.complete(&entry, count, StoredLeases::default()),
                        }
                        return Err(error);
                    }
                },
                Begun::Stored(entry) => {
                    let pool = pool_of(&entry).ok_or(LeaseError::KeyStale)?;
                    let position = pool.tell(worker, &entry, leases)?;
                    return Ok((pool, LeasedOnce { position, is_repeated: true }));
                }
                Begun::Ended(entry) => match pool_of(&entry).and_then(|pool| pool.live_until(&entry)) {
                    Some(until) => entry.keep_until(until),
                    None if keys.forget(&key, &entry) => {}
                    None => return Err(LeaseError::KeyPending),
                },
                Begun::Pending => return Err(LeaseError::KeyPending),
                Begun::OtherBody => return Err(LeaseError::KeyMismatch),
                Begun::Full => return Err(LeaseError::TooManyKeys),
                Begun::OwnerFull => return Err(LeaseError::TooManyOwnKeys),
            }
        }
    }
}

impl Pool {
    /// Whether a call repeats one whose leases are stored.
    pub fn knows_key(&self, once: &Once<'_>) -> bool {
        let keys = &self.shared.keys;
        let epochs = std::iter::once(self.keys.newest_id()).chain(self.keys.earlier().map(|(id, _)| id));
        epochs.into_iter().any(|epoch| keys.has(&once.hash(keys, self.key_scope(epoch))))
    }

    /// What a key is a key of. A loss that begins an epoch of tokens can take the leases of a key and leave the
    /// key, and others get these generations: so the key of one epoch is not that of another.
    fn key_scope(&self, epoch: u64) -> u64 {
        self.id ^ epoch
    }

    /// Tells of a call in an earlier epoch, as far as its leases were not lost when the next one began. `None` if
    /// there was no such call, or none of its leases lives.
    #[cold]
    fn tell_earlier(
        &self,
        worker: &Worker,
        once: &Once<'_>,
        leases: &mut Vec<Lease>,
    ) -> Result<Option<LeasedOnce>, LeaseError> {
        let keys = &self.shared.keys;
        let newest = once.hash(keys, self.key_scope(self.keys.newest_id()));
        if keys.is_used(&newest).map_err(|Locked| LeaseError::KeyPending)? {
            return Ok(None);
        }
        for (epoch, last_generation) in self.keys.earlier() {
            let hash = once.hash(keys, self.key_scope(epoch));
            let found = keys.find(&hash).map_err(|Locked| LeaseError::KeyPending)?;
            let Some(entry) = found else { continue };
            let known = entry.leases().iter().filter(|stored| stored.generation <= last_generation);
            leases.extend(known.filter_map(|stored| self.live(stored)));
            if leases.is_empty() {
                // As for a key whose leases are over: a late renewal must not bring it back beside a new use.
                if !keys.forget(&hash, &entry) {
                    return Err(LeaseError::KeyPending);
                }
                continue;
            }
            if entry.body != keys.hash_body(once.body) {
                leases.clear();
                return Err(LeaseError::KeyMismatch);
            }
            return Ok(Some(LeasedOnce { position: worker.observed_position(), is_repeated: true }));
        }
        Ok(None)
    }

    /// Like [`Self::lease`], but a repeated call with the same key and body is told of the same leases, as far
    /// as their numbers' words still say so, for as long as any of them lives. With
    /// [`LeaseError::KeyStale`] `leases` holds those that are over. With [`LeaseError::KeyPending`] another
    /// call with the key is under way: try again.
    pub fn lease_once(
        &self,
        worker: &mut Worker,
        once: &Once<'_>,
        request: &LeaseRequest<'_>,
        leases: &mut Vec<Lease>,
    ) -> Result<LeasedOnce, LeaseError> {
        self.lease_once_for(worker, once, None, request, leases)
    }

    /// As [`Self::lease_once`], for a holder if there is one.
    pub fn lease_once_for(
        &self,
        worker: &mut Worker,
        once: &Once<'_>,
        holder: Option<&HolderName>,
        request: &LeaseRequest<'_>,
        leases: &mut Vec<Lease>,
    ) -> Result<LeasedOnce, LeaseError> {
        self.lease_by_key(worker, (once, None), request.count, leases, |worker, leases| {
            self.lease_by(worker, holder, request, leases)
        })
    }

    /// For [`Self::lease_once_held`].
    pub fn hold_key(&self) -> HeldKey {
        HeldKey { shared: Arc::clone(&self.shared), begun: None }
    }

    /// Like [`Self::lease_once_for`], for a call that waits: after a search in vain the key remains its own.
    pub fn lease_once_held(
        &self,
        worker: &mut Worker,
        (once, held): (&Once<'_>, &mut HeldKey),
        holder: Option<&HolderName>,
        request: &LeaseRequest<'_>,
        leases: &mut Vec<Lease>,
    ) -> Result<LeasedOnce, LeaseError> {
        self.lease_by_key(worker, (once, Some(held)), request.count, leases, |worker, leases| {
            self.lease_by(worker, holder, request, leases)
        })
    }

    fn lease_by(
        &self,
        worker: &mut Worker,
        holder: Option<&HolderName>,
        request: &LeaseRequest<'_>,
        leases: &mut Vec<Lease>,
    ) -> Result<Position, LeaseError> {
        match holder {
            None => self.lease(worker, request, leases),
            Some(holder) => self.lease_for(worker, holder, request, leases),
        }
    }

    /// Like [`Self::lease_once_held`], for a call that waits for others before it searches: if it repeats no other, it
    /// is [`LeaseError::Exhausted`].
    pub fn tell_or_hold(
        &self,
        worker: &mut Worker,
        (once, held): (&Once<'_>, &mut HeldKey),
        count: u32,
        leases: &mut Vec<Lease>,
    ) -> Result<LeasedOnce, LeaseError> {
        self.lease_by_key(worker, (once, Some(held)), count, leases, |_, _| Err(LeaseError::Exhausted))
    }

    fn lease_by_key(
        &self,
        worker: &mut Worker,
        (once, held): (&Once<'_>, Option<&mut HeldKey>),
        count: u32,
        leases: &mut Vec<Lease>,
        first: impl FnOnce(&mut Worker, &mut Vec<Lease>) -> Result<Position, LeaseError>,
    ) -> Result<LeasedOnce, LeaseError> {
        let (keys, now) = (&self.shared.keys, self.shared.clock.now());
        let epoch = self.keys.newest_id();
        if epoch != 0 {
            leases.clear();
            if let Some(told) = self.tell_earlier(worker, once, leases)? {
                return Ok(told);
            }
        }
        let call = KeyedCall { keys, scope: self.key_scope(epoch), once, count, now, held };
        let first = |worker: &mut Worker, leases: &mut Vec<Lease>| Ok((self, first(worker, leases)?));
        Ok(call.lease(worker, leases, |_| Some(self), first)?.1)
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
                expires_in_seconds: 0,
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
        let token = self.keys.token(number, generation);
        let expires_in_seconds = expires_at.seconds_after(self.shared.clock.now());
        Some(Lease { number, token, generation, expires_at, expires_in_seconds })
    }

    /// The latest end of a key's leases that live.
    pub(crate) fn live_until(&self, entry: &KeyEntry) -> Option<Timestamp> {
        entry.leases().iter().filter_map(|stored| Some(self.live(stored)?.expires_at)).max()
    }
}
