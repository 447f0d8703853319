//! Copies the journal while it is written: all complete frames, in order.
//!
//! A file of the copy ends after its last frame, and its head contains that length. A file is released as
//! soon as it is full and copied, so that the journal takes no more space than without a backup. A copy that is
//! so slow that the journal runs out of files fails.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::disk::device::{Access, Disk};
use crate::disk::files;
use crate::disk::mapping::{PAGE_BYTES, PageBuffer};
use crate::journal::file;
use crate::journal::frame::{Frame, HEAD_BYTES, Head, MAX_FRAME_BYTES, SECTOR_BYTES, Sector};
use crate::journal::pin::Pin;
use crate::sys::sync::thread;

use super::contents::FileEntry;
use super::error::BackupError;
use super::file_copy::{FileCopy, at};

/// Interval at which the journal is read.
const PAUSE: Duration = Duration::from_millis(5);
/// Bytes of the first read: about what is new after a pause. Leases would wait for a longer read.
const READ_BYTES: usize = if cfg!(allotd_shuttle) { PAGE_BYTES } else { 64 << 10 };

/// A copy of the journal in progress.
pub(crate) struct JournalCopy<'a> {
    disk: &'a dyn Disk,
    dir: &'a Path,
    root: &'a Path,
    pin: Pin,
    /// The number of the file that is being copied.
    sequence: u64,
    current: Option<Current<'a>>,
    /// The number of the next frame; `None` before the first file is opened.
    next_frame: Option<u64>,
    frames: u64,
    buffer: PageBuffer,
    entries: Vec<FileEntry>,
}

struct Current<'a> {
    source: File,
    path: PathBuf,
    head: Head,
    position: u64,
    copy: FileCopy<'a>,
}

impl<'a> JournalCopy<'a> {
    /// A copy of the journal in `dir`, from the first pinned file on, into `journal/` below `root`.
    pub(crate) fn new(
        disk: &'a dyn Disk,
        dir: &'a Path,
        root: &'a Path,
        pin: Pin,
    ) -> Result<Self, BackupError> {
        Ok(Self {
            disk,
            dir,
            root,
            sequence: pin.first(),
            pin,
            current: None,
            next_frame: None,
            frames: 0,
            buffer: PageBuffer::new(2 * MAX_FRAME_BYTES).map_err(at(root))?,
            entries: Vec::new(),
        })
    }

    /// How many frames were copied.
    pub(crate) fn frames(&self) -> u64 {
        self.frames
    }

    /// Copies frames until `done` is set and all frames written before that are copied. After an error it
    /// releases the pin, so that the journal does not keep files for this copy.
    pub(crate) fn follow(&mut self, done: &AtomicBool) -> Result<(), BackupError> {
        loop {
            // Read the flag first: then all frames written before it was set are copied.
            let last = done.load(Ordering::SeqCst);
            if let Err(error) = self.advance() {
                let is_revoked = self.pin.is_revoked();
                self.pin.keep_from(u64::MAX);
                // The files may be gone or overwritten: that is no damage.
                return Err(if is_revoked { BackupError::TooSlow } else { error });
            }
            if last {
                return Ok(());
            }
            thread::sleep(PAUSE);
        }
    }

    /// Copies all frames written so far.
    fn advance(&mut self) -> Result<(), BackupError> {
        loop {
            // Check this first: then a closed file is complete before its frames are read.
            let closed = self.pin.is_closed(self.sequence);
            if self.pin.is_stopped() {
                return Err(BackupError::Ended);
            }
            let mut current = match self.current.take() {
                Some(current) => current,
                None => self.start_file()?,
            };
            self.copy_frames(&mut current)?;
            // After the frames were read: they were not overwritten before.
            if self.pin.is_revoked() {
                return Err(BackupError::TooSlow);
            }
            if !closed {
                self.current = Some(current);
                return Ok(());
            }
            self.end(current)?;
            self.sequence += 1;
            self.pin.keep_from(self.sequence);
        }
    }

    fn start_file(&mut self) -> Result<Current<'a>, BackupError> {
        let path = file::path_of(self.dir, self.sequence);
        // Bypass the page cache, as the writer does: a cached page could be stale.
        let (source, _) = files::open_direct(self.disk, &path, Access::Direct).map_err(at(&path))?;
        let file_bytes = source.metadata().map_err(at(&path))?.len();
        let page = &mut self.buffer[..HEAD_BYTES];
        source.read_exact_at(page, 0).map_err(at(&path))?;
        let head = match Head::decode_page(page, file_bytes) {
            Ok(head) => head,
            Err(error) => return Err(BackupError::Damaged(path, error.to_string())),
        };
        let next_frame = *self.next_frame.get_or_insert(head.first_frame);
        if head.file_sequence != self.sequence || head.first_frame != next_frame {
            let what = format!("it begins with frame {}, but {next_frame} was expected", head.first_frame);
            return Err(BackupError::Damaged(path, what));
        }
        let relative = file::path_of(Path::new("journal"), self.sequence).display().to_string();
        let copy = FileCopy::create(self.disk, self.root, relative, HEAD_BYTES as u64)?;
        Ok(Current { source, path, head, position: HEAD_BYTES as u64, copy })
    }

    /// Copies the complete frames from the file's position on.
    fn copy_frames(&mut self, current: &mut Current<'_>) -> Result<(), BackupError> {
        let Current { source, path, head, position, copy } = current;
        let mut next_frame = self.next_frame.unwrap_or(head.first_frame);
        while *position < head.file_bytes {
            // One page first: usually there is no new frame.
            let page = &mut self.buffer[..PAGE_BYTES];
            source.read_exact_at(page, *position).map_err(at(path))?;
            if !matches!(
                Sector::read(&page[..SECTOR_BYTES], head.file_sequence),
                Sector::Written { index: 0, .. }
            ) {
                break;
            }
            let mut used = 0;
            // Read the whole buffer only if a frame is longer.
            for most in [READ_BYTES, self.buffer.len()] {
                let bytes = (head.file_bytes - *position).min(most as u64) as usize;
                source.read_exact_at(&mut self.buffer[..bytes], *position).map_err(at(path))?;
                while let Some(frame) = Frame::decode(&self.buffer[used..bytes], head.file_sequence) {
                    if frame.head.clean {
                        return Err(BackupError::Ended);
                    }
                    if frame.head.sequence != next_frame {
                        let what =
                            format!("it has frame {} where {next_frame} was expected", frame.head.sequence);
                        return Err(BackupError::Damaged(path.clone(), what));
                    }
                    next_frame += 1;
                    self.frames += 1;
                    used += frame.bytes();
                }
                if used > 0 {
                    break;
                }
            }
            if used == 0 {
                break;
            }
            copy.write(&self.buffer[..used])?;
            *position += used as u64;
        }
        self.next_frame = Some(next_frame);
        Ok(())
    }

    fn end(&mut self, current: Current<'_>) -> Result<(), BackupError> {
        let mut page = vec![0; HEAD_BYTES];
        Head { file_bytes: current.position, ..current.head }.encode(&mut page);
        self.entries.push(current.copy.finish(&page)?);
        Ok(())
    }

    /// Ends the copy and returns its files.
    pub(crate) fn finish(mut self) -> Result<Vec<FileEntry>, BackupError> {
        if let Some(current) = self.current.take() {
            self.end(current)?;
        }
        Ok(self.entries)
    }
}
