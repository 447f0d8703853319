//! Who holds a lease.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// Maximum length of a holder's name, in bytes.
pub const MAX_HOLDER_BYTES: usize = 128;

/// The name of a holder: 1 to 128 bytes of printable text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HolderName(Box<str>);

/// The text is no name of a holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a holder is named by 1 to {MAX_HOLDER_BYTES} bytes of printable text, without control characters")]
pub struct NotAHolder;

impl HolderName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as a cell of a CSV: in quotes if it has a character that would end the cell.
    pub fn csv_cell(&self) -> Cow<'_, str> {
        if self.0.contains([',', '"', ' ']) {
            format!("\"{}\"", self.0.replace('"', "\"\"")).into()
        } else {
            Cow::Borrowed(&*self.0)
        }
    }
}

/// Whether a character would break a line, or is a control character.
fn is_unprintable(letter: char) -> bool {
    letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}')
}

impl FromStr for HolderName {
    type Err = NotAHolder;

    fn from_str(name: &str) -> Result<Self, NotAHolder> {
        if (1..=MAX_HOLDER_BYTES).contains(&name.len()) && !name.chars().any(is_unprintable) {
            Ok(Self(name.into()))
        } else {
            Err(NotAHolder)
        }
    }
}

impl fmt::Display for HolderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_cell() {
        for (text, cell) in [("c-17", "c-17"), ("a,b", "\"a,b\""), ("a \"b\"", "\"a \"\"b\"\"\"")] {
            assert_eq!(text.parse::<HolderName>().unwrap().csv_cell(), cell);
        }
    }

    #[test]
    fn a_holder_is_printable_text_of_bounded_length() {
        let longest = "ы".repeat(MAX_HOLDER_BYTES / 2);
        for good in ["c-17", " ", "Анна, 2-й стол", "a/b?c=d", longest.as_str()] {
            assert_eq!(good.parse::<HolderName>().map(|name| name.to_string()), Ok(good.to_owned()));
        }
        let too_long = format!("{longest}a");
        for bad in ["", "a\nb", "\u{7f}", "\u{85}", "a\u{2028}b", "\0", too_long.as_str()] {
            assert_eq!(bad.parse::<HolderName>(), Err(NotAHolder), "{bad:?}");
        }
    }
}
