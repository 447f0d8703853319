//! A member's session: its keys are kept while the process runs, and all keys of the cluster are followed.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use etcd_client::{Client, EventType, GetOptions, Txn, TxnOp, TxnOpResponse, WatchOptions};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use crate::replication::log::{LogError, PrimaryKey, View};
use crate::sys::monotonic::boot_nanos;

use super::seen::Seen;

/// Parts of the time to live after which keys are kept alive again.
pub(super) const KEEPALIVES_PER_TTL: u32 = 5;
/// How long the watch may say nothing before it is begun anew: a dead connection can be silent for ever.
const WATCH_PATIENCE: Duration = Duration::from_secs(5);
/// How often it is asked to say something.
const WATCH_ASK: Duration = Duration::from_secs(1);
/// Pause before a broken connection is tried again.
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PrimaryValue {
    pub(super) member: String,
    pub(super) url: String,
}

/// A member's connection to etcd, and what it has seen.
pub(super) struct Inner {
    /// A client of each node. One is used until it fails: a client of all of them goes on choosing one that is gone.
    pub(super) clients: Vec<Client>,
    /// Counts the failures, and so says which client is used.
    pub(super) turn: AtomicUsize,
    pub(super) prefix: String,
    pub(super) member: String,
    pub(super) url: String,
    pub(super) ttl_seconds: u32,
    pub(super) lease: AtomicU64,
    pub(super) stands_until_nanos: AtomicU64,
    /// The revision of etcd at which the lease was granted: keys of before are not under it.
    pub(super) granted_at: AtomicU64,
    pub(super) seen: Mutex<Seen>,
    pub(super) changed: Condvar,
}

pub(super) fn failed(error: impl std::fmt::Display) -> LogError {
    LogError(format!("etcd: {error}"))
}

impl Inner {
    /// A client of the node that is used at present.
    pub(super) fn client(&self) -> Client {
        self.clients[self.turn() % self.clients.len()].clone()
    }

    /// Which node is used at present, for [`Self::failed_at`].
    pub(super) fn turn(&self) -> usize {
        self.turn.load(Ordering::Relaxed)
    }

    /// Uses another node from now on, unless another call has seen to that.
    pub(super) fn failed_at(&self, turn: usize) {
        let next = turn.wrapping_add(1);
        // Relaxed: whichever is used, it only has to answer.
        let _ = self.turn.compare_exchange(turn, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    pub(super) fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    pub(super) fn log_key(&self, sequence: u64) -> String {
        format!("{}log/{sequence:016x}", self.prefix)
    }

    pub(super) fn lease(&self) -> i64 {
        self.lease.load(Ordering::SeqCst).cast_signed()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ttl_nanos(&self) -> u64 {
        u64::from(self.ttl_seconds) * 1_000_000_000
    }

    /// Takes a new lease for this member's keys.
    pub(super) async fn grant(inner: &Arc<Self>) -> Result<(), LogError> {
        let begun = boot_nanos();
        let mut client = inner.client();
        let granted = client.lease_grant(inner.ttl_seconds.into(), None).await.map_err(failed)?;
        let granted_at = granted.header().map_or(u64::MAX, |header| header.revision().cast_unsigned());
        inner.lease.store(granted.id().cast_unsigned(), Ordering::SeqCst);
        // First: who reads the new end must not take it for that of an epoch before.
        inner.granted_at.store(granted_at, Ordering::SeqCst);
        inner.stands_until_nanos.store(begun + inner.ttl_nanos(), Ordering::SeqCst);
        Ok(())
    }

    /// Keeps this member's keys, for as long as the process runs.
    pub(super) async fn keep_alive(inner: Arc<Self>) {
        let ttl = Duration::from_secs(inner.ttl_seconds.into());
        let interval = ttl / KEEPALIVES_PER_TTL;
        loop {
            let (id, turn) = (inner.lease(), inner.turn());
            let kept = async {
                let (mut keeper, mut answers) = inner.client().lease_keep_alive(id).await.map_err(failed)?;
                loop {
                    // Counted from before it is sent.
                    let begun = boot_nanos();
                    keeper.keep_alive().await.map_err(failed)?;
                    match tokio::time::timeout(ttl, answers.message()).await {
                        Ok(Ok(Some(answer))) if answer.ttl() > 0 => {
                            inner.stands_until_nanos.fetch_max(begun + inner.ttl_nanos(), Ordering::SeqCst);
                        }
                        Ok(Ok(Some(_))) => return Ok(true),
                        Ok(Ok(None)) => return Err(failed("the stream of keepalives ended")),
                        Ok(Err(error)) => return Err(failed(error)),
                        Err(_) => return Err(failed("a keepalive is not answered")),
                    }
                    tokio::time::sleep(interval).await;
                }
            };
            let ended: Result<bool, LogError> = kept.await;
            if matches!(ended, Ok(true)) {
                // The keys are gone, with that of an epoch: the next ones are none of it.
                while let Err(error) = Self::grant(&inner).await {
                    inner.failed_at(inner.turn());
                    warn!(event = "etcd_unreachable", %error, "no word of etcd: check it and the network");
                    tokio::time::sleep(interval).await;
                }
            } else {
                inner.failed_at(turn);
                tokio::time::sleep(RECONNECT_PAUSE).await;
            }
        }
    }

    /// Reads the keys of the members anew. Returns the revision that they were read at.
    pub(super) async fn read_view(inner: &Arc<Self>) -> Result<i64, LogError> {
        let mut client = inner.client();
        let prefix = |name: &str| TxnOp::get(inner.key(name), Some(GetOptions::new().with_prefix()));
        let txn = Txn::new().and_then([prefix("primary"), prefix("next"), prefix("members/")]);
        let answer = client.txn(txn).await.map_err(failed)?;
        let revision = answer.header().map_or(0, etcd_client::ResponseHeader::revision);
        let mut fresh = View::default();
        for response in answer.op_responses() {
            let TxnOpResponse::Get(found) = response else { continue };
            for found in found.kvs() {
                inner.take(&mut fresh, found.key(), Some((found.value(), found.create_revision())));
            }
        }
        let mut seen = inner.lock();
        seen.entries.clear();
        seen.entry_bytes = 0;
        fresh.version = seen.view.version + 1;
        seen.view = fresh;
        inner.changed.notify_all();
        Ok(revision)
    }

    /// Takes a key's value into a view, or that it is gone.
    fn take(&self, view: &mut View, key: &[u8], value: Option<(&[u8], i64)>) {
        let Some(name) =
            key.strip_prefix(self.prefix.as_bytes()).and_then(|name| std::str::from_utf8(name).ok())
        else {
            return;
        };
        match (name, value) {
            ("primary", Some((value, revision))) => {
                if let Ok(PrimaryValue { member, url }) = serde_json::from_slice(value) {
                    view.primary = Some(PrimaryKey { member, url, epoch: revision.cast_unsigned() });
                }
            }
            ("primary", None) => view.primary = None,
            ("next", value) => {
                view.next = value.map(|(value, _)| String::from_utf8_lossy(value).into_owned());
            }
            (name, value) => {
                let Some(id) = name.strip_prefix("members/") else { return };
                match value.and_then(|(value, _)| serde_json::from_slice(value).ok()) {
                    Some(status) => view.members.insert(id.to_owned(), status),
                    None => view.members.remove(id),
                };
            }
        }
    }

    /// Follows all keys, for as long as the process runs.
    pub(super) async fn watch(inner: Arc<Self>) {
        loop {
            let turn = inner.turn();
            if let Err(error) = Self::watch_once(&inner).await {
                inner.failed_at(turn);
                info!(event = "etcd_watch", %error, "the watch of etcd is begun anew");
            }
            tokio::time::sleep(RECONNECT_PAUSE).await;
        }
    }

    async fn watch_once(inner: &Arc<Self>) -> Result<(), LogError> {
        let revision = Self::read_view(inner).await?;
        let options =
            WatchOptions::new().with_prefix().with_start_revision(revision + 1).with_progress_notify();
        let mut client = inner.client();
        let mut stream = client.watch(inner.prefix.clone(), Some(options)).await.map_err(failed)?;
        let mut heard = tokio::time::Instant::now();
        loop {
            let answer = match tokio::time::timeout(WATCH_ASK, stream.message()).await {
                Ok(answer) => answer.map_err(failed)?.ok_or_else(|| failed("the watch ended"))?,
                Err(_) if heard.elapsed() > WATCH_PATIENCE => return Err(failed("the watch is silent")),
                Err(_) => {
                    stream.request_progress().await.map_err(failed)?;
                    continue;
                }
            };
            heard = tokio::time::Instant::now();
            if answer.canceled() {
                return Err(failed(format!("the watch was cancelled: {}", answer.cancel_reason())));
            }
            if answer.events().is_empty() {
                continue;
            }
            let mut seen = inner.lock();
            for event in answer.events() {
                let Some(found) = event.kv() else { continue };
                let is_put = event.event_type() == EventType::Put;
                match inner.sequence(found.key()) {
                    Some(sequence) if is_put => seen.take(sequence, found.value()),
                    Some(_) => {}
                    None => {
                        let value = is_put.then(|| (found.value(), found.create_revision()));
                        inner.take(&mut seen.view, found.key(), value);
                    }
                }
            }
            seen.view.version += 1;
            inner.changed.notify_all();
        }
    }

    /// The sequence of an entry's key.
    pub(super) fn sequence(&self, key: &[u8]) -> Option<u64> {
        let digits = key.strip_prefix(self.prefix.as_bytes())?.strip_prefix(b"log/")?;
        u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    }
}
