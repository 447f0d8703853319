//! The clocks of a member's engine: the cluster's time.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::clock::Clocks;
use crate::replication::cluster_clock::ClusterClock;
use crate::state::time::EPOCH_UNIX_SECONDS;
use crate::sys::monotonic::boot_nanos;

/// Clocks that begin with the cluster's time.
#[derive(Debug)]
pub(super) struct MemberClocks(Arc<ClusterClock>);

impl MemberClocks {
    pub(super) fn new(clock: Arc<ClusterClock>) -> Self {
        Self(clock)
    }
}

impl Clocks for MemberClocks {
    fn wall(&self) -> Duration {
        Duration::from_secs(EPOCH_UNIX_SECONDS) + Duration::from_nanos(self.0.now_nanos())
    }

    fn boot_nanos(&self) -> u64 {
        boot_nanos()
    }

    /// None: an engine goes on from the cluster's time, not from the boot that its last frame was written in.
    fn boot_id(&self) -> [u8; 16] {
        [0; 16]
    }
}
