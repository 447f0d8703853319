//! Joining a cluster: what its directory is, and whether that belongs to it.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tracing::warn;

use crate::daemon::config::Config;
use crate::daemon::config::cluster::ClusterConfig;
use crate::daemon::run;
use crate::disk::directory_lock::DirectoryLock;
use crate::disk::files;
use crate::engine::startup::config::EngineConfig;
use crate::http::cluster::Role;
use crate::log::limit;
use crate::replication::log::Log;
#[cfg(not(feature = "cluster"))]
use crate::replication::log::LogError;
use crate::replication::member_file::{Directory, MemberFile};
use crate::replication::standby::{self, Standing};
use crate::store::data_dir_lock::lock_directory;
use crate::sys::random;

use super::error::ClusterError;
use super::member::{Member, Shown};

/// The lock of a member, which it holds for as long as it runs.
const MEMBER_LOCK_FILE: &str = "LOCK-member";
/// Pause before etcd is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// Bytes of random ids.
const ID_BYTES: usize = 16;

/// Random hexadecimal digits.
fn random_id() -> std::io::Result<String> {
    let mut bytes = [0; ID_BYTES];
    random::fill(&mut bytes)?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

#[cfg(feature = "cluster")]
fn connect(cluster: &ClusterConfig, member: &str) -> Result<(Arc<dyn Log>, String, String), ClusterError> {
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
fn found_file(data_dir: &Path, cluster: &ClusterConfig) -> Result<Option<MemberFile>, ClusterError> {
    let found = MemberFile::read(data_dir)?;
    if let (Some(found), Some(given)) = (&found, &cluster.member)
        && found.member != *given
    {
        return Err(ClusterError::OtherMember { path: data_dir.to_owned(), found: found.member.clone() });
    }
    Ok(found)
}

/// Joins the cluster. A member that has been in it before waits for etcd: so it comes back by itself after both were gone.
pub(super) fn join_patiently(
    config: &Config,
    cluster: &ClusterConfig,
) -> Result<(Member, MemberFile, DirectoryLock), ClusterError> {
    loop {
        match join(config, cluster, run::engine_config(config)) {
            Err(ClusterError::Log(error)) if MemberFile::read(&config.data_dir)?.is_some() => {
                if let Some(suppressed) = limit::STANDBY_FAILED.admit() {
                    warn!(event = "etcd_unreachable", %error, suppressed, "this member waits for etcd");
                }
                std::thread::sleep(RETRY_PAUSE);
            }
            joined => return joined,
        }
    }
}

/// Joins the cluster. Returns the member and what its directory is.
fn join(
    config: &Config,
    cluster: &ClusterConfig,
    engine_config: EngineConfig,
) -> Result<(Member, MemberFile, DirectoryLock), ClusterError> {
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
            let has_history = log.view().primary.is_some() || standby::has_history(&*log)?;
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
        engine_config,
        cluster: cluster.clone(),
        id,
        standing: Standing {
            url: cluster.advertise.clone(),
            data_dir: data_dir.clone(),
            disk,
            journal_file_bytes: config.journal_file_bytes,
            ttl: Duration::from_secs(cluster.ttl_seconds.into()),
            clock: Arc::default(),
            log,
        },
        cluster_id,
        key,
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
