//! Why a call of the leasing client has no lease to give, or has lost one.

use thiserror::Error;

use crate::client::ClientError;

/// Why there is no lease, or none any more.
#[derive(Debug, Error)]
pub enum LeaseFailure {
    /// The lease is over, or the token is not its.
    #[error("the number is not ours any more: {0}")]
    Lost(String),
    /// The number is on a list that blocks the pool: the lease goes on to its end and is not renewed.
    #[error("the number is on a list that blocks the pool: finish before the lease ends")]
    Blocked,
    /// The daemon refuses the call, and would again.
    #[error("{detail} ({code})")]
    Refused {
        /// The code of the API.
        code: String,
        /// What the daemon says.
        detail: String,
    },
    /// Nobody gave an answer in time that could be used; with what stood in the way at last.
    #[error("no answer in time{}", .0.as_ref().map(|last| format!(": {last}")).unwrap_or_default())]
    NoAnswer(Option<Box<LeaseFailure>>),
    /// The call did not get through.
    #[error(transparent)]
    Call(#[from] ClientError),
    /// The answer is not understood.
    #[error("the answer is not understood: {0}. Is another version of the daemon running?")]
    Answer(#[from] serde_json::Error),
    /// There is no server to ask.
    #[error("give the URL of a daemon, or those of a cluster's members")]
    NoServers,
    /// The system has no random numbers for a key.
    #[error("the system gives no random numbers")]
    NoRandomness,
}
