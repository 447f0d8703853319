//! What is asked of the log that the members share. `etcd` has it in etcd.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Why the log did not do something, or may have done it: the outcome is unknown.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct LogError(pub String);

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// It stands in the log.
    Done,
    /// The epoch has ended: there is another primary, or none.
    Deposed,
    /// The log has an entry of this sequence.
    Taken,
}

/// Who is primary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrimaryKey {
    /// Its id.
    pub member: String,
    /// Where it is reached.
    pub url: String,
    /// Its epoch: larger than those of all earlier primaries.
    pub epoch: u64,
}

/// What a member says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberStatus {
    /// Where it is reached.
    pub url: String,
    /// All entries up to this one are applied and durable there.
    pub position: u64,
    /// The epoch of the last of them.
    pub epoch: u64,
    /// Whether it has all data up to its position: it could be primary.
    pub able: bool,
    /// The version of allotd.
    pub version: String,
}

/// What is known of the cluster at present.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// Counts the changes.
    pub version: u64,
    /// Who is primary.
    pub primary: Option<PrimaryKey>,
    /// The members that are there, by id.
    pub members: BTreeMap<String, MemberStatus>,
    /// Who is to be primary next, if an operator has said so.
    pub next: Option<String>,
}

/// Entries, each with its sequence, without a gap.
pub type Entries = Vec<(u64, Vec<u8>)>;

/// A log of entries with sequences from 1, and keys that end with the member that made them. Calls block.
pub trait Log: fmt::Debug + Send + Sync + 'static {
    /// The id of this member.
    fn member(&self) -> &str;

    /// Becomes primary if there is none. Returns the epoch, or `None` if there is one.
    fn campaign(&self) -> Result<Option<u64>, LogError>;

    /// Says who is to be primary next, while this member still is: that one hurries to say that it has all.
    fn name_next(&self, epoch: u64, next: &str) -> Result<(), LogError>;

    /// Ends the epoch; `next` is who is to be primary next.
    fn resign(&self, epoch: u64, next: Option<&str>) -> Result<(), LogError>;

    /// Appends an entry if `epoch` is that of the primary and there is no entry of this sequence.
    fn append(&self, epoch: u64, sequence: u64, entry: &[u8]) -> Result<Appended, LogError>;

    /// An entry that is in the log for certain, or `None` if there is none.
    fn entry(&self, sequence: u64) -> Result<Option<Vec<u8>>, LogError>;

    /// The entries from `from` on: all that a completed [`Self::append`] has made, but not more than fit an answer.
    fn read(&self, from: u64) -> Result<Entries, LogError>;

    /// The oldest entry's sequence and the newest's; `None` if the log is empty.
    fn bounds(&self) -> Result<Option<(u64, u64)>, LogError>;

    /// Forgets the entries below a sequence.
    fn trim(&self, below: u64) -> Result<(), LogError>;

    /// Says how far this member is.
    fn publish(&self, status: &MemberStatus) -> Result<(), LogError>;

    /// How far each member was that may come back, by id.
    fn claims(&self) -> Result<BTreeMap<String, u64>, LogError>;

    /// Keeps the entries above `position` for this member.
    fn claim(&self, position: u64) -> Result<(), LogError>;

    /// Ends the claim of a member: it will be filled anew.
    fn forget(&self, member: &str) -> Result<(), LogError>;

    /// What is known at present, without asking.
    fn view(&self) -> View;

    /// Waits until something changes after `version` of the view, or an entry comes.
    fn wait(&self, version: u64, timeout: Duration) -> View;

    /// Until when the key of this member's epoch stands for certain, by the clock that counts from the boot, in
    /// nanoseconds. Keys that the member has taken since are those of no earlier epoch.
    fn stands_until_nanos(&self, epoch: u64) -> u64;
}
