//! The life of a member of a cluster: it follows as a standby, until it becomes primary; and a primary that is none any
//! more begins a new life as a standby.
//!
//! The process replaces itself for that ([`restart`]): so nothing that a primary had in memory survives it.

mod clock;
mod fill;
mod leading;
mod standby;

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Runtime;
use tracing::{error, info};

use crate::client::tls::ClientFiles;
use crate::client::{ClientError, Server};
use crate::disk::files;
use crate::disk::lock::DirectoryLock;
use crate::engine::startup::config::{EngineConfig, Membership};
use crate::http::address::ListenAddress;
use crate::http::cluster::{ClusterStatus, Own, Role};
use crate::http::server::{self, tls::ServerTls};
use crate::http::standby::StandbyServer;
use crate::replication::cluster_clock::ClusterClock;
use crate::replication::follower::FollowError;
use crate::replication::log::{Log, LogError};
use crate::replication::member_file::{Directory, MemberFile, MemberFileError};
use crate::store::data_dir::lock_directory;
use crate::store::open_error::OpenError;
use crate::sys::random;

use super::config::Config;
use super::config::cluster::ClusterConfig;
use super::reload::Reloader;
use super::run::{self, Bound, DaemonError, OnHangup};
use super::service_manager;

use clock::MemberClocks;
use standby::{Promoted, Standby};

/// The lock of a member, which it holds for as long as it runs.
const MEMBER_LOCK_FILE: &str = "LOCK-member";
/// Bytes of random ids.
const ID_BYTES: usize = 16;

/// Why a member cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClusterError {
    /// The log cannot be reached.
    #[error("{0}. Check --etcd, and that etcd has a leader: \"etcdctl endpoint status --cluster\"")]
    Log(#[from] LogError),
    /// A file for the connection cannot be read.
    #[error("{0}: {1}")]
    File(std::path::PathBuf, #[source] std::io::Error),
    /// The user for etcd is not understood.
    #[error("{0} is not USER:PASSWORD")]
    User(std::path::PathBuf),
    /// What the directory knows of its cluster cannot be used.
    #[error(transparent)]
    Member(#[from] MemberFileError),
    /// The data directory cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Another process has the directory.
    #[error("another allotd uses {0}: stop it, or give this one another --data")]
    Locked(std::path::PathBuf),
    /// The directory belongs to another cluster.
    #[error(
        "{0} belongs to another cluster than \"{1}\" in this etcd: start it there, or give an empty directory, which is \
         filled from the primary"
    )]
    OtherCluster(std::path::PathBuf, String),
    /// The directory belongs to another member.
    #[error("{path} is that of the member {found}: leave --member out, or give an empty directory")]
    OtherMember {
        /// The directory.
        path: std::path::PathBuf,
        /// Its member.
        found: String,
    },
    /// The directory has data, and the cluster too.
    #[error(
        "{0} has data of no cluster, and the cluster \"{1}\" has its own: nothing is merged. Give an empty directory, which \
         is filled from the primary"
    )]
    Foreign(std::path::PathBuf, String),
    /// Two members of one id.
    #[error("there is another member {0}: give each its own --member, or none")]
    SameMember(String),
    /// The other members cannot be called.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// An entry cannot be applied.
    #[error(transparent)]
    Follow(#[from] FollowError),
    /// The system refuses something.
    #[error("{0}")]
    System(#[from] std::io::Error),
}

/// What the parts of a member share.
pub(crate) struct Member {
    config: Config,
    cluster: ClusterConfig,
    id: String,
    log: Arc<dyn Log>,
    /// The cluster's id, and what members show each other.
    cluster_id: String,
    key: String,
    clock: Arc<ClusterClock>,
    /// Set at SIGTERM.
    stops: AtomicBool,
    /// What the standby's server shows.
    shown: Mutex<Shown>,
}

/// What a standby says of itself.
#[derive(Debug, Clone, Copy)]
struct Shown {
    role: Role,
    committed: u64,
    position: u64,
}

impl Member {
    fn show(&self, role: Role, committed: u64, position: u64) {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Shown { role, committed, position };
    }

    fn status(&self) -> ClusterStatus {
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

    fn stops(&self) -> bool {
        self.stops.load(Ordering::SeqCst)
    }

    /// How an engine is opened on the directory.
    fn engine_config(&self, membership: Membership) -> EngineConfig {
        EngineConfig {
            clocks: Arc::new(MemberClocks::new(Arc::clone(&self.clock))),
            membership,
            ..run::engine_config(&self.config)
        }
    }

    /// Another member, to be called.
    fn peer(&self, url: &str) -> Result<Server, ClientError> {
        let files = ClientFiles { ca: self.cluster.ca.clone(), ..ClientFiles::default() };
        Server::new(url, &files)?.with_token(&self.key)
    }
}

/// Random hexadecimal digits.
fn random_id() -> std::io::Result<String> {
    let mut bytes = [0; ID_BYTES];
    random::fill(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(feature = "cluster")]
fn connect(
    cluster: &ClusterConfig,
    member: &str,
) -> Result<(Arc<dyn Log>, String, String), ClusterError> {
    use crate::replication::etcd::{ClusterKey, EtcdConfig, EtcdLog};

    let read = |path: &Path| std::fs::read(path).map_err(|error| ClusterError::File(path.to_owned(), error));
    let user = match &cluster.etcd_user_file {
        None => None,
        Some(path) => {
            let text = String::from_utf8_lossy(&read(path)?).trim().to_owned();
            let parts = text.split_once(':').map(|(user, password)| (user.to_owned(), password.to_owned()));
            Some(parts.ok_or_else(|| ClusterError::User(path.clone()))?)
        }
    };
    let etcd = EtcdConfig {
        endpoints: cluster.etcd.clone(),
        ca: cluster.etcd_ca.as_deref().map(read).transpose()?,
        identity: match &cluster.etcd_identity {
            Some((certificate, key)) => Some((read(certificate)?, read(key)?)),
            None => None,
        },
        user,
        ttl_seconds: cluster.ttl_seconds,
    };
    let fresh = ClusterKey { id: random_id()?, key: random_id()? };
    let (log, found) = EtcdLog::connect(&etcd, &cluster.name, member, &cluster.advertise, &fresh)?;
    Ok((Arc::new(log), found.id, found.key))
}

#[cfg(not(feature = "cluster"))]
fn connect(_: &ClusterConfig, _: &str) -> Result<(Arc<dyn Log>, String, String), ClusterError> {
    // The settings refuse it before.
    Err(LogError("this allotd was built without clusters".to_owned()).into())
}

/// What a data directory is to its cluster at the start.
fn found_file(
    data_dir: &Path,
    cluster: &ClusterConfig,
) -> Result<Option<MemberFile>, ClusterError> {
    let found = MemberFile::read(data_dir)?;
    if let (Some(found), Some(given)) = (&found, &cluster.member)
        && found.member != *given
    {
        return Err(ClusterError::OtherMember { path: data_dir.to_owned(), found: found.member.clone() });
    }
    Ok(found)
}

/// Joins the cluster. Returns the member and what its directory is.
fn join(config: &Config, cluster: &ClusterConfig) -> Result<(Member, MemberFile, DirectoryLock), ClusterError> {
    let data_dir = &config.data_dir;
    let disk = files::real();
    let is_new = !data_dir.join("LOCK").exists();
    drop(lock_directory(&*disk, data_dir)?);
    let lock = DirectoryLock::take(data_dir.join(MEMBER_LOCK_FILE))?;
    let lock = lock.ok_or_else(|| ClusterError::Locked(data_dir.clone()))?;
    let found = found_file(data_dir, cluster)?;
    let id = match (&found, &cluster.member) {
        (Some(found), _) => found.member.clone(),
        (None, Some(given)) => given.clone(),
        (None, None) => random_id()?[..8].to_owned(),
    };
    let (log, cluster_id, key) = connect(cluster, &id)?;
    let file = match found {
        Some(found) if found.cluster == cluster_id => found,
        Some(_) => return Err(ClusterError::OtherCluster(data_dir.clone(), cluster.name.clone())),
        None => {
            let has_history =
                log.bounds()?.is_some() || log.view().primary.is_some() || !log.claims()?.is_empty();
            let has_data = !is_new && !is_empty(data_dir)?;
            if has_history && has_data {
                return Err(ClusterError::Foreign(data_dir.clone(), cluster.name.clone()));
            }
            let directory = if has_history { Directory::Incomplete } else { Directory::Founds };
            MemberFile { directory, ..MemberFile::new(&cluster_id, &id) }
        }
    };
    file.write(&*disk, data_dir)?;
    if log.view().members.get(&id).is_some_and(|other| other.url != cluster.advertise) {
        return Err(ClusterError::SameMember(id));
    }
    let member = Member {
        config: config.clone(),
        cluster: cluster.clone(),
        id,
        log,
        cluster_id,
        key,
        clock: Arc::default(),
        stops: AtomicBool::new(false),
        shown: Mutex::new(Shown { role: Role::Standby, committed: file.position, position: file.position }),
    };
    Ok((member, file, lock))
}

/// Whether a data directory has nothing but its locks.
fn is_empty(data_dir: &Path) -> std::io::Result<bool> {
    for found in std::fs::read_dir(data_dir)? {
        if !found?.file_name().to_string_lossy().starts_with("LOCK") {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Replaces the process by a new one of the same program, with the same arguments.
fn restart() -> DaemonError {
    let program = std::env::current_exe().unwrap_or_else(|_| "allotd".into());
    let error = std::process::Command::new(program).args(std::env::args_os().skip(1)).exec();
    error!(event = "restart_failed", %error, "this process could not be replaced by a new one: it ends");
    DaemonError::System(error)
}

/// Runs a member until SIGTERM or SIGINT.
pub(crate) fn run<E: From<DaemonError>>(
    runtime: &Runtime,
    config: &Config,
    cluster: &ClusterConfig,
    bound: Bound,
    (json, reloader): (bool, Reloader),
    announce: impl FnOnce(&[ListenAddress]) -> Result<(), E>,
) -> Result<(), E> {
    run::prepare(config, json)?;
    let joined = join(config, cluster).map_err(DaemonError::from)?;
    let (member, file, lock) = joined;
    let member = Arc::new(member);
    let tls = bound.tls.clone().map(|tls| Arc::new(ServerTls::new(tls)));
    let source = Arc::clone(&member);
    let standby_server =
        StandbyServer::start(&bound.listeners, tls.as_ref(), Arc::new(move || source.status()))
            .map_err(DaemonError::from)?;
    announce(&server::addresses(&bound.listeners).map_err(DaemonError::from)?)?;
    info!(
        event = "member",
        cluster = cluster.name.as_str(),
        member = member.id.as_str(),
        position = file.position,
        "this member has joined its cluster"
    );
    service_manager::ready("standby");
    // For the whole life: a signal between two parts of it is not lost.
    let mut shutdown = Box::pin(run::shutdown(runtime)?);
    let promoted = wait_for_promotion(runtime, &member, file, &mut shutdown)?;
    standby_server.stop();
    for listener in &bound.listeners {
        listener.block().map_err(DaemonError::from)?;
    }
    let Some(promoted) = promoted else {
        info!(event = "stopped", "allotd has stopped: all data is on the disk");
        return Ok(());
    };
    let on_hangup = OnHangup::new(runtime, reloader)?;
    let ended = leading::lead(runtime, &member, promoted, bound, (on_hangup, shutdown));
    drop(lock);
    match ended? {
        leading::Ended::Stopped => Ok(()),
        leading::Ended::HandedOver | leading::Ended::Deposed => Err(restart().into()),
    }
}

/// Follows until this member is primary, or `None` at SIGTERM.
fn wait_for_promotion(
    runtime: &Runtime,
    member: &Arc<Member>,
    file: MemberFile,
    shutdown: &mut (impl Future<Output = ()> + Unpin),
) -> Result<Option<Promoted>, DaemonError> {
    let (done, mut is_done) = tokio::sync::oneshot::channel();
    let following = Arc::clone(member);
    let thread = std::thread::Builder::new().name("follower".to_owned()).spawn(move || {
        let result = Standby::new(&following, file).run();
        let _ = done.send(());
        result
    })?;
    runtime.block_on(async {
        tokio::select! {
            () = shutdown => {
                member.stops.store(true, Ordering::SeqCst);
                let _ = is_done.await;
            }
            _ = &mut is_done => {}
        }
    });
    match thread.join() {
        Ok(result) => result.map_err(DaemonError::from),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}
