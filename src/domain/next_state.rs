//! The states that a number can get after its lease; `Settings::then_for` chooses by the outcome.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::json_fields::whole;
use super::list_name::ListName;
use super::setting_limits::MAX_REST_SECONDS;
use super::settings_error::SettingsError;

/// The state of a number after its lease. In JSON `"available"`, `{"rest":14400}`, `"done"`, `"retired"` or
/// `{"list":"optouts"}`; in a query or on a command line `available`, `rest:14400`, `done`, `retired`,
/// `list:optouts`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NextState {
    /// It can be leased again at once.
    #[default]
    Available,
    /// It rests for this many seconds first.
    #[serde(deserialize_with = "whole")]
    Rest(u32),
    /// It is done until the pool's next round.
    Done,
    /// It is not handed out until an operator reinstates it.
    Retired,
    /// It goes onto a list, and is available but for that.
    List(ListName),
}

impl NextState {
    /// A rest of `seconds`; 0 means available immediately.
    pub fn from_rest_seconds(seconds: u32) -> Self {
        if seconds == 0 { Self::Available } else { Self::Rest(seconds) }
    }

    /// How long the number rests, if it does.
    pub(crate) fn rest_seconds(self) -> Option<u32> {
        match self {
            Self::Rest(seconds) => Some(seconds),
            Self::Available | Self::Done | Self::Retired | Self::List(_) => None,
        }
    }

    /// Whether the number is leased again in the same round.
    pub fn comes_back(self) -> bool {
        matches!(self, Self::Available | Self::Rest(_))
    }

    /// The list that the number goes onto, if it does.
    pub fn list(self) -> Option<ListName> {
        if let Self::List(list) = self { Some(list) } else { None }
    }

    /// Refuses a rest longer than [`MAX_REST_SECONDS`].
    pub fn checked(self, field: &'static str) -> Result<Self, SettingsError> {
        match self {
            Self::Rest(seconds) if seconds > MAX_REST_SECONDS => {
                Err(SettingsError::Seconds { field, value: seconds.into(), min: 0, max: MAX_REST_SECONDS })
            }
            Self::Rest(seconds) => Ok(Self::from_rest_seconds(seconds)),
            other => Ok(other),
        }
    }
}

impl fmt::Display for NextState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Available => f.write_str("available"),
            Self::Rest(seconds) => write!(f, "rest:{seconds}"),
            Self::Done => f.write_str("done"),
            Self::Retired => f.write_str("retired"),
            Self::List(list) => write!(f, "list:{list}"),
        }
    }
}

impl FromStr for NextState {
    type Err = SettingsError;

    fn from_str(word: &str) -> Result<Self, SettingsError> {
        let unknown = || SettingsError::Word {
            field: "then",
            value: word.to_owned(),
            expected: "available, rest:SECONDS, done, retired or list:NAME",
        };
        match word {
            "available" => Ok(Self::Available),
            "done" => Ok(Self::Done),
            "retired" => Ok(Self::Retired),
            _ => {
                if let Some(list) = word.strip_prefix("list:") {
                    return Ok(Self::List(list.parse()?));
                }
                let seconds = word.strip_prefix("rest:").ok_or_else(unknown)?;
                Self::Rest(seconds.parse().map_err(|_| unknown())?).checked("rest")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn then_reads_and_writes_both_forms() {
        for (word, json, then) in [
            ("available", "\"available\"", NextState::Available),
            ("rest:60", "{\"rest\":60}", NextState::Rest(60)),
            ("done", "\"done\"", NextState::Done),
            ("retired", "\"retired\"", NextState::Retired),
            ("list:optouts", "{\"list\":\"optouts\"}", NextState::List("optouts".parse().unwrap())),
        ] {
            assert_eq!(word.parse(), Ok(then));
            assert_eq!(serde_json::to_string(&then).unwrap(), json);
            assert_eq!(serde_json::from_str::<NextState>(json).unwrap(), then);
        }
        assert_eq!("rest:0".parse(), Ok(NextState::Available));
        for bad in [
            "",
            "rest",
            "rest:",
            "rest:-1",
            "rest:1h",
            "rest:4294967295",
            "Done",
            "list:",
            "list:../x",
            "list",
        ] {
            assert!(bad.parse::<NextState>().is_err(), "{bad}");
        }
    }
}
