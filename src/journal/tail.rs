//! Reads the frames of the journal behind the writer, which never waits for that.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::file;
use super::frame::{Frame, HEAD_BYTES, Head, MAX_FRAME_BYTES, SECTOR_BYTES};

/// Bytes that are read at once where frames follow each other,
const READ_BYTES: usize = 2 * MAX_FRAME_BYTES;
/// and where the next frame may be the last: after one group there seldom is more.
const FIRST_READ_BYTES: usize = 32 << 10;

/// Why the next frame cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FollowError {
    /// Its file has been used again, or the frame is not whole.
    #[error("frame {0} of the journal is not there any more")]
    Gone(u64),
    /// A file cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A place in the journal.
pub(crate) struct Follower {
    dir: PathBuf,
    file_sequence: u64,
    file: Option<File>,
    offset: u64,
    /// The next frame.
    next: u64,
    buffer: Vec<u8>,
}

impl Follower {
    /// Begins at the first frame of a file that is about to be written.
    pub(crate) fn new(dir: &Path, file_sequence: u64, next: u64) -> Self {
        let dir = dir.to_owned();
        Self { dir, file_sequence, file: None, offset: HEAD_BYTES as u64, next, buffer: Vec::new() }
    }

    /// The next frame.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Goes on with the file that is being written.
    pub(crate) fn skip_to_newest(&mut self) -> io::Result<()> {
        let Some((sequence, path)) = file::list(&self.dir)?.pop() else { return Ok(()) };
        let (file, head) = opened(&path)?;
        *self = Self { file: Some(file), ..Self::new(&self.dir, sequence, head.first_frame) };
        Ok(())
    }

    /// Calls `take` with the next frames, up to the frame `last` or until `take` returns false.
    pub(crate) fn read(
        &mut self,
        last: u64,
        take: &mut dyn FnMut(&Frame<'_>) -> bool,
    ) -> Result<(), FollowError> {
        let mut wanted = FIRST_READ_BYTES;
        while self.next <= last {
            self.fill(wanted)?;
            let (mut at, mut goes_on) = (0, true);
            while goes_on
                && self.next <= last
                && let Some(frame) = Frame::decode(&self.buffer[at..], self.file_sequence)
                && frame.head.sequence == self.next
            {
                at += frame.bytes();
                self.next += 1;
                goes_on = take(&frame);
            }
            self.offset += at as u64;
            if !goes_on {
                return Ok(());
            }
            if at == 0 && wanted == READ_BYTES {
                self.next_file()?;
            }
            wanted = READ_BYTES;
        }
        Ok(())
    }

    /// Reads what follows into the buffer.
    fn fill(&mut self, wanted: usize) -> Result<(), FollowError> {
        if self.file.is_none() {
            self.file = Some(opened(&file::path_of(&self.dir, self.file_sequence))?.0);
        }
        let Some(file) = &self.file else { return Ok(()) };
        self.buffer.resize(wanted, 0);
        let mut filled = 0;
        while filled < wanted {
            match file.read_at(&mut self.buffer[filled..], self.offset + filled as u64) {
                Ok(0) => break,
                Ok(bytes) => filled += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.buffer.truncate(filled / SECTOR_BYTES * SECTOR_BYTES);
        Ok(())
    }

    /// Goes on with the next file, which must begin with the next frame.
    fn next_file(&mut self) -> Result<(), FollowError> {
        let path = file::path_of(&self.dir, self.file_sequence + 1);
        let (file, head) = opened(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => FollowError::Gone(self.next),
            _ => FollowError::Io(error),
        })?;
        if head.first_frame != self.next {
            return Err(FollowError::Gone(self.next));
        }
        *self = Self { file: Some(file), ..Self::new(&self.dir, head.file_sequence, self.next) };
        Ok(())
    }
}

fn opened(path: &Path) -> io::Result<(File, Head)> {
    let file = File::open(path)?;
    let mut page = vec![0; HEAD_BYTES];
    file.read_exact_at(&mut page, 0)?;
    let bytes = file.metadata()?.len();
    let head = Head::decode_page(&page, bytes).map_err(io::Error::other)?;
    Ok((file, head))
}
