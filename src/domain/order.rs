//! The order in which a pool hands out its numbers.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::settings_error::SettingsError;

/// The order in which a pool hands out its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// From an unpredictable place in the pool.
    #[default]
    Random,
    /// Onward through the pool, from where the calling thread's last lease left off.
    Sequential,
    /// The lowest available number.
    Lowest,
}

impl FromStr for Order {
    type Err = SettingsError;

    fn from_str(word: &str) -> Result<Self, SettingsError> {
        match word {
            "random" => Ok(Self::Random),
            "sequential" => Ok(Self::Sequential),
            "lowest" => Ok(Self::Lowest),
            _ => Err(SettingsError::Word {
                field: "order",
                value: word.to_owned(),
                expected: "random, sequential or lowest",
            }),
        }
    }
}
