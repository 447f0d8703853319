//! Which cells of a row make a value: `NAME[:WIDTH][+NAME[:WIDTH]]…`.

use std::str::FromStr;

use thiserror::Error;

/// Most digits of a number; no cell is filled up to more.
const MAX_WIDTH: usize = 15;
/// Most cells that are put together.
const MAX_PARTS: usize = 8;

/// Columns by their names or positions, as they are given. What they are is known once the header is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ColumnSpec(String);

/// A specification without a name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "give the name of a column, or several as NAME+NAME, each with a :WIDTH to fill up with zeros if need be"
)]
pub struct BadColumnSpec;

impl FromStr for ColumnSpec {
    type Err = BadColumnSpec;

    fn from_str(text: &str) -> Result<Self, BadColumnSpec> {
        let text = text.trim();
        if text.is_empty() { Err(BadColumnSpec) } else { Ok(Self(text.to_owned())) }
    }
}

/// A cell of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    /// The index of its column, from 0.
    pub(super) column: usize,
    /// Filled up with zeros to this; 0 for not at all.
    pub(super) width: usize,
}

/// Why the columns were not found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotFound {
    /// There is no column of the name.
    Missing,
    /// There are two of them.
    Twice,
}

impl ColumnSpec {
    /// The specification of one column.
    pub(super) fn named(name: &str) -> Self {
        Self(name.to_owned())
    }

    /// As it was given.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The parts under a header. Names may contain `+` and `:`; the longest name that fits counts.
    pub(super) fn find(&self, header: &[String]) -> Result<Vec<Part>, NotFound> {
        let mut found = Vec::new();
        if !parts_of(&self.0, header, &mut found) {
            return Err(NotFound::Missing);
        }
        let twice = |part: &Part| header.iter().filter(|name| same(name, &header[part.column])).count() > 1;
        if found.iter().any(twice) { Err(NotFound::Twice) } else { Ok(found) }
    }

    /// The parts without a header: positions from 1.
    pub(super) fn positions(&self) -> Option<Vec<Part>> {
        let part = |text: &str| {
            let (position, width) = text.split_once(':').unwrap_or((text, "0"));
            let position: usize = position.trim().parse().ok()?;
            Some(Part { column: position.checked_sub(1)?, width: checked_width(width)? })
        };
        self.0.split('+').map(part).collect()
    }
}

fn checked_width(text: &str) -> Option<usize> {
    text.trim().parse().ok().filter(|width| *width <= MAX_WIDTH)
}

/// Whether two names of columns are the same.
fn same(one: &str, other: &str) -> bool {
    one.trim().to_lowercase() == other.trim().to_lowercase()
}

/// Reads `text` as parts; `found` has them if it returns true.
fn parts_of(text: &str, header: &[String], found: &mut Vec<Part>) -> bool {
    if found.len() >= MAX_PARTS {
        return false;
    }
    // The longest beginning that is a name comes first.
    let ends = text.char_indices().map(|(at, _)| at).chain([text.len()]).skip(1);
    let mut ends: Vec<usize> = ends.collect();
    ends.reverse();
    for end in ends {
        let (name, rest) = text.split_at(end);
        if !matches!(rest.as_bytes().first(), None | Some(b'+' | b':')) {
            continue;
        }
        let Some(column) = header.iter().position(|other| same(other, name)) else { continue };
        let (width, rest) = match rest.strip_prefix(':') {
            None => (Some(0), rest),
            Some(after) => {
                let (width, _) = after.split_once('+').unwrap_or((after, ""));
                (checked_width(width), &after[width.len()..])
            }
        };
        let Some(width) = width else { continue };
        found.push(Part { column, width });
        if rest.is_empty() || rest.strip_prefix('+').is_some_and(|rest| parts_of(rest, header, found)) {
            return true;
        }
        found.pop();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(spec: &str, header: &[&str]) -> Result<Vec<(usize, usize)>, NotFound> {
        let header: Vec<_> = header.iter().map(|name| (*name).to_owned()).collect();
        let found = spec.parse::<ColumnSpec>().unwrap().find(&header)?;
        Ok(found.into_iter().map(|part| (part.column, part.width)).collect())
    }

    #[test]
    fn columns_are_found_by_name() {
        assert_eq!(find("phone", &["id", "Phone "]), Ok(vec![(1, 0)]));
        assert_eq!(find("АВС/ DEF+От:7", &["АВС/ DEF", "От", "До"]), Ok(vec![(0, 0), (1, 7)]));
        assert_eq!(find("авс/ def", &["АВС/ DEF"]), Ok(vec![(0, 0)]), "in any case");
        assert_eq!(find("NMS: Number Block", &["NMS: Number Block"]), Ok(vec![(0, 0)]));
        assert_eq!(find("NPA+CO Code (NXX)", &["NPA", "CO Code (NXX)"]), Ok(vec![(0, 0), (1, 0)]));
        assert_eq!(find("a+b", &["a+b", "a", "b"]), Ok(vec![(0, 0)]), "the longest name");
        assert_eq!(find("a+b+c", &["a+b", "a", "b", "c"]), Ok(vec![(0, 0), (3, 0)]));
        assert_eq!(find("a:3+b:4", &["a", "b"]), Ok(vec![(0, 3), (1, 4)]));
        for missing in ["c", "a+", "a+c", "a:99", "a:x", "+a"] {
            assert_eq!(find(missing, &["a", "b"]), Err(NotFound::Missing), "{missing}");
        }
        assert_eq!(find("a", &["a", "A"]), Err(NotFound::Twice));
    }

    #[test]
    fn columns_are_found_by_position() {
        let positions = |spec: &str| spec.parse::<ColumnSpec>().unwrap().positions();
        assert_eq!(positions("2"), Some(vec![Part { column: 1, width: 0 }]));
        assert_eq!(positions("1:3+2:7").map(|parts| parts.len()), Some(2));
        for bad in ["0", "phone", "1+", "1:16"] {
            assert_eq!(positions(bad), None, "{bad}");
        }
        assert!("  ".parse::<ColumnSpec>().is_err());
    }
}
