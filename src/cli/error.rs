//! Why a command ends with an exit code other than 0.

use thiserror::Error;

use super::advice;
use crate::client::ClientError;
use crate::daemon::config::error::ConfigError;
use crate::daemon::run::DaemonError;

/// Why a command ends with an exit code other than 0.
#[derive(Debug, Error)]
pub(crate) enum CliError {
    /// Wrong usage: exit code 2.
    #[error("{0}")]
    Usage(String),
    /// Refused or failed: exit code 1.
    #[error("{0}")]
    Failed(String),
    /// The daemon refused the call: exit code 1.
    #[error("{0}")]
    Refused(ClientError),
    /// Reported already, on standard output or in the log: exit code 1.
    #[error("")]
    AlreadyLogged,
}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Address(_) => Self::Usage(error.to_string()),
            ClientError::Refused { .. } => Self::Refused(advice::in_commands(error)),
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        Self::Usage(error.to_string())
    }
}

impl From<DaemonError> for CliError {
    fn from(error: DaemonError) -> Self {
        Self::Failed(error.to_string())
    }
}
