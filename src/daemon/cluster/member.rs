//! What the parts of a member share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::client::tls::ClientFiles;
use crate::client::{ClientError, Server};
use crate::daemon::config::Config;
use crate::daemon::config::cluster::ClusterConfig;
use crate::engine::member_clocks::MemberClocks;
use crate::engine::startup::config::{EngineConfig, Membership};
use crate::http::cluster::{ClusterStatus, Own, Role};
use crate::replication::standby::Standing;

/// A member of a cluster.
pub(super) struct Member {
    pub(super) config: Config,
    /// How an engine is opened on its directory, but for its clocks and who changes it.
    pub(super) engine_config: EngineConfig,
    pub(super) cluster: ClusterConfig,
    pub(super) id: String,
    /// What it is as a standby.
    pub(super) standing: Standing,
    /// The cluster's id, and what members show each other.
    pub(super) cluster_id: String,
    pub(super) key: String,
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
            &self.standing.log.view(),
            &Own {
                cluster: &self.cluster.name,
                member: &self.id,
                role: shown.role,
                committed: shown.committed,
                position: shown.position,
                since: None,
                clock_ahead_seconds: self.standing.clock.system_ahead_seconds(),
            },
        )
    }

    pub(super) fn stops(&self) -> bool {
        self.stops.load(Ordering::SeqCst)
    }

    /// How an engine is opened on the directory.
    pub(super) fn engine_config(&self, membership: Membership) -> EngineConfig {
        let clock = Arc::clone(&self.standing.clock);
        let (clocks, events_keep) = match membership {
            // A standby's changes are those of its primary, which tells them.
            Membership::Following => (MemberClocks::following(clock), None),
            _ => (MemberClocks::leading(clock), self.engine_config.events_keep),
        };
        EngineConfig { events_keep, clocks: Arc::new(clocks), membership, ..self.engine_config.clone() }
    }

    /// Another member, to be called.
    pub(super) fn peer(&self, url: &str) -> Result<Server, ClientError> {
        let files = ClientFiles { ca: self.cluster.ca.clone(), ..ClientFiles::default() };
        Server::new(url, &files)?.with_token(&self.key)
    }
}
