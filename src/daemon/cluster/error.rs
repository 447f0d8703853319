//! Why a member of a cluster cannot go on.

use crate::client::ClientError;
use crate::replication::log::LogError;
use crate::replication::member_file::MemberFileError;
use crate::replication::term::EndError;
use crate::store::open_error::OpenError;

/// Why a member cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClusterError {
    /// The log cannot be reached.
    #[error("{0}. Check --etcd, and that etcd has a leader: \"etcdctl endpoint status --cluster\"")]
    Log(#[from] LogError),
    /// A file for the connection cannot be read.
    #[cfg(feature = "cluster")]
    #[error("{0}: {1}")]
    File(std::path::PathBuf, #[source] std::io::Error),
    /// The user for etcd is not understood.
    #[cfg(feature = "cluster")]
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
    /// A term does not end in order.
    #[error(transparent)]
    End(#[from] EndError),
    /// The system refuses something.
    #[error("{0}")]
    System(#[from] std::io::Error),
}
