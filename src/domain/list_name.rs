//! The name of a list of numbers that pools are blocked by.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::name;

/// Maximum length of a list's name, in bytes.
pub const MAX_LIST_NAME_BYTES: usize = 64;

/// The name of a list: 1 to 64 of `[A-Za-z0-9._-]`, beginning with a letter or digit, so it is safe as a path
/// segment and as a directory name. Kept in place, so that what becomes of a number can name one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListName {
    /// Zeros after the name.
    bytes: [u8; MAX_LIST_NAME_BYTES],
    len: u8,
}

/// The text is no name of a list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is not a name of a list: use 1 to {MAX_LIST_NAME_BYTES} of a-z, A-Z, 0-9, \"-\", \"_\" and \".\", beginning with a letter or digit"
)]
pub struct NotAListName(String);

impl ListName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        // ASCII, as `from_str` has seen.
        str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or_default()
    }
}

impl FromStr for ListName {
    type Err = NotAListName;

    fn from_str(name: &str) -> Result<Self, NotAListName> {
        if !name::is_valid(name, MAX_LIST_NAME_BYTES) {
            return Err(NotAListName(name.chars().take(MAX_LIST_NAME_BYTES).collect()));
        }
        let mut bytes = [0; MAX_LIST_NAME_BYTES];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        Ok(Self { bytes, len: name.len() as u8 })
    }
}

impl fmt::Display for ListName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for ListName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

impl Serialize for ListName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ListName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_directory_names_and_keep_their_order() {
        let longest = "x".repeat(MAX_LIST_NAME_BYTES);
        for good in ["optouts", "a", "9", "us-national_1.v2", &longest] {
            let name: ListName = good.parse().unwrap();
            assert_eq!((name.as_str(), serde_json::to_string(&name).unwrap()), (good, format!("\"{good}\"")));
            assert_eq!(serde_json::from_str::<ListName>(&format!("\"{good}\"")).unwrap(), name);
        }
        for bad in ["", ".", "..", ".hidden", "-x", "a/b", "a b", "é", &"x".repeat(MAX_LIST_NAME_BYTES + 1)]
        {
            assert!(bad.parse::<ListName>().is_err(), "{bad}");
        }
        let name = |name: &str| name.parse::<ListName>().unwrap();
        assert!(name("a") < name("a.b") && name("a.b") < name("ab"));
    }
}
