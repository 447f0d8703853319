//! The clocks of a member of a cluster: the cluster's time.

use std::sync::Arc;
use std::time::Duration;

use crate::replication::cluster_clock::ClusterClock;
use crate::state::time::EPOCH_UNIX_SECONDS;
use crate::sys::monotonic::boot_nanos;

use super::clock::Clocks;

/// Clocks that begin with the cluster's time.
#[derive(Debug)]
pub struct MemberClocks {
    clock: Arc<ClusterClock>,
    is_following: bool,
}

impl MemberClocks {
    /// The clocks of a primary.
    pub fn leading(clock: Arc<ClusterClock>) -> Self {
        Self { clock, is_following: false }
    }

    /// The clocks of a standby's directory: what it has must not end by a clock of this machine that is fast.
    pub fn following(clock: Arc<ClusterClock>) -> Self {
        Self { clock, is_following: true }
    }
}

impl Clocks for MemberClocks {
    fn wall(&self) -> Duration {
        let nanos = if self.is_following { self.clock.known_nanos() } else { self.clock.now_nanos() };
        Duration::from_secs(EPOCH_UNIX_SECONDS) + Duration::from_nanos(nanos)
    }

    fn boot_nanos(&self) -> u64 {
        boot_nanos()
    }

    /// None: an engine goes on from the cluster's time, not from the boot that its last frame was written in.
    fn boot_id(&self) -> [u8; 16] {
        [0; 16]
    }
}
