//! The log in this process: for tests, with the faults that a network has.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::sys::monotonic::boot_nanos;

use super::log::{Appended, Entries, Log, LogError, MemberStatus, PrimaryKey, View};

/// How long a member's keys stand without word of it, in nanoseconds.
const TTL_NANOS: u64 = 3_000_000_000;

#[derive(Debug, Default)]
struct State {
    view: View,
    /// Counts the primaries.
    epochs: u64,
    log: BTreeMap<u64, Vec<u8>>,
    claims: BTreeMap<String, u64>,
    /// Members that the log does not hear.
    cut: BTreeSet<String>,
    /// How many appends from now on are done without an answer.
    unanswered: u32,
}

/// A log that its members share.
#[derive(Debug, Default)]
pub struct MemoryCluster {
    state: Mutex<State>,
    changed: Condvar,
}

impl MemoryCluster {
    /// A member's side of the log.
    pub fn member(self: &Arc<Self>, id: &str) -> MemoryLog {
        MemoryLog { cluster: Arc::clone(self), id: id.to_owned() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cuts a member off, or lets it in again.
    pub fn cut(&self, member: &str, is_cut: bool) {
        let mut state = self.lock();
        if is_cut {
            state.cut.insert(member.to_owned())
        } else {
            state.cut.remove(member)
        };
        self.tell(&mut state);
    }

    /// Ends the keys of a member, as when it was not heard of for long.
    pub fn expire(&self, member: &str) {
        let mut state = self.lock();
        state.view.members.remove(member);
        if state.view.primary.as_ref().is_some_and(|primary| primary.member == member) {
            state.view.primary = None;
        }
        self.tell(&mut state);
    }

    /// Does the next appends without an answer.
    pub fn answer_not(&self, appends: u32) {
        self.lock().unanswered = appends;
    }

    fn tell(&self, state: &mut State) {
        state.view.version += 1;
        self.changed.notify_all();
    }
}

/// A member's side of the log.
#[derive(Debug)]
pub struct MemoryLog {
    cluster: Arc<MemoryCluster>,
    id: String,
}

impl MemoryLog {
    fn state(&self) -> Result<MutexGuard<'_, State>, LogError> {
        let state = self.cluster.lock();
        if state.cut.contains(&self.id) { Err(LogError("the link is cut".to_owned())) } else { Ok(state) }
    }
}

impl Log for MemoryLog {
    fn member(&self) -> &str {
        &self.id
    }

    fn campaign(&self) -> Result<Option<u64>, LogError> {
        let mut state = self.state()?;
        if state.view.primary.is_some() {
            return Ok(None);
        }
        state.epochs += 1;
        let epoch = state.epochs;
        let url = format!("memory:{}", self.id);
        state.view.primary = Some(PrimaryKey { member: self.id.clone(), url, epoch });
        self.cluster.tell(&mut state);
        Ok(Some(epoch))
    }

    fn resign(&self, epoch: u64, next: Option<&str>) -> Result<(), LogError> {
        let mut state = self.state()?;
        if state.view.primary.as_ref().is_some_and(|primary| primary.epoch == epoch) {
            state.view.primary = None;
            state.view.next = next.map(str::to_owned);
            self.cluster.tell(&mut state);
        }
        Ok(())
    }

    fn append(&self, epoch: u64, sequence: u64, entry: &[u8]) -> Result<Appended, LogError> {
        let mut state = self.state()?;
        if state.view.primary.as_ref().is_none_or(|primary| primary.epoch != epoch) {
            return Ok(Appended::Deposed);
        }
        if state.log.contains_key(&sequence) {
            return Ok(Appended::Taken);
        }
        state.log.insert(sequence, entry.to_vec());
        self.cluster.tell(&mut state);
        if state.unanswered > 0 {
            state.unanswered -= 1;
            return Err(LogError("no answer".to_owned()));
        }
        Ok(Appended::Done)
    }

    fn entry(&self, sequence: u64) -> Result<Option<Vec<u8>>, LogError> {
        Ok(self.state()?.log.get(&sequence).cloned())
    }

    fn read(&self, from: u64) -> Result<Entries, LogError> {
        Ok(self.state()?.log.range(from..).map(|(sequence, entry)| (*sequence, entry.clone())).collect())
    }

    fn bounds(&self) -> Result<Option<(u64, u64)>, LogError> {
        let state = self.state()?;
        let (first, last) = (state.log.first_key_value(), state.log.last_key_value());
        Ok(first.zip(last).map(|(first, last)| (*first.0, *last.0)))
    }

    fn trim(&self, below: u64) -> Result<(), LogError> {
        let mut state = self.state()?;
        state.log = state.log.split_off(&below);
        Ok(())
    }

    fn publish(&self, status: &MemberStatus) -> Result<(), LogError> {
        let mut state = self.state()?;
        state.view.members.insert(self.id.clone(), status.clone());
        self.cluster.tell(&mut state);
        Ok(())
    }

    fn claims(&self) -> Result<BTreeMap<String, u64>, LogError> {
        Ok(self.state()?.claims.clone())
    }

    fn claim(&self, position: u64) -> Result<(), LogError> {
        self.state()?.claims.insert(self.id.clone(), position);
        Ok(())
    }

    fn forget(&self, member: &str) -> Result<(), LogError> {
        self.state()?.claims.remove(member);
        Ok(())
    }

    fn view(&self) -> View {
        self.cluster.lock().view.clone()
    }

    fn wait(&self, version: u64, timeout: Duration) -> View {
        let state = self.cluster.lock();
        let unchanged = |state: &mut State| state.view.version == version;
        let waited = self.cluster.changed.wait_timeout_while(state, timeout, unchanged);
        waited.unwrap_or_else(PoisonError::into_inner).0.view.clone()
    }

    fn stands_until_nanos(&self) -> u64 {
        let state = self.cluster.lock();
        if state.cut.contains(&self.id) { 0 } else { boot_nanos() + TTL_NANOS }
    }
}
