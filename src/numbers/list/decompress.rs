//! Lists that are compressed: gzip and Zstandard, also several members after each other.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

const GZIP: &[u8] = &[0x1F, 0x8B, 0x08];
const ZSTD: &[u8] = &[0x28, 0xB5, 0x2F, 0xFD];
const BUFFER_BYTES: usize = 64 * 1024;

/// A compression, by the first bytes of what it made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    Gzip,
    Zstd,
}

impl Compression {
    pub(super) fn of(head: &[u8]) -> Option<Self> {
        if head.starts_with(GZIP) {
            Some(Self::Gzip)
        } else if head.starts_with(ZSTD) {
            Some(Self::Zstd)
        } else {
            None
        }
    }

    /// The content of `input`. An error of the data has the kind `InvalidData`.
    pub(super) fn decoder<'a>(self, input: impl Read + Send + 'a) -> Box<dyn Read + Send + 'a> {
        let input = BufReader::with_capacity(BUFFER_BYTES, input);
        match self {
            Self::Gzip => Box::new(Faults { input: MultiGzDecoder::new(input), name: "gzip" }),
            Self::Zstd => Box::new(Faults { input: Frames::new(input), name: "zstd" }),
        }
    }
}

/// Names the compression in an error of its data.
struct Faults<R> {
    input: R,
    name: &'static str,
}

impl<R: Read> Read for Faults<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.input.read(out).map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => error,
            io::ErrorKind::UnexpectedEof => damaged(self.name, "it ends too early"),
            _ => damaged(self.name, &error.to_string()),
        })
    }
}

fn damaged(name: &str, what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the {name} data is damaged: {what}"))
}

/// The frames of a Zstandard file after each other.
struct Frames<R> {
    input: BufReader<R>,
    decoder: FrameDecoder,
    /// Whether a frame has begun and not ended.
    inside: bool,
}

impl<R: Read> Frames<R> {
    fn new(input: BufReader<R>) -> Self {
        Self { input, decoder: FrameDecoder::new(), inside: false }
    }

    /// Starts the next frame. False if there is none.
    fn start(&mut self) -> io::Result<bool> {
        while !self.input.fill_buf()?.is_empty() {
            match self.decoder.init(&mut self.input) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let length = u64::from(length);
                    if io::copy(&mut self.input.by_ref().take(length), &mut io::sink())? < length {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        Ok(false)
    }

    fn check(&self) -> io::Result<()> {
        let (stated, found) = (self.decoder.get_checksum_from_data(), self.decoder.get_calculated_checksum());
        if stated.is_some() && stated != found {
            return Err(io::Error::other("its checksum is wrong"));
        }
        Ok(())
    }
}

impl<R: Read> Read for Frames<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        loop {
            if !self.inside {
                self.inside = self.start()?;
                if !self.inside {
                    return Ok(0);
                }
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                let blocks = BlockDecodingStrategy::UptoBlocks(1);
                self.decoder.decode_blocks(&mut self.input, blocks).map_err(io::Error::other)?;
            }
            let count = self.decoder.read(out)?;
            if count > 0 {
                return Ok(count);
            }
            self.check()?;
            self.inside = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(content: &[u8]) -> Vec<u8> {
        ruzstd::encoding::compress_to_vec(content, ruzstd::encoding::CompressionLevel::Fastest)
    }

    fn content(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        Compression::of(bytes).unwrap().decoder(bytes).read_to_end(&mut content)?;
        Ok(content)
    }

    #[test]
    fn members_after_each_other_are_read() {
        let lists = [b"79121234567\n".repeat(100_000), b"79121234568\n".to_vec()];
        for compress in [gzip, zstd] {
            let members = lists.iter().flat_map(|list| compress(list)).collect::<Vec<_>>();
            assert!(content(&members).unwrap() == lists.concat());
        }
        let skipped = [0x50, 0x2A, 0x4D, 0x18, 2, 0, 0, 0, 7, 7];
        let frames = [zstd(b"1\n").as_slice(), &skipped, &zstd(b"2\n")].concat();
        assert_eq!(content(&frames).unwrap(), b"1\n2\n");
    }

    #[test]
    fn damaged_data_is_an_error() {
        for compress in [gzip, zstd] {
            let whole = compress(&b"79121234567\n".repeat(1_000));
            let cut = content(&whole[..whole.len() - 3]).unwrap_err();
            assert_eq!(cut.kind(), io::ErrorKind::InvalidData, "{cut}");
            let mut changed = whole.clone();
            let last = changed.len() - 5;
            changed[last] ^= 1;
            assert!(content(&changed).is_err());
        }
    }
}
