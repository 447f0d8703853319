//! National forms (`8 912 345-67-89`) by libphonenumber's rules.

use std::fmt;
use std::str::FromStr;

use phonenumber::Mode;
use phonenumber::country::Id;
use thiserror::Error;

use crate::numbers::number::Number;

/// A region whose numbering plan gives national forms their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region(Id);

/// Not a region that libphonenumber knows.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("there is no region {0}: give a two-letter ISO 3166 code such as RU")]
pub struct UnknownRegion(String);

impl FromStr for Region {
    type Err = UnknownRegion;

    /// Reads a two-letter ISO 3166 code in either case.
    fn from_str(code: &str) -> Result<Region, UnknownRegion> {
        let unknown = || UnknownRegion(code.chars().filter(|c| !c.is_control()).take(16).collect());
        if code.len() != 2 {
            return Err(unknown());
        }
        code.to_ascii_uppercase().parse().map(Region).map_err(|_| unknown())
    }
}

impl fmt::Display for Region {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.0.as_ref())
    }
}

impl Region {
    /// The number that `text` means when dialled in this region. `None` if the plan has no such number. Only
    /// digits and the usual separators are accepted: no letters and no extensions.
    pub fn read(self, text: &[u8]) -> Option<Number> {
        if !text.iter().all(|byte| byte.is_ascii_digit() || is_separator(*byte)) {
            return None;
        }
        let parsed = phonenumber::parse(Some(self.0), std::str::from_utf8(text).ok()?).ok()?;
        if !parsed.is_valid() || parsed.extension().is_some() {
            return None;
        }
        let international = parsed.format().mode(Mode::E164).to_string();
        Number::parse_digits(international.strip_prefix('+')?.as_bytes()).ok()
    }
}

/// Whether `byte` may stand between the digits of a written number.
pub(crate) fn is_separator(byte: u8) -> bool {
    matches!(byte, b' ' | b'(' | b')' | b'-' | b'.' | b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(region: &str, text: &str) -> Option<u64> {
        region.parse::<Region>().unwrap().read(text.as_bytes()).map(Number::get)
    }

    #[test]
    fn regions_are_checked() {
        assert_eq!("ru".parse::<Region>().unwrap().to_string(), "RU");
        for code in ["", "R", "ZZ", "RUS", "7", "\u{444}"] {
            assert!(code.parse::<Region>().is_err(), "{code}");
        }
    }

    #[test]
    fn national_forms_become_international() {
        assert_eq!(read("RU", "8 912 345-67-89"), Some(79_123_456_789));
        assert_eq!(read("RU", "8 (912) 345-67-89"), Some(79_123_456_789));
        assert_eq!(read("RU", "89123456789"), Some(79_123_456_789));
        assert_eq!(read("RU", "9123456789"), Some(79_123_456_789));
        assert_eq!(read("RU", "79123456789"), Some(79_123_456_789));
        assert_eq!(read("GB", "020 7946 0018"), Some(442_079_460_018));
        assert_eq!(read("DE", "030/123456"), Some(4_930_123_456));
        assert_eq!(read("US", "(212) 555-2368"), Some(12_125_552_368));
        assert_eq!(read("IT", "06 6982 3456"), Some(390_669_823_456), "Italy keeps its zero");
    }

    #[test]
    fn what_the_plan_does_not_have_is_refused() {
        for text in
            ["", "8", "112", "8 912 345-67-8", "8 912 345-67-89 ext 5", "1-800-FLOWERS", "٨٩١٢٣٤٥٦٧٨٩"]
        {
            assert_eq!(read("RU", text), None, "{text}");
        }
    }
}
