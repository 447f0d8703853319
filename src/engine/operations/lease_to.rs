//! Whom a lease is for: nobody in particular, or a holder.

use std::fmt;

use crate::coordinates::Rank;
use crate::engine::segment::Segment;
use crate::state::floors::Floors;
use crate::state::holder_column::HolderId;
use crate::state::time::Timestamp;
use crate::state::word::{LeaseRefusal, Word};

/// A holder has as many leases as it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HolderQuota {
    /// How many it has.
    pub has: u32,
    /// How many it may have.
    pub most: u32,
    /// Whether it may have more once it has returned one.
    pub is_first: bool,
}

impl fmt::Display for HolderQuota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { has, most, is_first } = self;
        let setting = if *is_first { "first_per_holder" } else { "max_per_holder" };
        write!(
            f,
            "the holder has {has} leases, and may have {most} (the pool's {setting}): return some first"
        )
    }
}

/// Whom numbers are leased to.
pub(super) trait LeaseTo {
    /// Leases a rank that was taken out of the free index.
    fn lease(
        &mut self,
        segment: &Segment,
        rank: Rank,
        until: Timestamp,
        floors: Floors,
    ) -> Result<Word, LeaseRefusal>;
    /// The holder that the records name.
    fn holder(&self) -> HolderId;
}

/// A lease without a holder.
pub(super) struct Nobody;

impl LeaseTo for Nobody {
    #[inline]
    fn lease(
        &mut self,
        segment: &Segment,
        rank: Rank,
        until: Timestamp,
        floors: Floors,
    ) -> Result<Word, LeaseRefusal> {
        segment.state.lease(rank, until, floors)
    }

    #[inline]
    fn holder(&self) -> HolderId {
        HolderId::NOBODY
    }
}
