//! Text in other encodings than UTF-8, and lines that end with carriage returns only.

use std::io::{self, Read};

use encoding_rs::{Decoder, Encoding};

const BUFFER_BYTES: usize = 64 * 1024;

/// Turns text into UTF-8. What is no text in its encoding becomes U+FFFD, which no number has.
pub(super) struct Utf8<R> {
    input: R,
    decoder: Decoder,
    raw: Box<[u8]>,
    /// What was decoded and not taken yet.
    text: Vec<u8>,
    taken: usize,
    ended: bool,
}

impl<R: Read> Utf8<R> {
    /// A byte order mark at the start has precedence over `encoding`.
    pub(super) fn new(input: R, encoding: &'static Encoding) -> Self {
        let raw = vec![0; BUFFER_BYTES].into_boxed_slice();
        Self { input, decoder: encoding.new_decoder(), raw, text: Vec::new(), taken: 0, ended: false }
    }

    fn decode_more(&mut self) -> io::Result<()> {
        let count = self.input.read(&mut self.raw)?;
        self.ended = count == 0;
        self.text.clear();
        self.taken = 0;
        let needed = self.decoder.max_utf8_buffer_length(count).unwrap_or(BUFFER_BYTES * 4);
        self.text.resize(needed, 0);
        let (_, _, written, _) = self.decoder.decode_to_utf8(&self.raw[..count], &mut self.text, self.ended);
        self.text.truncate(written);
        Ok(())
    }
}

impl<R: Read> Read for Utf8<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.text.len() && !self.ended && !out.is_empty() {
            self.decode_more()?;
        }
        let count = out.len().min(self.text.len() - self.taken);
        out[..count].copy_from_slice(&self.text[self.taken..self.taken + count]);
        self.taken += count;
        Ok(count)
    }
}

/// Turns carriage returns into line feeds.
pub(super) struct LineFeeds<R>(pub(super) R);

impl<R: Read> Read for LineFeeds<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.0.read(out)?;
        for byte in &mut out[..count] {
            if *byte == b'\r' {
                *byte = b'\n';
            }
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives one byte at a time.
    struct Slowly<'a>(&'a [u8]);

    impl Read for Slowly<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            self.0.read(&mut out[..1])
        }
    }

    #[test]
    fn text_becomes_utf8() {
        let utf16: Vec<u8> = "\u{feff}число\r\n7".encode_utf16().flat_map(u16::to_le_bytes).collect();
        for (bytes, encoding, expected) in [
            (utf16.as_slice(), encoding_rs::UTF_8, "число\r\n7"),
            (b"M\xE9tropole", encoding_rs::WINDOWS_1252, "Métropole"),
            (b"\xCC\xE8\xF0", encoding_rs::WINDOWS_1251, "Мир"),
            (b"", encoding_rs::UTF_8, ""),
        ] {
            let mut text = String::new();
            Utf8::new(Slowly(bytes), encoding).read_to_string(&mut text).unwrap();
            assert_eq!(text, expected);
        }
    }
}
