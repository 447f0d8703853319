//! What the parts of a member share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::client::tls::ClientFiles;
use crate::client::{ClientError, Server};
use crate::daemon::config::Config;
use crate::daemon::config::cluster::ClusterConfig;
use crate::engine::startup::config::{EngineConfig, Membership};
use crate::http::cluster::{ClusterStatus, Own, Role};
use crate::replication::cluster_clock::ClusterClock;
use crate::replication::log::Log;

use super::clock::MemberClocks;

/// A member of a cluster.
pub(super) struct Member {
    pub(super) config: Config,
    /// How an engine is opened on its directory, but for its clocks and who changes it.
    pub(super) engine_config: EngineConfig,
    pub(super) cluster: ClusterConfig,
    pub(super) id: String,
    pub(super) log: Arc<dyn Log>,
    /// The cluster's id, and what members show each other.
    pub(super) cluster_id: String,
    pub(super) key: String,
    pub(super) clock: Arc<ClusterClock>,
    /// Set at SIGTERM.
    pub(super) stops: AtomicBool,
    /// What the standby's server shows.
    pub(super) shown: Mutex<Shown>,
}

/// What a standby says of itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown {
    pub(super) role: Role,
    pub(super) committed: u64,
    pub(super) position: u64,
}

impl Member {
    pub(super) fn show(&self, role: Role, committed: u64, position: u64) {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Shown { role, committed, position };
    }

    pub(super) fn status(&self) -> ClusterStatus {
        let shown = *self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        ClusterStatus::of(
            &self.log.view(),
            &Own {
                cluster: &self.cluster.name,
                member: &self.id,
                role: shown.role,
                committed: shown.committed,
                position: shown.position,
                since: None,
                clock_ahead_seconds: self.clock.system_ahead_seconds(),
            },
        )
    }

    pub(super) fn stops(&self) -> bool {
        self.stops.load(Ordering::SeqCst)
    }

    /// How an engine is opened on the directory.
    pub(super) fn engine_config(&self, membership: Membership) -> EngineConfig {
        // A standby's changes are those of its primary, which tells them.
        let events_keep =
            self.engine_config.events_keep.filter(|_| !matches!(membership, Membership::Following));
        EngineConfig {
            events_keep,
            clocks: Arc::new(MemberClocks::new(Arc::clone(&self.clock))),
            membership,
            ..self.engine_config.clone()
        }
    }

    /// Another member, to be called.
    pub(super) fn peer(&self, url: &str) -> Result<Server, ClientError> {
        let files = ClientFiles { ca: self.cluster.ca.clone(), ..ClientFiles::default() };
        Server::new(url, &files)?.with_token(&self.key)
    }
}
