//! What the bytes of a list are: compressed, a Roaring bitmap, or text in some encoding. Their content decides,
//! then what the caller says of them.

use std::io::{self, Cursor, Read};

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};

use super::decode::{LineFeeds, Utf8};
use super::decompress::Compression;
use super::error::ListError;
use super::options::ListOptions;

/// What editors on Windows put before UTF-8 text.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
/// How much of the start is looked at.
const HEAD_BYTES: usize = 64 * 1024;
/// How much is looked at to tell text from other bytes.
const SNIFFED_BYTES: usize = 64;

/// Bytes of which the first are known.
pub struct Headed<'a> {
    head: Vec<u8>,
    rest: Box<dyn Read + Send + 'a>,
}

impl<'a> Headed<'a> {
    fn new(mut input: Box<dyn Read + Send + 'a>) -> io::Result<Self> {
        let mut head = Vec::new();
        input.by_ref().take(HEAD_BYTES as u64).read_to_end(&mut head)?;
        Ok(Self { head, rest: input })
    }

    /// The first bytes: all, if there are few.
    pub(super) fn head(&self) -> &[u8] {
        &self.head
    }

    /// The same without the first `count` bytes of the head.
    pub(super) fn skip(mut self, count: usize) -> Self {
        self.head.drain(..count.min(self.head.len()));
        self
    }

    /// All bytes from the start.
    pub fn whole(self) -> Box<dyn Read + Send + 'a> {
        Box::new(Cursor::new(self.head).chain(self.rest))
    }
}

/// What an input is.
pub enum Content<'a> {
    /// A portable Roaring bitmap.
    Roaring(Headed<'a>),
    /// Text in UTF-8, without a byte order mark, in lines that end with line feeds.
    Text(Headed<'a>),
}

impl<'a> Content<'a> {
    /// Looks at the start of `input`, and decompresses and decodes it as far as needed.
    pub fn open(input: impl Read + Send + 'a, options: &ListOptions) -> Result<Self, ListError> {
        let headed = decompressed(input)?;
        let head = headed.head();
        if is_roaring(head) {
            return Ok(Self::Roaring(headed));
        }
        if head.starts_with(b"PK\x03\x04") || head.starts_with(b"\xD0\xCF\x11\xE0") {
            return Err(ListError::Workbook);
        }
        let text = match encoding_of(head, options)? {
            None => {
                let mark = if head.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
                headed.skip(mark)
            }
            Some(encoding) => Headed::new(Box::new(Utf8::new(headed.whole(), encoding)))?,
        };
        let has = |byte| memchr::memchr(byte, text.head()).is_some();
        if has(b'\r') && !has(b'\n') {
            return Ok(Self::Text(Headed::new(Box::new(LineFeeds(text.whole())))?));
        }
        Ok(Self::Text(text))
    }
}

/// The bytes of a Roaring bitmap, decompressed.
pub fn open_bitmap<'a>(input: impl Read + Send + 'a) -> Result<Box<dyn Read + Send + 'a>, ListError> {
    decompressed(input).map(Headed::whole)
}

/// An input as it was before it was compressed.
fn decompressed<'a>(input: impl Read + Send + 'a) -> Result<Headed<'a>, ListError> {
    let mut headed = Headed::new(Box::new(input))?;
    if let Some(compression) = Compression::of(headed.head()) {
        headed = Headed::new(compression.decoder(headed.whole()))?;
    }
    if is_java_roaring(headed.head()) { Err(ListError::JavaRoaring) } else { Ok(headed) }
}

/// The encoding that text is decoded from; `None` if it is UTF-8.
fn encoding_of(head: &[u8], options: &ListOptions) -> Result<Option<&'static Encoding>, ListError> {
    if let Some((encoding, _)) = Encoding::for_bom(head) {
        return Ok((encoding != UTF_8).then_some(encoding));
    }
    if let Some(encoding) = options.encoding {
        return Ok((encoding != UTF_8).then_some(encoding));
    }
    let is_zero_at = |odd: usize| {
        let every_second = head.iter().take(SNIFFED_BYTES).skip(odd).step_by(2);
        head.len() > 1 && every_second.clone().count() > 0 && every_second.into_iter().all(|byte| *byte == 0)
    };
    let encoding = match (is_zero_at(0), is_zero_at(1)) {
        (false, true) => UTF_16LE,
        (true, false) => UTF_16BE,
        _ => return Ok(None),
    };
    Err(ListError::NoMark { encoding: encoding.name(), wording: options.wording })
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Whether a 32-bit set in the portable format starts at `at`.
fn has_cookie(head: &[u8], at: usize) -> bool {
    const NO_RUNS: u32 = 12346;
    const RUNS: u32 = 12347;
    u32_at(head, at).is_some_and(|cookie| cookie == NO_RUNS || cookie & 0xFFFF == RUNS)
}

fn is_roaring(head: &[u8]) -> bool {
    let is_64_bit = head.len() >= 8 && head[3..8] == [0; 5] && (head.len() == 8 || has_cookie(head, 12));
    // ";0" may be text too.
    let is_control = |byte: &u8| *byte < b' ' && !matches!(byte, b'\t' | b'\r' | b'\n');
    is_64_bit || (has_cookie(head, 0) && head.iter().take(SNIFFED_BYTES).any(is_control))
}

/// Whether this is how Java's `Roaring64NavigableMap` serializes itself unless told otherwise: a flag, then a
/// count and keys in the other byte order.
fn is_java_roaring(head: &[u8]) -> bool {
    let count = head.get(1..5).and_then(|count| count.first_chunk()).map(|count| u32::from_be_bytes(*count));
    head.first().is_some_and(|flag| *flag < 2) && count.is_some_and(|count| count > 0) && has_cookie(head, 9)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8], options: &ListOptions) -> Result<Option<String>, ListError> {
        Ok(match Content::open(bytes, options)? {
            Content::Roaring(_) => None,
            Content::Text(text) => {
                let mut all = String::new();
                text.whole().read_to_string(&mut all)?;
                Some(all)
            }
        })
    }

    #[test]
    fn text_is_told_from_bitmaps() {
        let usual = ListOptions::default();
        for bytes in ["", "0", ":0", ";0", ";0;1\n79121234567;2\n", "79121234567\n"] {
            assert_eq!(text(bytes.as_bytes(), &usual).unwrap().as_deref(), Some(bytes));
        }
        let (mut portable, mut narrow) = (Vec::new(), Vec::new());
        roaring::RoaringTreemap::from_iter([1, 1 << 40]).serialize_into(&mut portable).unwrap();
        (0..70_000).collect::<roaring::RoaringBitmap>().serialize_into(&mut narrow).unwrap();
        let mut runs: roaring::RoaringBitmap = (0..70_000).collect();
        assert!(runs.optimize());
        let mut with_runs = Vec::new();
        runs.serialize_into(&mut with_runs).unwrap();
        for bytes in [&portable, &narrow, &with_runs] {
            assert_eq!(text(bytes, &usual).unwrap(), None);
        }
        let java = [&[0, 0, 0, 0, 1, 0, 0, 0, 0][..], &narrow].concat();
        assert!(matches!(text(&java, &usual), Err(ListError::JavaRoaring)));
        assert!(matches!(text(b"PK\x03\x04more", &usual), Err(ListError::Workbook)));
    }

    #[test]
    fn every_encoding_becomes_utf8() {
        let usual = ListOptions::default();
        let latin = ListOptions { encoding: Encoding::for_label(b"windows-1252"), ..ListOptions::default() };
        let wide = |text: &str| text.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<u8>>();
        for (bytes, options, expected) in [
            (b"\xEF\xBB\xBF7\r\n8".to_vec(), &usual, "7\r\n8"),
            (wide("\u{feff}7\n"), &usual, "7\n"),
            (b"\xE9".to_vec(), &latin, "é"),
            (b"\xEF\xBB\xBF\xC3\xA9".to_vec(), &latin, "é"),
            (b"7\r8\r".to_vec(), &usual, "7\n8\n"),
        ] {
            assert_eq!(text(&bytes, options).unwrap().as_deref(), Some(expected));
        }
        let error = text(&wide("79121234567\n"), &usual).unwrap_err().to_string();
        assert!(error.contains("encoding=UTF-16BE"), "{error}");
    }
}
