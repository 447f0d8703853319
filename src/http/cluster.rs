//! What the calls of a primary know of its cluster.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::replication::cluster_clock::ClusterClock;
use crate::replication::log::View;
use crate::replication::primary::Primary;

/// How long a primary that stops waits for standbys to fetch what is under way.
const FILES_PATIENCE: Duration = Duration::from_secs(5);
/// How often it looks.
const FILES_LOOK: Duration = Duration::from_millis(5);

/// A cluster as its primary sees it.
pub struct Cluster {
    /// Its name.
    pub name: String,
    /// What members show each other.
    pub key: String,
    /// Where this member is reached.
    pub url: String,
    /// The log's end.
    pub primary: Arc<Primary>,
    /// The time of all members.
    pub clock: Arc<ClusterClock>,
    /// Since when this member is primary.
    pub since: SystemTime,
    /// Woken when an operator hands the cluster over.
    pub handed_over: Notify,
    /// To whom.
    next: Mutex<Option<String>>,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It answers all calls.
    Primary,
    /// It follows.
    Standby,
    /// It takes a copy of all that the primary has.
    Filling,
}

/// A cluster as one of its members shows it, in `GET /v1/cluster` and in the stats.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterStatus {
    /// Its name.
    pub cluster: String,
    /// Who says this.
    pub member: String,
    /// What it is.
    pub role: Role,
    /// The epoch of the primary; `None` if there is none.
    pub epoch: Option<u64>,
    /// Who is primary, if anybody is.
    pub primary: Option<PrimaryStatus>,
    /// Since when, if it is this member (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary_since: Option<String>,
    /// The last entry of the log that this member knows of.
    pub committed: u64,
    /// All entries up to this one are durable here.
    pub position: u64,
    /// The standbys that are there.
    pub replicas: u64,
    /// How far the system's clock is ahead of the cluster's time, in seconds.
    pub clock_ahead_seconds: i64,
    /// All members that are there.
    pub members: Vec<MemberLine>,
}

/// Who is primary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrimaryStatus {
    /// Its id.
    pub member: String,
    /// Where it is reached.
    pub url: String,
}

/// A member that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberLine {
    /// Its id.
    pub member: String,
    /// Where it is reached.
    pub url: String,
    /// All entries up to this one are durable there.
    pub position: u64,
    /// Entries that it is behind.
    pub lag: u64,
    /// Its version of allotd.
    pub version: String,
}

/// What does not come from the members' keys.
pub struct Own<'a> {
    /// The cluster's name.
    pub cluster: &'a str,
    /// This member.
    pub member: &'a str,
    /// What it is.
    pub role: Role,
    /// The last entry that it knows of.
    pub committed: u64,
    /// How far it is.
    pub position: u64,
    /// Since when it is primary.
    pub since: Option<SystemTime>,
    /// How far the system's clock is ahead.
    pub clock_ahead_seconds: i64,
}

impl ClusterStatus {
    /// The status of a cluster as one of its members sees it.
    pub fn of(view: &View, own: &Own<'_>) -> Self {
        let line = |(member, status): (&String, &crate::replication::log::MemberStatus)| MemberLine {
            member: member.clone(),
            url: status.url.clone(),
            position: status.position,
            lag: own.committed.saturating_sub(status.position),
            version: status.version.clone(),
        };
        let primary = view.primary.as_ref();
        let is_primary = |member: &str| primary.is_some_and(|primary| primary.member == member);
        Self {
            cluster: own.cluster.to_owned(),
            member: own.member.to_owned(),
            role: own.role,
            epoch: primary.map(|primary| primary.epoch),
            primary: primary
                .map(|primary| PrimaryStatus { member: primary.member.clone(), url: primary.url.clone() }),
            primary_since: own.since.map(|since| humantime::format_rfc3339_seconds(since).to_string()),
            committed: own.committed,
            position: own.position,
            replicas: view.members.keys().filter(|member| !is_primary(member)).count() as u64,
            clock_ahead_seconds: own.clock_ahead_seconds,
            members: view.members.iter().map(line).collect(),
        }
    }
}

impl Cluster {
    /// A cluster of which this member has just become primary.
    pub fn new(
        name: String,
        key: String,
        url: String,
        primary: Arc<Primary>,
        clock: Arc<ClusterClock>,
    ) -> Self {
        let (since, handed_over, next) = (SystemTime::now(), Notify::new(), Mutex::default());
        Self { name, key, url, primary, clock, since, handed_over, next }
    }

    /// How it is.
    pub fn status(&self) -> ClusterStatus {
        let log = self.primary.log();
        ClusterStatus::of(
            &log.view(),
            &Own {
                cluster: &self.name,
                member: log.member(),
                role: Role::Primary,
                committed: self.primary.committed(),
                position: self.primary.position(),
                since: Some(self.since),
                clock_ahead_seconds: self.clock.system_ahead_seconds(),
            },
        )
    }

    /// Has this member hand over, to `next`.
    pub fn hand_over(&self, next: String) {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(next);
        self.handed_over.notify_one();
    }

    /// Waits until what standbys have to fetch is fetched, before this member serves nobody any more.
    pub async fn end_file_changes(&self) {
        self.primary.stop_changing_files();
        let begun = Instant::now();
        while self.primary.is_changing_files() && begun.elapsed() < FILES_PATIENCE {
            tokio::time::sleep(FILES_LOOK).await;
        }
        self.primary.end_waits();
    }

    /// To whom this member hands over.
    pub fn next(&self) -> Option<String> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The figures of a cluster for Prometheus: names behind `allotd_`, what they are, values.
pub(crate) fn figures(status: &ClusterStatus) -> [(&'static str, &'static str, f64); 7] {
    let own = status.members.iter().find(|line| line.member == status.member);
    let is_primary = if status.role == Role::Primary { 1.0 } else { 0.0 };
    [
        ("cluster_primary", "Whether this member is the primary", is_primary),
        ("cluster_replicas", "Standbys that are there", status.replicas as f64),
        ("cluster_epoch", "The epoch of the primary; 0 without one", status.epoch.unwrap_or(0) as f64),
        (
            "cluster_committed_entries",
            "The last entry of the log that this member knows of",
            status.committed as f64,
        ),
        ("cluster_position_entries", "All entries up to this one are durable here", status.position as f64),
        ("cluster_lag_entries", "Entries that this member is behind", own.map_or(0, |line| line.lag) as f64),
        (
            "cluster_clock_ahead_seconds",
            "How far the system's clock is ahead of the cluster's time",
            status.clock_ahead_seconds as f64,
        ),
    ]
}
