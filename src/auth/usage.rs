//! What a principal uses, shared by all workers and kept under its name across changes of the tokens file.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::key_owner::KeyOwner;

use super::live_leases::LiveLeases;
use super::quota::Quota;
use super::rate::Rate;

/// Counts of one principal.
#[derive(Debug)]
pub struct Usage {
    /// The place of its counters in the statistics of each worker.
    pub(crate) index: NameIndex,
    pub(crate) requests: Rate,
    pub(crate) numbers: Rate,
    connections: AtomicU32,
    /// Changed when principals are made, and only looked at then.
    live: Mutex<Option<Arc<LiveLeases>>>,
    /// Its idempotency keys.
    pub(crate) keys: Arc<KeyOwner>,
}

/// The place of a principal's name among those of the statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NameIndex(pub(crate) u16);

impl Usage {
    pub(super) fn new(index: NameIndex, name: &str) -> Self {
        Self {
            index,
            requests: Rate::default(),
            numbers: Rate::default(),
            connections: AtomicU32::new(0),
            live: Mutex::default(),
            keys: Arc::new(KeyOwner::new(name)),
        }
    }

    /// The count of live leases, if `quota` limits them.
    pub(super) fn live_leases(&self, quota: &Quota) -> Option<Arc<LiveLeases>> {
        let (Some(_), Some(ttl_seconds)) = (quota.live_leases, quota.ttl_seconds) else { return None };
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let fitting = match live.take() {
            Some(counted) if counted.fits(ttl_seconds) => counted,
            Some(counted) => Arc::new(counted.moved(ttl_seconds)),
            None => Arc::new(LiveLeases::new(ttl_seconds)),
        };
        *live = Some(Arc::clone(&fitting));
        Some(fitting)
    }
}

/// A connection that counts as one of a principal's for as long as this lives.
#[derive(Debug)]
pub struct ConnectionShare(Arc<Usage>);

impl ConnectionShare {
    /// `None` if there are as many as `quota` allows.
    pub(crate) fn take(usage: &Arc<Usage>, quota: &Quota) -> Option<Self> {
        let most = quota.connections.unwrap_or(u32::MAX);
        let add = |open: u32| (open < most).then(|| open + 1);
        usage.connections.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).ok()?;
        Some(Self(Arc::clone(usage)))
    }

    /// Whether it is one of these.
    pub(crate) fn is_of(&self, usage: &Arc<Usage>) -> bool {
        Arc::ptr_eq(&self.0, usage)
    }
}

impl Drop for ConnectionShare {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
