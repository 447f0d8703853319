//! The log in this process: for tests, with the faults that a network has.
//!
//! A member's keys stand for [`TTL`] after the log heard of it last. The member knows that only from answers.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::sys::atomics::{AtomicU64, Ordering};
use crate::sys::monotonic::boot_nanos;
use crate::sys::sync::{Condvar, Mutex, MutexGuard};

use super::log::{Appended, Entries, Log, LogError, MemberStatus, PrimaryKey, View};

/// How long a member's keys stand without word of it.
pub const TTL: Duration = Duration::from_secs(3);
const TTL_NANOS: u64 = TTL.as_nanos() as u64;
/// What a wait looks for without being told: keys end by time.
const LOOK: Duration = Duration::from_millis(100);

#[derive(Debug, Default)]
struct State {
    view: View,
    /// Counts the primaries.
    epochs: u64,
    log: BTreeMap<u64, Vec<u8>>,
    claims: BTreeMap<String, u64>,
    /// The members' sessions, which their keys are bound to, and when each was heard of last.
    sessions: HashMap<u64, (String, u64)>,
    next_session: u64,
    /// The sessions of the primary's key, and of what members say of themselves.
    primary_session: u64,
    member_sessions: HashMap<String, u64>,
    /// Members that the log does not hear.
    cut: BTreeSet<String>,
    /// Members that do not hear the log.
    deaf: BTreeSet<String>,
    /// How many appends from now on are done without an answer.
    unanswered: u32,
}

impl State {
    /// Ends the sessions that were not heard of for too long. Returns whether there were any.
    fn end_late(&mut self) -> bool {
        let now = boot_nanos();
        self.end(|_, at| now >= at + TTL_NANOS)
    }

    /// Ends sessions, by their member and when they were heard of last, with their keys.
    fn end(&mut self, is_over: impl Fn(&str, u64) -> bool) -> bool {
        let ended: Vec<u64> =
            self.sessions.extract_if(|_, (member, at)| is_over(member, *at)).map(|(id, _)| id).collect();
        for session in &ended {
            if self.primary_session == *session {
                self.view.primary = None;
            }
            let gone = self.member_sessions.extract_if(|_, of| of == session);
            for (member, _) in gone {
                self.view.members.remove(&member);
            }
        }
        !ended.is_empty()
    }
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
        let log = MemoryLog {
            cluster: Arc::clone(self),
            id: id.to_owned(),
            stands_until: AtomicU64::new(0),
            seen: Mutex::default(),
            session: AtomicU64::new(0),
            taken_at: AtomicU64::new(u64::MAX),
        };
        // Should it be cut off, it tries again.
        let _ = log.keep_alive();
        log
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.end_late() {
            self.tell(&mut state);
        }
        state
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

    /// Loses the answers to a member, or no more.
    pub fn deafen(&self, member: &str, is_deaf: bool) {
        let mut state = self.lock();
        if is_deaf {
            state.deaf.insert(member.to_owned())
        } else {
            state.deaf.remove(member)
        };
    }

    /// Ends the keys of a member, as when it was not heard of for long.
    pub fn expire(&self, member: &str) {
        let mut state = self.lock();
        state.end(|id, _| id == member);
        self.tell(&mut state);
    }

    /// Does the next appends without an answer.
    pub fn answer_not(&self, appends: u32) {
        self.lock().unanswered = appends;
    }

    /// The entries that there are, and the claims on them.
    pub fn contents(&self) -> (BTreeMap<u64, Vec<u8>>, BTreeMap<String, u64>) {
        let state = self.lock();
        (state.log.clone(), state.claims.clone())
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
    /// Until when its keys stand by what it has heard.
    stands_until: AtomicU64,
    /// What it has seen last.
    seen: Mutex<View>,
    /// Its session.
    session: AtomicU64,
    /// The last epoch before it took its keys.
    taken_at: AtomicU64,
}

impl MemoryLog {
    /// Keeps the member's keys, or takes new ones. To be called several times in each [`TTL`].
    pub fn keep_alive(&self) -> Result<(), LogError> {
        let asked_at = boot_nanos();
        let taken_at = self.ask(|state| {
            let session = self.session.load(Ordering::SeqCst);
            if let Some((_, heard)) = state.sessions.get_mut(&session) {
                *heard = boot_nanos();
                return None;
            }
            state.next_session += 1;
            state.sessions.insert(state.next_session, (self.id.clone(), boot_nanos()));
            Some((state.next_session, state.epochs))
        })?;
        if let Some((session, epoch)) = taken_at {
            self.session.store(session, Ordering::SeqCst);
            // First: who reads the new end must not take it for that of an epoch before.
            self.taken_at.store(epoch, Ordering::SeqCst);
        }
        self.stands_until.fetch_max(asked_at + TTL_NANOS, Ordering::SeqCst);
        Ok(())
    }

    fn is_cut(&self, state: &State) -> bool {
        state.cut.contains(&self.id)
    }

    /// Asks the log.
    fn ask<T>(&self, ask: impl FnOnce(&mut State) -> T) -> Result<T, LogError> {
        let mut state = self.cluster.lock();
        if self.is_cut(&state) {
            return Err(LogError("the link is cut".to_owned()));
        }
        let version = state.view.version;
        let answer = ask(&mut state);
        if state.view.version != version {
            self.cluster.changed.notify_all();
        }
        if state.deaf.contains(&self.id) {
            return Err(LogError("no answer".to_owned()));
        }
        Ok(answer)
    }

    /// What it sees.
    fn look(&self, state: &State) -> View {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is_cut(state) && !state.deaf.contains(&self.id) {
            seen.clone_from(&state.view);
        }
        seen.clone()
    }
}

impl Log for MemoryLog {
    fn member(&self) -> &str {
        &self.id
    }

    fn campaign(&self) -> Result<Option<u64>, LogError> {
        self.ask(|state| {
            let session = self.session.load(Ordering::SeqCst);
            if state.view.primary.is_some() || !state.sessions.contains_key(&session) {
                return None;
            }
            state.primary_session = session;
            state.epochs += 1;
            let epoch = state.epochs;
            let url = format!("memory:{}", self.id);
            state.view.primary = Some(PrimaryKey { member: self.id.clone(), url, epoch });
            state.view.version += 1;
            Some(epoch)
        })
    }

    fn name_next(&self, epoch: u64, next: &str) -> Result<(), LogError> {
        self.ask(|state| {
            if state.view.primary.as_ref().is_some_and(|primary| primary.epoch == epoch) {
                state.view.next = Some(next.to_owned());
                state.view.version += 1;
            }
        })
    }

    fn resign(&self, epoch: u64, next: Option<&str>) -> Result<(), LogError> {
        self.ask(|state| {
            if state.view.primary.as_ref().is_some_and(|primary| primary.epoch == epoch) {
                state.view.primary = None;
                state.view.next = next.map(str::to_owned);
                state.view.version += 1;
            }
        })
    }

    fn append(&self, epoch: u64, sequence: u64, entry: &[u8]) -> Result<Appended, LogError> {
        self.ask(|state| {
            if state.view.primary.as_ref().is_none_or(|primary| primary.epoch != epoch) {
                return Ok(Appended::Deposed);
            }
            if state.log.contains_key(&sequence) {
                return Ok(Appended::Taken);
            }
            state.log.insert(sequence, entry.to_vec());
            state.view.version += 1;
            if state.unanswered > 0 {
                state.unanswered -= 1;
                return Err(LogError("no answer".to_owned()));
            }
            Ok(Appended::Done)
        })?
    }

    fn entry(&self, sequence: u64) -> Result<Option<Vec<u8>>, LogError> {
        self.ask(|state| state.log.get(&sequence).cloned())
    }

    fn read(&self, from: u64) -> Result<Entries, LogError> {
        self.ask(|state| {
            state.log.range(from..).map(|(sequence, entry)| (*sequence, entry.clone())).collect()
        })
    }

    fn bounds(&self) -> Result<Option<(u64, u64)>, LogError> {
        self.ask(|state| {
            let (first, last) = (state.log.first_key_value(), state.log.last_key_value());
            first.zip(last).map(|(first, last)| (*first.0, *last.0))
        })
    }

    fn trim(&self, below: u64) -> Result<(), LogError> {
        self.ask(|state| state.log = state.log.split_off(&below))
    }

    fn publish(&self, status: &MemberStatus) -> Result<(), LogError> {
        self.ask(|state| {
            let session = self.session.load(Ordering::SeqCst);
            if state.sessions.contains_key(&session) {
                state.member_sessions.insert(self.id.clone(), session);
                state.view.members.insert(self.id.clone(), status.clone());
                state.view.version += 1;
            }
        })
    }

    fn claims(&self) -> Result<BTreeMap<String, u64>, LogError> {
        self.ask(|state| state.claims.clone())
    }

    fn claim(&self, position: u64) -> Result<(), LogError> {
        self.ask(|state| {
            state.claims.insert(self.id.clone(), position);
        })
    }

    fn forget(&self, member: &str) -> Result<(), LogError> {
        self.ask(|state| {
            state.claims.remove(member);
        })
    }

    fn view(&self) -> View {
        self.look(&self.cluster.lock())
    }

    fn wait(&self, version: u64, timeout: Duration) -> View {
        let until = boot_nanos().saturating_add(u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX));
        let mut state = self.cluster.lock();
        loop {
            let (seen, left) = (self.look(&state), until.saturating_sub(boot_nanos()));
            if seen.version != version || left == 0 {
                return seen;
            }
            let waited = self.cluster.changed.wait_timeout(state, Duration::from_nanos(left).min(LOOK));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            if state.end_late() {
                state.view.version += 1;
            }
        }
    }

    fn stands_until_nanos(&self, epoch: u64) -> u64 {
        // In this order: see `keep_alive`.
        let until = self.stands_until.load(Ordering::SeqCst);
        if epoch > self.taken_at.load(Ordering::SeqCst) { until } else { 0 }
    }
}
