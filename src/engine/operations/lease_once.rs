//! Leasing under an `Idempotency-Key`: a repeated call returns the same leases.

use crate::engine::idempotency::{StoredLease, StoredLeases};
use crate::engine::pool::Pool;
use crate::engine::worker::Worker;
use crate::numbers::set::run::LastRun;
use crate::state::time::Timestamp;

use super::lease::{Lease, LeaseError, LeaseRequest};

impl Pool {
    /// Like [`Self::lease`], but a repeated call with the same key and body returns the same leases for as
    /// long as they last.
    pub fn lease_once(
        &self,
        worker: &mut Worker,
        key: &[u8],
        body: &[u8],
        request: &LeaseRequest<'_>,
        leases: &mut Vec<Lease>,
    ) -> Result<(), LeaseError> {
        leases.clear();
        let keys = &self.shared.keys;
        let (key, body) = (keys.hash(self.id, key), keys.hash_body(body));
        let now = self.shared.clock.now();
        let mut shard = keys.lock(&key);
        if let Some(kept) = shard.get(&key, now) {
            worker.observed = true;
            if kept.body != body {
                return Err(LeaseError::KeyMismatch);
            }
            leases.extend(kept.leases.iter().filter_map(|lease| self.leased(lease, kept.until)));
            return Ok(());
        }
        if !shard.has_room(request.count, now) {
            return Err(LeaseError::TooManyKeys);
        }
        self.lease(worker, request, leases)?;
        let Some(first) = leases.first() else { return Ok(()) };
        let segments = self.segments.load();
        let kept = |lease: &Lease| {
            let (segment, rank) = segments.locate(lease.number, &mut LastRun::default())?;
            let segment = segments.get(segment).id;
            Some(StoredLease { segment, rank, generation: lease.generation })
        };
        let until = first.expires_at;
        let kept =
            StoredLeases { pool: self.id, body, until, leases: leases.iter().filter_map(kept).collect() };
        for record in kept.records(&key) {
            self.shared.journal.push(worker.slot, record);
        }
        shard.insert(key, kept);
        Ok(())
    }

    /// Rebuilds a lease from what was stored.
    fn leased(&self, kept: &StoredLease, until: Timestamp) -> Option<Lease> {
        let segments = self.segments.load();
        let segment = segments.list.iter().find(|segment| segment.id == kept.segment)?;
        let number = segment.set.select(kept.rank)?;
        let token = self.key.token(number, kept.generation);
        Some(Lease { number, token, generation: kept.generation, expires_at: until })
    }
}
