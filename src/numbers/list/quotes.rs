//! Checks that every quote of a CSV that opens a cell is closed where the cell ends. A reader of CSV takes what
//! comes: a quote that is not closed would swallow the rows up to the next one.

use memchr::{memchr, memchr_iter};

/// A quote that is not closed at the end of a cell opens in this line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unclosed(pub(crate) u64);

/// Where the check is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// At the start of a cell.
    Start,
    /// Inside a cell without quotes.
    Bare,
    /// Inside a quoted cell.
    Quoted,
    /// After a quote inside a quoted cell.
    AfterQuote,
    /// After the closing quote and a space or a carriage return.
    Closed,
}

/// The check of a CSV, which gets all its bytes in parts.
#[derive(Debug)]
pub(crate) struct QuoteCheck {
    delimiter: u8,
    place: Place,
    /// The line of the next byte.
    line: u64,
    opened: u64,
}

impl QuoteCheck {
    /// A check from the start of `line`.
    pub(crate) fn new(delimiter: u8, line: u64) -> Self {
        Self { delimiter, place: Place::Start, line, opened: line }
    }

    /// Checks the next bytes.
    pub(crate) fn check(&mut self, bytes: &[u8]) -> Result<(), Unclosed> {
        let (mut at, mut counted) = (0, 0);
        while at < bytes.len() {
            at = match self.place {
                Place::Start | Place::Bare => match memchr(b'"', &bytes[at..]) {
                    None => {
                        self.place = self.after(bytes[bytes.len() - 1]);
                        break;
                    }
                    Some(offset) => {
                        let quote = at + offset;
                        // Only the first byte of the part follows one that is not in it.
                        let before = if quote == 0 { self.place } else { self.after(bytes[quote - 1]) };
                        if before == Place::Start {
                            self.line += lines(&bytes[counted..quote]);
                            counted = quote;
                            self.opened = self.line;
                            self.place = Place::Quoted;
                        } else {
                            self.place = Place::Bare;
                        }
                        quote + 1
                    }
                },
                Place::Quoted => match memchr(b'"', &bytes[at..]) {
                    None => break,
                    Some(offset) => {
                        self.place = Place::AfterQuote;
                        at + offset + 1
                    }
                },
                Place::AfterQuote | Place::Closed => {
                    self.place = match bytes[at] {
                        b'"' if self.place == Place::AfterQuote => Place::Quoted,
                        b'\n' => Place::Start,
                        byte if byte == self.delimiter => Place::Start,
                        b'\r' | b' ' => Place::Closed,
                        _ => return Err(Unclosed(self.opened)),
                    };
                    at + 1
                }
            };
        }
        self.line += lines(&bytes[counted..]);
        Ok(())
    }

    /// Checks that the end is not inside a quoted cell.
    pub(crate) fn finish(&self) -> Result<(), Unclosed> {
        if self.place == Place::Quoted { Err(Unclosed(self.opened)) } else { Ok(()) }
    }

    /// Where the check is after a byte outside quotes.
    fn after(&self, byte: u8) -> Place {
        if byte == self.delimiter || byte == b'\n' { Place::Start } else { Place::Bare }
    }
}

fn lines(bytes: &[u8]) -> u64 {
    memchr_iter(b'\n', bytes).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, part: usize) -> Result<(), u64> {
        let mut check = QuoteCheck::new(b',', 1);
        text.as_bytes()
            .chunks(part)
            .try_for_each(|bytes| check.check(bytes))
            .map_err(|unclosed| unclosed.0)?;
        check.finish().map_err(|unclosed| unclosed.0)
    }

    #[test]
    fn quotes_are_checked_in_parts_of_any_size() {
        for (text, expected) in [
            ("a,b\n\"1\",2\n", Ok(())),
            ("a,b\r\n\"1\",\"2\"\r\n", Ok(())),
            ("a\n\"x\"\"y\"\n", Ok(())),
            ("a\n\"x\ny\",1\n", Ok(())),
            ("a\n5\" pipe,1\n", Ok(())),
            ("a\n\"x\" ,1\n", Ok(())),
            ("\"a\"", Ok(())),
            ("a\n\"\",\"\"\n", Ok(())),
            ("a\n\"x,1\ny,2\n\"z\",3\n", Err(2)),
            ("a\nx,\"1\ny,2\n", Err(2)),
            ("a\n\"x\ny\",1\n\"z", Err(4)),
            ("a\n1\n\"x\"y,1\n", Err(3)),
            ("\"", Err(1)),
        ] {
            for part in 1..=text.len() {
                assert_eq!(check(text, part), expected, "{text:?} in parts of {part}");
            }
        }
    }
}
