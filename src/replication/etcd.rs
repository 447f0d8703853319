//! The log in etcd. Below `/allotd/CLUSTER/`:
//!
//! ```text
//! cluster           the cluster's id and the key that its members show each other; made by its first member
//! primary           JSON: member and URL; ends with its member; its create revision is the epoch
//! next              who is to be primary next; ends with the member that said so
//! members/ID        JSON: how far a member is; ends with it
//! claims/ID         the position above which the log is kept for a member
//! log/SEQUENCE      16 hexadecimal digits: an entry
//! ```
//!
//! An append is one transaction: if `primary` has the epoch as its create revision and the entry does not exist, put it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use etcd_client::{
    Certificate, Client, Compare, CompareOp, ConnectOptions, DeleteOptions, EventType, GetOptions, Identity,
    PutOptions, SortOrder, SortTarget, TlsOptions, Txn, TxnOp, TxnOpResponse, WatchOptions,
};
use serde::{Deserialize, Serialize};
use tokio::runtime::{Builder, Handle};
use tracing::{info, warn};

use crate::sys::monotonic::boot_nanos;

use super::log::{Appended, Entries, Log, LogError, MemberStatus, PrimaryKey, View};

/// Entries that one answer has at most: etcd's answers have no limit of their own.
const READ_ENTRIES: i64 = 64;
/// Parts of the time to live after which keys are kept alive again.
const KEEPALIVES_PER_TTL: u32 = 5;
/// How long the watch may say nothing before it is begun anew: a dead connection can be silent for ever.
const WATCH_PATIENCE: Duration = Duration::from_secs(5);
/// How often it is asked to say something.
const WATCH_ASK: Duration = Duration::from_secs(1);
/// Pause before a broken connection is tried again.
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);
/// Entries that are forgotten in one request.
const TRIM_STEP: u64 = 10_000;

/// How etcd is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EtcdConfig {
    /// Its URLs.
    pub endpoints: Vec<String>,
    /// Authority of its certificate, in PEM.
    pub ca: Option<Vec<u8>>,
    /// Own certificate and key, in PEM.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
    /// User and password.
    pub user: Option<(String, String)>,
    /// How long keys stand without word of their member.
    pub ttl_seconds: u32,
}

/// What its first member has written of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterKey {
    /// The cluster's id.
    pub id: String,
    /// What members show each other.
    pub key: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct PrimaryValue {
    member: String,
    url: String,
}

#[derive(Debug, Default)]
struct Seen {
    view: View,
    /// Entries as they came, ascending and without a gap.
    entries: Entries,
    entry_bytes: usize,
}

/// Entries that wait to be taken, in bytes; with more, all of them are read anew.
const MAX_WAITING_BYTES: usize = 32 << 20;

/// A member's side of the log.
pub struct EtcdLog {
    inner: Arc<Inner>,
    handle: Handle,
    /// How long a call may take.
    call_timeout: Duration,
}

struct Inner {
    client: Client,
    prefix: String,
    member: String,
    url: String,
    ttl_seconds: u32,
    lease: AtomicU64,
    stands_until_nanos: AtomicU64,
    /// Whether this process was or wants to be primary: its keys then end once, and for good.
    leads: AtomicBool,
    seen: Mutex<Seen>,
    changed: Condvar,
}

impl std::fmt::Debug for EtcdLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EtcdLog").field("prefix", &self.inner.prefix).finish_non_exhaustive()
    }
}

fn failed(error: impl std::fmt::Display) -> LogError {
    LogError(format!("etcd: {error}"))
}

impl EtcdLog {
    /// Connects, and finds the cluster or makes it. Returns what is known of it, and whether this made it.
    pub fn connect(
        config: &EtcdConfig,
        cluster: &str,
        member: &str,
        url: &str,
        fresh: &ClusterKey,
    ) -> Result<(Self, ClusterKey), LogError> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let handle = runtime.handle().clone();
        std::thread::Builder::new()
            .name("etcd".to_owned())
            .spawn(move || runtime.block_on(std::future::pending::<()>()))
            .map_err(failed)?;
        let ttl = Duration::from_secs(config.ttl_seconds.into());
        let mut options = ConnectOptions::new()
            .with_connect_timeout(ttl)
            .with_timeout(ttl)
            .with_require_leader(true)
            .with_keep_alive(ttl / KEEPALIVES_PER_TTL, ttl)
            .with_keep_alive_while_idle(true);
        if let Some((user, password)) = &config.user {
            options = options.with_user(user, password);
        }
        if config.ca.is_some() || config.identity.is_some() {
            let mut tls = TlsOptions::new();
            if let Some(ca) = &config.ca {
                tls = tls.ca_certificate(Certificate::from_pem(ca));
            }
            if let Some((certificate, key)) = &config.identity {
                tls = tls.identity(Identity::from_pem(certificate, key));
            }
            options = options.with_tls(tls);
        }
        let endpoints = config.endpoints.clone();
        let client = handle.block_on(async move {
            let connecting = Client::connect(endpoints, Some(options));
            match tokio::time::timeout(2 * ttl, connecting).await {
                Ok(connected) => connected.map_err(failed),
                Err(_) => Err(failed("it does not answer")),
            }
        })?;
        let inner = Arc::new(Inner {
            client,
            prefix: format!("/allotd/{cluster}/"),
            member: member.to_owned(),
            url: url.to_owned(),
            ttl_seconds: config.ttl_seconds,
            lease: AtomicU64::new(0),
            stands_until_nanos: AtomicU64::new(0),
            leads: AtomicBool::new(false),
            seen: Mutex::default(),
            changed: Condvar::new(),
        });
        let log = Self { inner, handle, call_timeout: ttl };
        let key = log.cluster_key(fresh)?;
        log.call(Inner::grant(&log.inner))?;
        log.call(Inner::read_view(&log.inner))?;
        log.handle.spawn(Inner::keep_alive(Arc::clone(&log.inner)));
        log.handle.spawn(Inner::watch(Arc::clone(&log.inner)));
        Ok((log, key))
    }

    /// Waits for a call, but not for ever.
    fn call<T>(&self, call: impl Future<Output = Result<T, LogError>>) -> Result<T, LogError> {
        let timeout = self.call_timeout;
        self.handle.block_on(async move {
            match tokio::time::timeout(timeout, call).await {
                Ok(result) => result,
                Err(_) => Err(failed(format!("no answer within {} s", timeout.as_secs()))),
            }
        })
    }

    fn cluster_key(&self, fresh: &ClusterKey) -> Result<ClusterKey, LogError> {
        let key = self.inner.key("cluster");
        let value = serde_json::to_vec(fresh).map_err(failed)?;
        let mut client = self.inner.client.clone();
        self.call(async move {
            let absent = Compare::create_revision(key.clone(), CompareOp::Equal, 0);
            let txn = Txn::new()
                .when([absent])
                .and_then([TxnOp::put(key.clone(), value, None)])
                .or_else([TxnOp::get(key, None)]);
            let answer = client.txn(txn).await.map_err(failed)?;
            if answer.succeeded() {
                return Ok(fresh.clone());
            }
            for response in answer.op_responses() {
                if let TxnOpResponse::Get(found) = response
                    && let Some(found) = found.kvs().first()
                {
                    return serde_json::from_slice(found.value()).map_err(failed);
                }
            }
            Err(failed("the key \"cluster\" cannot be read"))
        })
    }

    /// How long keys stand without word of their member.
    pub fn ttl(&self) -> Duration {
        Duration::from_secs(self.inner.ttl_seconds.into())
    }
}

impl Inner {
    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn log_key(&self, sequence: u64) -> String {
        format!("{}log/{sequence:016x}", self.prefix)
    }

    fn lease(&self) -> i64 {
        self.lease.load(Ordering::SeqCst).cast_signed()
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ttl_nanos(&self) -> u64 {
        u64::from(self.ttl_seconds) * 1_000_000_000
    }

    /// Takes a new lease for this member's keys.
    async fn grant(inner: &Arc<Self>) -> Result<(), LogError> {
        let begun = boot_nanos();
        let mut client = inner.client.clone();
        let granted = client.lease_grant(inner.ttl_seconds.into(), None).await.map_err(failed)?;
        inner.lease.store(granted.id().cast_unsigned(), Ordering::SeqCst);
        inner.stands_until_nanos.store(begun + inner.ttl_nanos(), Ordering::SeqCst);
        Ok(())
    }

    /// Keeps this member's keys, for as long as the process runs.
    async fn keep_alive(inner: Arc<Self>) {
        let ttl = Duration::from_secs(inner.ttl_seconds.into());
        let interval = ttl / KEEPALIVES_PER_TTL;
        loop {
            let id = inner.lease();
            let kept = async {
                let (mut keeper, mut answers) =
                    inner.client.clone().lease_keep_alive(id).await.map_err(failed)?;
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
                // The keys are gone. A standby says anew how far it is; a primary has stopped by its own clock, and must
                // not take the next keys for those of its epoch.
                if inner.leads.load(Ordering::SeqCst) {
                    return;
                }
                while let Err(error) = Self::grant(&inner).await {
                    warn!(event = "etcd_unreachable", %error, "no word of etcd: check it and the network");
                    tokio::time::sleep(interval).await;
                }
            } else {
                tokio::time::sleep(RECONNECT_PAUSE).await;
            }
        }
    }

    /// Reads the keys of the members anew. Returns the revision that they were read at.
    async fn read_view(inner: &Arc<Self>) -> Result<i64, LogError> {
        let mut client = inner.client.clone();
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
    async fn watch(inner: Arc<Self>) {
        loop {
            if let Err(error) = Self::watch_once(&inner).await {
                info!(event = "etcd_watch", %error, "the watch of etcd is begun anew");
            }
            tokio::time::sleep(RECONNECT_PAUSE).await;
        }
    }

    async fn watch_once(inner: &Arc<Self>) -> Result<(), LogError> {
        let revision = Self::read_view(inner).await?;
        let options =
            WatchOptions::new().with_prefix().with_start_revision(revision + 1).with_progress_notify();
        let mut client = inner.client.clone();
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
    fn sequence(&self, key: &[u8]) -> Option<u64> {
        let digits = key.strip_prefix(self.prefix.as_bytes())?.strip_prefix(b"log/")?;
        u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    }
}

impl Seen {
    fn take(&mut self, sequence: u64, entry: &[u8]) {
        let follows = self.entries.last().is_none_or(|(last, _)| last + 1 == sequence);
        if !follows || self.entry_bytes + entry.len() > MAX_WAITING_BYTES {
            self.entries.clear();
            self.entry_bytes = 0;
        }
        self.entry_bytes += entry.len();
        self.entries.push((sequence, entry.to_vec()));
    }

    /// The entries from `from` on that have come.
    fn from(&mut self, from: u64) -> Entries {
        match self.entries.iter().position(|(sequence, _)| *sequence == from) {
            Some(0) => {
                self.entry_bytes = 0;
                std::mem::take(&mut self.entries)
            }
            Some(index) => {
                let later = self.entries.split_off(index);
                self.entries.clear();
                self.entry_bytes = 0;
                later
            }
            None => Entries::new(),
        }
    }
}

impl Log for EtcdLog {
    fn member(&self) -> &str {
        &self.inner.member
    }

    fn campaign(&self) -> Result<Option<u64>, LogError> {
        let inner = &self.inner;
        let value = PrimaryValue { member: inner.member.clone(), url: inner.url.clone() };
        let value = serde_json::to_vec(&value).map_err(failed)?;
        inner.leads.store(true, Ordering::SeqCst);
        let (key, lease) = (inner.key("primary"), inner.lease());
        let mut client = inner.client.clone();
        let won = self.call(async move {
            let absent = Compare::create_revision(key.clone(), CompareOp::Equal, 0);
            let put = TxnOp::put(key.clone(), value, Some(PutOptions::new().with_lease(lease)));
            let txn = Txn::new().when([absent]).and_then([put]);
            let answer = client.txn(txn).await.map_err(failed)?;
            let revision = answer.header().map_or(0, etcd_client::ResponseHeader::revision);
            Ok(answer.succeeded().then_some(revision.cast_unsigned()))
        });
        if matches!(won, Ok(None)) {
            inner.leads.store(false, Ordering::SeqCst);
        }
        won
    }

    fn resign(&self, epoch: u64, next: Option<&str>) -> Result<(), LogError> {
        let inner = &self.inner;
        let (key, next_key, lease) = (inner.key("primary"), inner.key("next"), inner.lease());
        let next = next.map(str::to_owned);
        let mut client = inner.client.clone();
        self.call(async move {
            let own = Compare::create_revision(key.clone(), CompareOp::Equal, epoch.cast_signed());
            let mut then = vec![TxnOp::delete(key, None)];
            then.extend(
                next.map(|next| TxnOp::put(next_key, next, Some(PutOptions::new().with_lease(lease)))),
            );
            client.txn(Txn::new().when([own]).and_then(then)).await.map_err(failed).map(drop)
        })
    }

    fn append(&self, epoch: u64, sequence: u64, entry: &[u8]) -> Result<Appended, LogError> {
        let inner = &self.inner;
        let (primary, key, entry) = (inner.key("primary"), inner.log_key(sequence), entry.to_vec());
        let mut client = inner.client.clone();
        self.call(async move {
            let own = Compare::create_revision(primary.clone(), CompareOp::Equal, epoch.cast_signed());
            let absent = Compare::create_revision(key.clone(), CompareOp::Equal, 0);
            let keys_only = || Some(GetOptions::new().with_keys_only());
            let txn = Txn::new()
                .when([own, absent])
                .and_then([TxnOp::put(key, entry, None)])
                .or_else([TxnOp::get(primary, keys_only())]);
            let answer = client.txn(txn).await.map_err(failed)?;
            if answer.succeeded() {
                return Ok(Appended::Done);
            }
            let is_primary = answer.op_responses().iter().any(|response| match response {
                TxnOpResponse::Get(found) => {
                    found.kvs().iter().any(|found| found.create_revision().cast_unsigned() == epoch)
                }
                _ => false,
            });
            Ok(if is_primary { Appended::Taken } else { Appended::Deposed })
        })
    }

    fn entry(&self, sequence: u64) -> Result<Option<Vec<u8>>, LogError> {
        let key = self.inner.log_key(sequence);
        let mut client = self.inner.client.clone();
        self.call(async move {
            let found = client.get(key, None).await.map_err(failed)?;
            Ok(found.kvs().first().map(|found| found.value().to_vec()))
        })
    }

    fn read(&self, from: u64) -> Result<Entries, LogError> {
        let waiting = self.inner.lock().from(from);
        if !waiting.is_empty() {
            return Ok(waiting);
        }
        let inner = Arc::clone(&self.inner);
        self.call(async move {
            let options = GetOptions::new()
                .with_range(inner.log_key(u64::MAX))
                .with_limit(READ_ENTRIES)
                .with_sort(SortTarget::Key, SortOrder::Ascend);
            let found = inner.client.clone().get(inner.log_key(from), Some(options)).await.map_err(failed)?;
            let entries = found.kvs().iter().filter_map(|found| {
                inner.sequence(found.key()).map(|sequence| (sequence, found.value().to_vec()))
            });
            Ok(entries.collect())
        })
    }

    fn bounds(&self) -> Result<Option<(u64, u64)>, LogError> {
        let inner = Arc::clone(&self.inner);
        self.call(async move {
            let mut ends = [None; 2];
            for (end, order) in ends.iter_mut().zip([SortOrder::Ascend, SortOrder::Descend]) {
                let options = GetOptions::new()
                    .with_range(inner.log_key(u64::MAX))
                    .with_limit(1)
                    .with_keys_only()
                    .with_sort(SortTarget::Key, order);
                let found =
                    inner.client.clone().get(inner.log_key(0), Some(options)).await.map_err(failed)?;
                *end = found.kvs().first().and_then(|found| inner.sequence(found.key()));
            }
            Ok(ends[0].zip(ends[1]))
        })
    }

    fn trim(&self, below: u64) -> Result<(), LogError> {
        let Some((first, _)) = self.bounds()? else { return Ok(()) };
        let mut from = first;
        while from < below {
            let to = below.min(from + TRIM_STEP);
            let inner = Arc::clone(&self.inner);
            self.call(async move {
                let options = DeleteOptions::new().with_range(inner.log_key(to));
                let deleted = inner.client.clone().delete(inner.log_key(from), Some(options)).await;
                let deleted = deleted.map_err(failed)?;
                let revision = deleted.header().map_or(0, etcd_client::ResponseHeader::revision);
                // Watchers that are behind read anew.
                inner.client.clone().compact(revision - 1, None).await.map_err(failed).map(drop)
            })?;
            from = to;
        }
        Ok(())
    }

    fn publish(&self, status: &MemberStatus) -> Result<(), LogError> {
        let inner = &self.inner;
        let (key, lease) = (inner.key(&format!("members/{}", inner.member)), inner.lease());
        let value = serde_json::to_vec(status).map_err(failed)?;
        let mut client = inner.client.clone();
        self.call(async move {
            let options = PutOptions::new().with_lease(lease);
            client.put(key, value, Some(options)).await.map_err(failed).map(drop)
        })
    }

    fn claims(&self) -> Result<BTreeMap<String, u64>, LogError> {
        let prefix = self.inner.key("claims/");
        let mut client = self.inner.client.clone();
        self.call(async move {
            let options = GetOptions::new().with_prefix();
            let found = client.get(prefix.clone(), Some(options)).await.map_err(failed)?;
            let claim = |found: &etcd_client::KeyValue| {
                let id = std::str::from_utf8(found.key()).ok()?.strip_prefix(&prefix)?.to_owned();
                Some((id, std::str::from_utf8(found.value()).ok()?.parse().ok()?))
            };
            Ok(found.kvs().iter().filter_map(claim).collect())
        })
    }

    fn claim(&self, position: u64) -> Result<(), LogError> {
        let key = self.inner.key(&format!("claims/{}", self.inner.member));
        let mut client = self.inner.client.clone();
        self.call(async move { client.put(key, position.to_string(), None).await.map_err(failed).map(drop) })
    }

    fn forget(&self, member: &str) -> Result<(), LogError> {
        let key = self.inner.key(&format!("claims/{member}"));
        let mut client = self.inner.client.clone();
        self.call(async move { client.delete(key, None).await.map_err(failed).map(drop) })
    }

    fn view(&self) -> View {
        self.inner.lock().view.clone()
    }

    fn wait(&self, version: u64, timeout: Duration) -> View {
        let seen = self.inner.lock();
        let unchanged = |seen: &mut Seen| seen.view.version == version;
        let waited = self.inner.changed.wait_timeout_while(seen, timeout, unchanged);
        waited.unwrap_or_else(PoisonError::into_inner).0.view.clone()
    }

    fn stands_until_nanos(&self) -> u64 {
        self.inner.stands_until_nanos.load(Ordering::SeqCst)
    }
}
