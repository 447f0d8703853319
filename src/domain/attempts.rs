//! A limit of attempts.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::attempts_error::{AttemptsError, MAX_ATTEMPTS};
use super::json_fields::whole;
use super::next_state::NextState;
use super::settings_error::SettingsError;

/// The last attempt of a round, and the next state of a number after it. In JSON `{"max":3,"then":"done"}`; in a
/// query or on a command line `3:done`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attempts {
    /// From this lease of a round on, its end makes the number `then` instead of available, at once or after a rest.
    #[serde(deserialize_with = "whole")]
    pub max: u32,
    /// The next state of the number.
    pub then: NextState,
}

impl Attempts {
    /// Refuses what cannot be.
    pub fn checked(self) -> Result<Self, SettingsError> {
        if !(1..=MAX_ATTEMPTS).contains(&self.max) {
            return Err(AttemptsError::Max(self.max).into());
        }
        match self.then.checked("attempts")? {
            NextState::Available => Err(AttemptsError::Available.into()),
            then => Ok(Self { then, ..self }),
        }
    }

    /// The next state of a number that becomes `then` otherwise, after its last attempt.
    #[must_use]
    pub fn instead_of(self, then: NextState) -> NextState {
        if then.comes_back() { self.then } else { then }
    }
}

impl FromStr for Attempts {
    type Err = SettingsError;

    fn from_str(text: &str) -> Result<Self, SettingsError> {
        let unknown = || AttemptsError::Text(text.to_owned());
        let (max, then) = text.split_once(':').ok_or_else(unknown)?;
        Self { max: max.parse().map_err(|_| unknown())?, then: then.parse()? }.checked()
    }
}

impl fmt::Display for Attempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.max, self.then)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_json_are_the_same_and_what_cannot_be_is_refused() {
        for (text, json) in [
            ("3:done", r#"{"max":3,"then":"done"}"#),
            ("1:retired", r#"{"max":1,"then":"retired"}"#),
            ("15:rest:60", r#"{"max":15,"then":{"rest":60}}"#),
            ("2:list:optouts", r#"{"max":2,"then":{"list":"optouts"}}"#),
        ] {
            let attempts: Attempts = text.parse().unwrap();
            assert_eq!(
                (attempts.to_string(), serde_json::to_string(&attempts).unwrap()),
                (text.into(), json.into())
            );
            assert_eq!(serde_json::from_str::<Attempts>(json).unwrap(), attempts);
        }
        for bad in
            ["", "3", "done", "0:done", "16:done", "3:available", "3:rest:0", "-1:done", "3:rest:x", "x:done"]
        {
            assert!(bad.parse::<Attempts>().is_err(), "{bad}");
        }
        let whole = serde_json::from_str::<Attempts>(r#"{"max":3.0,"then":{"rest":60.0}}"#).unwrap();
        assert_eq!(whole, "3:rest:60".parse().unwrap());
        assert!(serde_json::from_str::<Attempts>(r#"{"max":3.5,"then":"done"}"#).is_err());
        assert!(serde_json::from_str::<Attempts>(r#"{"max":3}"#).is_err());
        assert!(serde_json::from_str::<Attempts>(r#"{"max":3,"then":"done","x":1}"#).is_err());
    }

    #[test]
    fn the_last_attempt_changes_only_what_comes_back() {
        let attempts: Attempts = "3:retired".parse().unwrap();
        assert_eq!(attempts.instead_of(NextState::Available), NextState::Retired);
        assert_eq!(attempts.instead_of(NextState::Rest(5)), NextState::Retired);
        assert_eq!(attempts.instead_of(NextState::Done), NextState::Done);
    }
}
