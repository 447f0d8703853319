//! The settings of a member of a cluster.

use std::path::PathBuf;

use crate::client::Server;
use crate::client::tls::ClientFiles;
use crate::domain::name;
use crate::http::request::origin::AllowedHost;

use super::args::ServeArgs;
use super::error::ConfigError;
use super::limits::{DEFAULT_CLUSTER_TTL_SECONDS, DEFAULT_LOG_KEEP_MIB, MAX_CLUSTER_TTL_SECONDS};

/// Longest name of a cluster or a member.
const MAX_NAME_BYTES: usize = 64;

/// How this process is a member of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterConfig {
    /// The cluster's name, below which its keys are in etcd.
    pub name: String,
    /// The URLs of etcd.
    pub etcd: Vec<String>,
    /// The authority of etcd's certificate, in PEM.
    pub etcd_ca: Option<PathBuf>,
    /// The certificate that is shown to etcd, and its key, in PEM.
    pub etcd_identity: Option<(PathBuf, PathBuf)>,
    /// The file with the user and password for etcd, `USER:PASSWORD`.
    pub etcd_user_file: Option<PathBuf>,
    /// Where clients and the other members reach this one.
    pub advertise: String,
    /// The authority of the other members' certificates, in PEM.
    pub ca: Option<PathBuf>,
    /// The id of this member; `None` for that which its directory has.
    pub member: Option<String>,
    /// How long a primary may be silent before another takes over.
    pub ttl_seconds: u32,
    /// Standbys that a change needs.
    pub require_replicas: u32,
    /// How much of the log is kept for a member that is away, in bytes.
    pub log_keep_bytes: u64,
}

impl ClusterConfig {
    /// The settings, if there are any, and the name under which the other members call this one.
    pub(super) fn of(given: &ServeArgs) -> Result<Option<(Self, AllowedHost)>, ConfigError> {
        let Some(name) = given.cluster.clone() else {
            let alone = [
                ("--etcd", !given.etcd.is_empty()),
                ("--etcd-ca", given.etcd_ca.is_some()),
                ("--etcd-cert", given.etcd_cert.is_some()),
                ("--etcd-key", given.etcd_key.is_some()),
                ("--etcd-user-file", given.etcd_user_file.is_some()),
                ("--advertise", given.advertise.is_some()),
                ("--member", given.member.is_some()),
                ("--cluster-ca", given.cluster_ca.is_some()),
                ("--cluster-ttl", given.cluster_ttl.is_some()),
                ("--require-replicas", given.require_replicas.is_some()),
                ("--log-keep-mib", given.log_keep_mib.is_some()),
            ];
            return match alone.into_iter().find(|(_, is_given)| *is_given) {
                Some((flag, _)) => Err(ConfigError::WithoutCluster(flag)),
                None => Ok(None),
            };
        };
        if cfg!(not(feature = "cluster")) {
            return Err(ConfigError::NoClusterFeature);
        }
        for (flag, text) in [("--cluster", Some(&name)), ("--member", given.member.as_ref())] {
            if let Some(text) = text.filter(|text| !name::is_valid(text, MAX_NAME_BYTES)) {
                return Err(ConfigError::ClusterName { flag, text: text.clone(), most: MAX_NAME_BYTES });
            }
        }
        if given.etcd.is_empty() {
            return Err(ConfigError::NoEtcd);
        }
        let advertise = given.advertise.clone().ok_or(ConfigError::NoAdvertise)?;
        let refused = || ConfigError::Advertise(advertise.clone());
        let is_url = advertise.starts_with("http://") || advertise.starts_with("https://");
        let files = ClientFiles { ca: given.cluster_ca.clone(), ..ClientFiles::default() };
        let server = Server::new(&advertise, &files).ok().filter(|_| is_url).ok_or_else(refused)?;
        let host = server.host().parse().map_err(|_| refused())?;
        let etcd_identity = match (given.etcd_cert.clone(), given.etcd_key.clone()) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err(ConfigError::EtcdIdentity),
        };
        let ttl_seconds = given.cluster_ttl.unwrap_or(DEFAULT_CLUSTER_TTL_SECONDS);
        if !(1..=MAX_CLUSTER_TTL_SECONDS).contains(&ttl_seconds) {
            return Err(ConfigError::ClusterTtl(ttl_seconds));
        }
        let cluster = Self {
            name,
            etcd: given.etcd.clone(),
            etcd_ca: given.etcd_ca.clone(),
            etcd_identity,
            etcd_user_file: given.etcd_user_file.clone(),
            advertise: advertise.trim_end_matches('/').to_owned(),
            ca: given.cluster_ca.clone(),
            member: given.member.clone(),
            ttl_seconds,
            require_replicas: given.require_replicas.unwrap_or(0),
            log_keep_bytes: u64::from(given.log_keep_mib.unwrap_or(DEFAULT_LOG_KEEP_MIB)) << 20,
        };
        Ok(Some((cluster, host)))
    }
}
