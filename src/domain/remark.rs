//! Why an operator does something, in words: for the audit log, and for the callers whom it concerns.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest remark, in characters.
pub const MAX_REMARK_CHARACTERS: usize = 256;

/// A text is no remark. The message says what to give instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "give 1 to {MAX_REMARK_CHARACTERS} characters of text without ends of lines and other control characters"
)]
pub struct RemarkError;

/// 1 to [`MAX_REMARK_CHARACTERS`] characters of text on one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Remark(String);

impl Remark {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Remark {
    type Error = RemarkError;

    fn try_from(text: String) -> Result<Self, RemarkError> {
        let fits = (1..=MAX_REMARK_CHARACTERS).contains(&text.chars().count())
            && !text.chars().any(char::is_control);
        if fits { Ok(Self(text)) } else { Err(RemarkError) }
    }
}

impl FromStr for Remark {
    type Err = RemarkError;

    fn from_str(text: &str) -> Result<Self, RemarkError> {
        text.to_owned().try_into()
    }
}

impl From<Remark> for String {
    fn from(remark: Remark) -> Self {
        remark.0
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remark_is_one_line_of_text() {
        assert_eq!("мост закрыт".parse::<Remark>().unwrap().as_str(), "мост закрыт");
        for bad in ["", "a\nb", "\u{1b}[31m", &"é".repeat(MAX_REMARK_CHARACTERS + 1)] {
            assert_eq!(bad.parse::<Remark>(), Err(RemarkError), "{bad:?}");
        }
    }
}
