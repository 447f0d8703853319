//! Leasing from the first of several pools that has a number.

use crate::domain::holder::HolderName;
use crate::engine::idempotency::OF_SEVERAL_POOLS;
use crate::engine::pool::Pool;
use crate::engine::segment::within::Within;
use crate::engine::worker::Worker;
use crate::journal::queue::Position;

use super::lease::{Lease, LeaseError, LeaseRequest};
use super::lease_once::{HeldKey, KeyedCall, LeasedOnce, Once};

/// Most pools of one call.
pub const MAX_SEVERAL_POOLS: usize = 64;

/// A pool to choose from, and which of its numbers.
#[derive(Clone, Copy)]
pub struct Choice<'a> {
    /// The pool.
    pub pool: &'a Pool,
    /// Only these of its numbers.
    pub within: Option<&'a Within>,
    /// How long a lease of it lasts; the pool's `ttl` if there is none.
    pub ttl_seconds: Option<u32>,
}

/// Leases up to `count` numbers from the first of the pools that has one: all of them from this pool. Returns the
/// pool too.
///
/// A pool that is paused is left out. [`LeaseError::Exhausted`] says that each of the others was, at some instant
/// during the call, without an available number, or that the holder may have no more of it;
/// [`LeaseError::HolderQuota`] that this is so of all, [`LeaseError::Paused`] that all are paused.
pub fn lease_first<'a>(
    choices: &[Choice<'a>],
    worker: &mut Worker,
    holder: Option<&HolderName>,
    count: u32,
    leases: &mut Vec<Lease>,
) -> Result<(&'a Pool, Position), LeaseError> {
    let mut refused = LeaseError::Paused;
    for (index, choice) in choices.iter().enumerate() {
        let request = LeaseRequest { count, ttl_seconds: choice.ttl_seconds, within: choice.within };
        let result = match holder {
            None => choice.pool.lease(worker, &request, leases),
            Some(holder) => choice.pool.lease_for(worker, holder, &request, leases),
        };
        match result {
            Ok(position) => {
                // That it is not an earlier pool tells of other callers' leases.
                let position = if index == 0 { position } else { worker.observed_position() };
                return Ok((choice.pool, position));
            }
            Err(LeaseError::Exhausted) => refused = LeaseError::Exhausted,
            // Whoever may have no more of one pool may still have some of another.
            Err(error @ LeaseError::HolderQuota(_)) => {
                if refused == LeaseError::Paused {
                    refused = error;
                }
            }
            Err(LeaseError::Paused) => {}
            Err(error) => return Err(error),
        }
    }
    Err(refused)
}

/// Like [`lease_first`], but as [`Pool::lease_once`], or as [`Pool::lease_once_held`] if the call waits: a repeated call
/// is told of the same leases, even if a pool further ahead has numbers by then.
pub fn lease_first_once<'a>(
    choices: &[Choice<'a>],
    worker: &mut Worker,
    once: (&Once<'_>, Option<&mut HeldKey>),
    holder: Option<&HolderName>,
    count: u32,
    leases: &mut Vec<Lease>,
) -> Result<(&'a Pool, LeasedOnce), LeaseError> {
    by_key(choices, worker, once, count, leases, |worker, leases| {
        lease_first(choices, worker, holder, count, leases)
    })
}

/// As [`Pool::tell_or_hold`].
pub fn tell_first_or_hold<'a>(
    choices: &[Choice<'a>],
    worker: &mut Worker,
    (once, held): (&Once<'_>, &mut HeldKey),
    count: u32,
    leases: &mut Vec<Lease>,
) -> Result<(&'a Pool, LeasedOnce), LeaseError> {
    by_key(choices, worker, (once, Some(held)), count, leases, |_, _| Err(LeaseError::Exhausted))
}

fn by_key<'a>(
    choices: &[Choice<'a>],
    worker: &mut Worker,
    (once, held): (&Once<'_>, Option<&mut HeldKey>),
    count: u32,
    leases: &mut Vec<Lease>,
    first: impl FnOnce(&mut Worker, &mut Vec<Lease>) -> Result<(&'a Pool, Position), LeaseError>,
) -> Result<(&'a Pool, LeasedOnce), LeaseError> {
    let Some(any) = choices.first() else { return Err(LeaseError::Exhausted) };
    let of = |id: u64| choices.iter().map(|choice| choice.pool).find(|pool| pool.id() == id);
    let shared = &any.pool.shared;
    let (keys, now) = (&shared.keys, shared.clock.now());
    let call = KeyedCall { keys, scope: scope_of(choices), once, count, now, held };
    call.lease(worker, leases, of, first)
}

/// As [`Pool::knows_key`], of a call that chooses among pools.
pub fn knows_key(choices: &[Choice<'_>], once: &Once<'_>) -> bool {
    let Some(any) = choices.first() else { return false };
    let keys = &any.pool.shared.keys;
    keys.has(&once.hash(keys, scope_of(choices)))
}

/// What the key of a call among these pools is a key of: another one once a loss may have taken leases of one of
/// them.
fn scope_of(choices: &[Choice<'_>]) -> u64 {
    choices.iter().fold(OF_SEVERAL_POOLS, |scope, choice| scope ^ choice.pool.keys.newest_id())
}
