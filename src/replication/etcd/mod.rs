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

mod seen;
mod session;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use etcd_client::{
    Certificate, Client, Compare, CompareOp, ConnectOptions, DeleteOptions, GetOptions, Identity, PutOptions,
    SortOrder, SortTarget, TlsOptions, Txn, TxnOp, TxnOpResponse,
};
use serde::{Deserialize, Serialize};
use tokio::runtime::{Builder, Handle};

use super::log::{Appended, Entries, Log, LogError, MemberStatus, View};

use seen::Seen;
use session::{Inner, KEEPALIVES_PER_TTL, PrimaryValue, failed};

/// A call is given up after this part of the time to live, and made anew at another node.
const CALLS_PER_TTL: u32 = 3;
/// Entries that one answer has at most: etcd's answers have no limit of their own.
const READ_ENTRIES: i64 = 64;
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

/// A member's side of the log.
pub struct EtcdLog {
    inner: Arc<Inner>,
    handle: Handle,
    /// How long a call may take.
    call_timeout: Duration,
}

impl std::fmt::Debug for EtcdLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EtcdLog").field("prefix", &self.inner.prefix).finish_non_exhaustive()
    }
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
        let mut clients = Vec::new();
        for endpoint in config.endpoints.clone() {
            let options = options.clone();
            let connected = handle.block_on(async move {
                let connecting = Client::connect([endpoint], Some(options));
                match tokio::time::timeout(ttl, connecting).await {
                    Ok(connected) => connected.map_err(failed),
                    Err(_) => Err(failed("it does not answer")),
                }
            });
            clients.push(connected);
        }
        let is_any = clients.iter().any(Result::is_ok);
        if let Some(Err(error)) = clients.pop_if(|_| !is_any) {
            return Err(error);
        }
        let clients = clients.into_iter().flatten().collect();
        let inner = Arc::new(Inner {
            clients,
            turn: AtomicUsize::new(0),
            prefix: format!("/allotd/{cluster}/"),
            member: member.to_owned(),
            url: url.to_owned(),
            ttl_seconds: config.ttl_seconds,
            lease: AtomicU64::new(0),
            stands_until_nanos: AtomicU64::new(0),
            granted_at: AtomicU64::new(u64::MAX),
            seen: Mutex::default(),
            changed: Condvar::new(),
        });
        let log = Self { inner, handle, call_timeout: ttl / CALLS_PER_TTL };
        // A node may be gone: each has its turn.
        let mut tries = config.endpoints.len();
        let key = loop {
            let found = log.cluster_key(fresh).and_then(|key| {
                log.call(Inner::grant(&log.inner))?;
                log.call(Inner::read_view(&log.inner))?;
                Ok(key)
            });
            tries -= 1;
            match found {
                Ok(key) => break key,
                Err(error) if tries == 0 => return Err(error),
                Err(_) => {}
            }
        };
        log.handle.spawn(Inner::keep_alive(Arc::clone(&log.inner)));
        log.handle.spawn(Inner::watch(Arc::clone(&log.inner)));
        Ok((log, key))
    }

    /// Waits for a call, but not for ever.
    fn call<T>(&self, call: impl Future<Output = Result<T, LogError>>) -> Result<T, LogError> {
        let timeout = self.call_timeout;
        let turn = self.inner.turn();
        let result = self.handle.block_on(async move {
            match tokio::time::timeout(timeout, call).await {
                Ok(result) => result,
                Err(_) => Err(failed(format!("no answer within {} ms", timeout.as_millis()))),
            }
        });
        result.inspect_err(|_| self.inner.failed_at(turn))
    }

    fn cluster_key(&self, fresh: &ClusterKey) -> Result<ClusterKey, LogError> {
        let key = self.inner.key("cluster");
        let value = serde_json::to_vec(fresh).map_err(failed)?;
        let mut client = self.inner.client();
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

    /// Does all of this if `epoch` is that of the primary, and nothing otherwise.
    fn as_primary(&self, epoch: u64, then: Vec<TxnOp>) -> Result<(), LogError> {
        let own = Compare::create_revision(self.inner.key("primary"), CompareOp::Equal, epoch.cast_signed());
        let mut client = self.inner.client();
        self.call(
            async move { client.txn(Txn::new().when([own]).and_then(then)).await.map_err(failed).map(drop) },
        )
    }

    fn put_next(&self, next: &str) -> TxnOp {
        let options = PutOptions::new().with_lease(self.inner.lease());
        TxnOp::put(self.inner.key("next"), next, Some(options))
    }

    /// How long keys stand without word of their member.
    pub fn ttl(&self) -> Duration {
        Duration::from_secs(self.inner.ttl_seconds.into())
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
        let (key, lease) = (inner.key("primary"), inner.lease());
        let mut client = inner.client();
        self.call(async move {
            let absent = Compare::create_revision(key.clone(), CompareOp::Equal, 0);
            let put = TxnOp::put(key.clone(), value, Some(PutOptions::new().with_lease(lease)));
            let txn = Txn::new().when([absent]).and_then([put]);
            let answer = client.txn(txn).await.map_err(failed)?;
            let revision = answer.header().map_or(0, etcd_client::ResponseHeader::revision);
            Ok(answer.succeeded().then_some(revision.cast_unsigned()))
        })
    }

    fn name_next(&self, epoch: u64, next: &str) -> Result<(), LogError> {
        self.as_primary(epoch, vec![self.put_next(next)])
    }

    fn resign(&self, epoch: u64, next: Option<&str>) -> Result<(), LogError> {
        let mut then = vec![TxnOp::delete(self.inner.key("primary"), None)];
        then.extend(next.map(|next| self.put_next(next)));
        self.as_primary(epoch, then)
    }

    fn append(&self, epoch: u64, sequence: u64, entry: &[u8]) -> Result<Appended, LogError> {
        let inner = &self.inner;
        let (primary, key, entry) = (inner.key("primary"), inner.log_key(sequence), entry.to_vec());
        let mut client = inner.client();
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
        let mut client = self.inner.client();
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
            let found = inner.client().get(inner.log_key(from), Some(options)).await.map_err(failed)?;
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
                let found = inner.client().get(inner.log_key(0), Some(options)).await.map_err(failed)?;
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
                let deleted = inner.client().delete(inner.log_key(from), Some(options)).await;
                let deleted = deleted.map_err(failed)?;
                let revision = deleted.header().map_or(0, etcd_client::ResponseHeader::revision);
                // Watchers that are behind read anew.
                inner.client().compact(revision - 1, None).await.map_err(failed).map(drop)
            })?;
            from = to;
        }
        Ok(())
    }

    fn publish(&self, status: &MemberStatus) -> Result<(), LogError> {
        let inner = &self.inner;
        let (key, lease) = (inner.key(&format!("members/{}", inner.member)), inner.lease());
        let value = serde_json::to_vec(status).map_err(failed)?;
        let mut client = inner.client();
        self.call(async move {
            let options = PutOptions::new().with_lease(lease);
            client.put(key, value, Some(options)).await.map_err(failed).map(drop)
        })
    }

    fn claims(&self) -> Result<BTreeMap<String, u64>, LogError> {
        let prefix = self.inner.key("claims/");
        let mut client = self.inner.client();
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
        let mut client = self.inner.client();
        self.call(async move { client.put(key, position.to_string(), None).await.map_err(failed).map(drop) })
    }

    fn forget(&self, member: &str) -> Result<(), LogError> {
        let key = self.inner.key(&format!("claims/{member}"));
        let mut client = self.inner.client();
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

    fn stands_until_nanos(&self, epoch: u64) -> u64 {
        // In this order: see `grant`.
        let until = self.inner.stands_until_nanos.load(Ordering::SeqCst);
        if epoch > self.inner.granted_at.load(Ordering::SeqCst) { until } else { 0 }
    }
}
