//! Leasing under an `Idempotency-Key`: a repeated call is told of the same leases.

use std::sync::Arc;

use crate::engine::idempotency::entry::{KeyEntry, KeyHash, StoredLease, StoredLeases};
use crate::engine::idempotency::{Begun, KeyShare};
use crate::engine::pool::Pool;
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

/// What a call with a key was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeasedOnce {
    /// What must be committed before it is told.
    pub position: Position,
    /// Whether the leases are those of an earlier call.
    pub is_repeated: bool,
}

impl Pool {
    /// Whether a call repeats one whose leases are stored.
    pub fn knows_key(&self, once: &Once<'_>) -> bool {
        self.shared.keys.has(&self.key_hash(once))
    }

    fn key_hash(&self, once: &Once<'_>) -> KeyHash {
        self.shared.keys.hash(self.id, once.share.map(|share| &**share.owner), once.key)
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
        leases.clear();
        let keys = &self.shared.keys;
        let (key, body) = (self.key_hash(once), keys.hash_body(once.body));
        let now = self.shared.clock.now();
        loop {
            match keys.begin(&key, (self.id, body), request.count, once.share, now) {
                Begun::First(entry) => {
                    let position = self.lease_first(worker, &key, &entry, request, leases)?;
                    return Ok(LeasedOnce { position, is_repeated: false });
                }
                Begun::Stored(entry) => {
                    let position = self.tell(worker, &entry, leases)?;
                    return Ok(LeasedOnce { position, is_repeated: true });
                }
                Begun::Ended(entry) => match self.live_until(&entry) {
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

    /// Leases, and stores the leases under the key. The entry is complete before its records are pushed: so a
    /// checkpoint that began before either finds it or, as the older files were closed before it looked, the
    /// records go into newer files.
    fn lease_first(
        &self,
        worker: &mut Worker,
        key: &KeyHash,
        entry: &KeyEntry,
        request: &LeaseRequest<'_>,
        leases: &mut Vec<Lease>,
    ) -> Result<Position, LeaseError> {
        let result = self.lease(worker, request, leases);
        let stored = |lease: &Lease| StoredLease { number: lease.number, generation: lease.generation };
        let stored = StoredLeases {
            until: leases.iter().map(|lease| lease.expires_at).min().unwrap_or_default(),
            leases: leases.iter().map(stored).collect(),
        };
        // A repetition that finds the entry waits for the records too.
        let _changing = self.shared.journal.change(worker.slot);
        self.shared.keys.complete(entry, request.count, stored);
        result?;
        for record in entry.records(key) {
            self.shared.journal.push(worker.slot, record);
        }
        Ok(worker.position(leases.len() < request.count as usize))
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
