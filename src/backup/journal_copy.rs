//! Copying the journal while it is written: all whole frames, in the order they were written.
//!
//! A file of the copy ends after its last frame, and its head says that length. A file is let go as soon as
//! it is full and copied, so that the journal takes no more space than without a backup.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::disk::device::{Access, Disk};
use crate::disk::files;
use crate::disk::mapping::{PAGE_BYTES, PageBuffer};
use crate::journal::checkpointer::Pin;
use crate::journal::file;
use crate::journal::frame::{Frame, HEAD_BYTES, Head, MAX_FRAME_BYTES, SECTOR_BYTES, Sector};

use super::contents::FileEntry;
use super::error::BackupError;
use super::file_copy::{FileCopy, at};

/// Pause before the journal is looked at again.
const PAUSE: Duration = Duration::from_millis(5);
/// Bytes read at first: about what is new after a pause. Leases wait for the disk that reads more.
const READ_BYTES: usize = 64 << 10;

/// See the module.
pub(crate) struct JournalCopy<'a> {
    disk: &'a dyn Disk,
    dir: &'a Path,
    root: &'a Path,
    pin: Pin,
    /// The file that is being copied.
    sequence: u64,
    current: Option<Current<'a>>,
    /// The next frame; `None` before the first file was opened.
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
    /// Copies the journal in `dir` from the file on that the pin kept first, into `journal/` below `root`.
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

    /// Copies what is written until `done` is set, and then all that was written before. After an error the
    /// journal goes on without this copy.
    pub(crate) fn follow(&mut self, done: &AtomicBool) -> Result<(), BackupError> {
        loop {
            // Looked at first: what was written before it was set is copied.
            let last = done.load(Ordering::SeqCst);
            if let Err(error) = self.advance() {
                self.pin.keep_from(u64::MAX);
                return Err(error);
            }
            if last {
                return Ok(());
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Copies all that is written.
    fn advance(&mut self) -> Result<(), BackupError> {
        loop {
            // Looked at first: then all of the file is written before its frames are read.
            let closed = self.pin.is_closed(self.sequence);
            if self.pin.is_stopped() {
                return Err(BackupError::Ended);
            }
            let mut current = match self.current.take() {
                Some(current) => current,
                None => self.start_file()?,
            };
            self.copy_frames(&mut current)?;
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
        // Past the page cache, as it is written: a page that was read ahead of the writer would be stale.
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
            let what = format!("it begins with frame {}, {next_frame} was expected", head.first_frame);
            return Err(BackupError::Damaged(path, what));
        }
        let relative = file::path_of(Path::new("journal"), self.sequence).display().to_string();
        let copy = FileCopy::create(self.disk, self.root, relative, HEAD_BYTES as u64)?;
        Ok(Current { source, path, head, position: HEAD_BYTES as u64, copy })
    }

    /// Copies the whole frames from the file's position on.
    fn copy_frames(&mut self, current: &mut Current<'_>) -> Result<(), BackupError> {
        let Current { source, path, head, position, copy } = current;
        let mut next_frame = self.next_frame.unwrap_or(head.first_frame);
        while *position < head.file_bytes {
            // One page first: mostly there is no new frame.
            let page = &mut self.buffer[..PAGE_BYTES];
            source.read_exact_at(page, *position).map_err(at(path))?;
            if !matches!(
                Sector::read(&page[..SECTOR_BYTES], head.file_sequence),
                Sector::Written { index: 0, .. }
            ) {
                break;
            }
            let mut used = 0;
            // All of the buffer if a frame is longer.
            for most in [READ_BYTES, self.buffer.len()] {
                let bytes = (head.file_bytes - *position).min(most as u64) as usize;
                source.read_exact_at(&mut self.buffer[..bytes], *position).map_err(at(path))?;
                while let Some(frame) = Frame::decode(&self.buffer[used..bytes], head.file_sequence) {
                    if frame.head.clean {
                        return Err(BackupError::Ended);
                    }
                    if frame.head.sequence != next_frame {
                        let what = format!("frame {} stands where {next_frame} should", frame.head.sequence);
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

    /// Ends the copy: its files.
    pub(crate) fn finish(mut self) -> Result<Vec<FileEntry>, BackupError> {
        if let Some(current) = self.current.take() {
            self.end(current)?;
        }
        Ok(self.entries)
    }
}
