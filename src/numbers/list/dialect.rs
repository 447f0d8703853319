//! How the cells of a CSV are separated.

use memchr::memchr;

/// What may separate cells, the likeliest first.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];
/// How spreadsheets name the delimiter in a line of its own, before the header.
const DELIMITER_LINE: &[u8] = b"sep=";

/// The delimiters that the first row of a CSV may have, and what stands before that row.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Dialect {
    /// The likeliest first; there is at least one.
    pub(super) delimiters: Vec<u8>,
    /// The bytes of the line that names the delimiter.
    pub(super) skipped_bytes: usize,
}

impl Dialect {
    /// Looks at the start of a CSV. `given` is what the caller says.
    pub(super) fn find(head: &[u8], given: Option<u8>) -> Self {
        let end = memchr(b'\n', head).map_or(head.len(), |end| end + 1);
        let line = head[..end].trim_ascii();
        let line = line.strip_prefix(b"\"").and_then(|line| line.strip_suffix(b"\"")).unwrap_or(line);
        // A tab at the end was trimmed.
        let named = match line.split_at_checked(DELIMITER_LINE.len()) {
            Some((name, [])) if name.eq_ignore_ascii_case(DELIMITER_LINE) => Some(b'\t'),
            Some((name, [delimiter])) if name.eq_ignore_ascii_case(DELIMITER_LINE) => Some(*delimiter),
            _ => None,
        };
        let skipped_bytes = if named.is_some() { end } else { 0 };
        let delimiters = match given.or(named) {
            Some(delimiter) => vec![delimiter],
            None => by_count(&head[skipped_bytes..]),
        };
        Self { delimiters, skipped_bytes }
    }
}

/// The delimiters by how often they stand in the first row that is not blank.
fn by_count(head: &[u8]) -> Vec<u8> {
    let blank = head.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(0);
    let mut counts = DELIMITERS.map(|_| 0_u32);
    let mut is_quoted = false;
    for byte in &head[blank..] {
        match byte {
            b'"' => is_quoted = !is_quoted,
            b'\n' if !is_quoted => break,
            _ if is_quoted => {}
            byte => {
                if let Some(index) = DELIMITERS.iter().position(|delimiter| delimiter == byte) {
                    counts[index] += 1;
                }
            }
        }
    }
    let mut found: Vec<usize> = (0..DELIMITERS.len()).filter(|index| counts[*index] > 0).collect();
    // Of equals the first stays before the second.
    found.sort_by_key(|index| std::cmp::Reverse(counts[*index]));
    if found.is_empty() { vec![b','] } else { found.into_iter().map(|index| DELIMITERS[index]).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delimiters_are_found_in_the_first_row() {
        for (head, expected, skipped) in [
            ("number,name\n1,2;3;4\n", ",", 0),
            ("number;name\n", ";", 0),
            ("number\tname\n", "\t", 0),
            ("number\n", ",", 0),
            ("\n\nnumber|name\n", "|", 0),
            ("\"a;b;c\",number\n", ",", 0),
            ("a;b,c;d\n", ";,", 0),
            ("sep=;\r\nnumber;a,b,c\n", ";", 7),
            ("\"SEP=|\"\nnumber|a\n", "|", 8),
            ("sep=\t\nnumber\ta\n", "\t", 6),
            ("", ",", 0),
        ] {
            let dialect = Dialect { delimiters: expected.as_bytes().to_vec(), skipped_bytes: skipped };
            assert_eq!(Dialect::find(head.as_bytes(), None), dialect, "{head:?}");
        }
        assert_eq!(Dialect::find(b"a,b,c;d\n", Some(b';')).delimiters, b";");
    }
}
