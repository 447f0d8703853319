//! The names of pools.

use std::fmt;
use std::str::FromStr;

use super::name;
use super::setting_limits::MAX_POOL_NAME_BYTES;
use super::settings_error::SettingsError;

/// The name of a pool: 1 to 64 of `[A-Za-z0-9._-]`, beginning with a letter or digit, so it is safe as a path
/// segment and as a directory name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolName(String);

impl PoolName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PoolName {
    type Err = SettingsError;

    fn from_str(name: &str) -> Result<Self, SettingsError> {
        if name::is_valid(name, MAX_POOL_NAME_BYTES) {
            Ok(Self(name.to_owned()))
        } else {
            Err(SettingsError::PoolName(name.chars().take(MAX_POOL_NAME_BYTES).collect()))
        }
    }
}

impl fmt::Display for PoolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pool_names_are_safe_directory_names() {
        for good in ["ru", "a", "9", "us-east_1.mobile"] {
            assert_eq!(good.parse::<PoolName>().map(|n| n.to_string()), Ok(good.to_owned()));
        }
        for bad in ["", ".", "..", ".hidden", "-x", "a/b", "a b", "é", &"x".repeat(MAX_POOL_NAME_BYTES + 1)]
        {
            assert!(bad.parse::<PoolName>().is_err(), "{bad}");
        }
    }
}
