//! Regions, and the ways in which a number is dialled.

use std::fmt;
use std::str::FromStr;

use rlibphonenumber::PHONE_NUMBER_UTIL;
use thiserror::Error;

/// A region whose numbering plan gives national forms their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region(rlibphonenumber::Region);

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
        let region = code.to_ascii_uppercase().parse().map_err(|_| unknown())?;
        let has_plan = PHONE_NUMBER_UTIL.get_country_code_for_region(region).is_some();
        has_plan.then_some(Region(region)).ok_or_else(unknown)
    }
}

impl Region {
    /// Its name in the library.
    pub(super) fn plan(self) -> rlibphonenumber::Region {
        self.0
    }

    /// The code that its numbers begin with.
    pub(super) fn country_code(self) -> Option<i32> {
        PHONE_NUMBER_UTIL.get_country_code_for_region(self.0)
    }

    /// The two letters of its code.
    pub(super) fn code(self) -> [u8; 2] {
        self.0.as_region_str().as_str().as_bytes().first_chunk().copied().unwrap_or_default()
    }
}

impl fmt::Display for Region {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.0.as_region_str().as_str())
    }
}

/// How digits are dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialled {
    /// After a plus sign: the country code first.
    International,
    /// As in the region.
    In(Region),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_checked() {
        assert_eq!("ru".parse::<Region>().unwrap().to_string(), "RU");
        for code in ["", "R", "ZZ", "RUS", "7", "\u{444}", "001", "UN"] {
            assert!(code.parse::<Region>().is_err(), "{code}");
        }
    }
}
