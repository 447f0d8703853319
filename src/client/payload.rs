//! The body of a request: bytes, or files one after another.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame, SizeHint};

/// Size of the chunks of an upload, in bytes.
const CHUNK_BYTES: usize = 64 << 10;
/// The body of a request.
pub enum Payload {
    /// These bytes; empty for no body.
    Bytes(Bytes),
    /// The output of a reader. It is read on the command's only thread, which has nothing else to do.
    Reader(Box<dyn Read + Send>),
}

impl Payload {
    /// No body.
    pub fn empty() -> Self {
        Self::Bytes(Bytes::new())
    }

    /// Files one after another, each beginning on a new line; `-` is standard input. `on_bytes` is called
    /// after each read with its number of bytes.
    pub fn files(paths: &[PathBuf], on_bytes: impl Fn(u64) + Send + 'static) -> io::Result<Self> {
        let mut all: Box<dyn Read + Send> = Box::new(io::empty());
        for (index, path) in paths.iter().enumerate() {
            let file: Box<dyn Read + Send> = if path.as_os_str() == "-" {
                Box::new(io::stdin())
            } else {
                let file = File::open(path).map_err(|error| named(path, &error))?;
                Box::new(NamedFile { file, path: path.clone() })
            };
            let separator: &'static [u8] = if index > 0 { b"\n" } else { b"" };
            all = Box::new(all.chain(separator).chain(file));
        }
        Ok(Self::Reader(Box::new(Counted { inner: all, on_bytes })))
    }
}

/// A file whose errors name it.
struct NamedFile {
    file: File,
    path: PathBuf,
}

impl Read for NamedFile {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.file.read(out).map_err(|error| named(&self.path, &error))
    }
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// A reader that reports how many bytes were read.
struct Counted<R, F> {
    inner: R,
    on_bytes: F,
}

impl<R: Read, F: Fn(u64)> Read for Counted<R, F> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(out)?;
        (self.on_bytes)(length as u64);
        Ok(length)
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Bytes(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Bytes(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Reader(reader) => {
                let mut chunk = BytesMut::zeroed(CHUNK_BYTES);
                match reader.read(&mut chunk) {
                    Ok(0) => Poll::Ready(None),
                    Ok(length) => {
                        chunk.truncate(length);
                        Poll::Ready(Some(Ok(Frame::data(chunk.freeze()))))
                    }
                    Err(error) => Poll::Ready(Some(Err(error))),
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Bytes(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Bytes(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Reader(_) => SizeHint::default(),
        }
    }
}
