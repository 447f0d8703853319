//! Why a lease call returned no lease.

use crate::engine::holders::MAX_HOLDERS;
use crate::journal::error::JournalError;
use crate::state::time::Timestamp;

use super::lease_to::HolderQuota;

/// Maximum count of one lease call.
pub const MAX_LEASE_COUNT: u32 = 65_536;

/// Why a lease call returned no lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// At some instant during the call, no number that it could choose was available.
    #[error("no number is available: return some, wait for leases and rests to end, or add numbers")]
    Exhausted,
    /// An operator paused the pool.
    #[error("the pool is paused: renew and return still work, and an operator can resume it")]
    Paused,
    /// The pool was deleted during the call.
    #[error("the pool was deleted")]
    Deleted,
    /// A lease of this length is not allowed.
    #[error("ttl is {ttl_seconds} seconds: give 1 to {ttl_max_seconds}, the pool's ttl_max")]
    TtlOutOfBounds {
        /// The requested length, in seconds.
        ttl_seconds: u32,
        /// The pool's limit, in seconds.
        ttl_max_seconds: u32,
    },
    /// The lease would end after the last time that can be stored.
    #[error(
        "this lease would end after {}, the last time that can be stored: give a shorter ttl",
        Timestamp::MAX
    )]
    EndsTooLate,
    /// The count is 0 or too large.
    #[error("count is {0}: give 1 to {MAX_LEASE_COUNT}")]
    CountOutOfBounds(u32),
    /// The journal accepts no change.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The key was used with another body.
    #[error("the Idempotency-Key was used with another body: use a new key for another request")]
    KeyMismatch,
    /// A call with this key is under way.
    #[error("another call with this Idempotency-Key is under way: try again")]
    KeyPending,
    /// All leases that were made under the key are over.
    #[error("the leases that this Idempotency-Key stands for are over: use a new key to lease again")]
    KeyStale,
    /// No more keys can be stored now.
    #[error("too many leases under an Idempotency-Key are live: wait for some to end, or leave the key out")]
    TooManyKeys,
    /// No more keys of this caller can be stored now.
    #[error(
        "too many leases under this caller's Idempotency-Keys are live: wait for some to end, or leave the key out"
    )]
    TooManyOwnKeys,
    /// The pool is being deleted.
    #[error("the pool is being deleted: try again")]
    Deleting,
    /// The clock has gone on so far that it has to be worked out anew what is open.
    #[error("the pool's hours are being worked out: try again")]
    HoursUnsettled,
    /// A holder was named, but the pool tracks none.
    #[error("the pool tracks no holders: leave holder out, or set holders=true for the pool")]
    NoHolders,
    /// The pool cannot have more holders.
    #[error(
        "the pool has {MAX_HOLDERS} holders, as many as it can have: use fewer names, or wait until some have no lease for a while"
    )]
    TooManyHolders,
    /// The holder has as many leases as it may have.
    #[error("{0}")]
    HolderQuota(HolderQuota),
    /// Numbers came and went so fast that the call could neither take one nor prove that there was none. Or
    /// too many leases had ended for it to sweep.
    #[error(
        "other calls took every number as it became available, or many leases have just ended: try again"
    )]
    Busy,
}

impl LeaseError {
    /// Whether a later search may find a number.
    pub(crate) fn may_pass(self) -> bool {
        matches!(self, Self::Exhausted | Self::Busy | Self::Deleting | Self::HoursUnsettled)
    }
}
