//! The name of a pool as an argument, and the path of its calls.

use crate::cli::error::CliError;
use crate::domain::settings::PoolName;

/// A name that is safe in a path.
pub(crate) fn checked_name(name: &str) -> Result<PoolName, CliError> {
    name.parse().map_err(|error: crate::domain::settings::SettingsError| CliError::Usage(error.to_string()))
}

pub(crate) fn pool_path(name: &str, rest: &str) -> Result<String, CliError> {
    Ok(format!("/v1/pools/{}{rest}", checked_name(name)?))
}
