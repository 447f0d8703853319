//! Writes records that come from another machine's log as frames of the journal, for the next start to recover.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::device::{Access, Disk};
use crate::disk::mapping::{PAGE_BYTES, PageBuffer};

use super::file::{self, JournalFile};
use super::frame::{FrameHead, Head, MAX_FRAME_BYTES, MAX_FRAME_RECORDS, frame_bytes, put_encoded};
use super::on_damage::OnDamage;
use super::record::RECORD_BYTES;
use super::recovery::{self, RecoveryError};
use super::running::MIN_FILE_BYTES;

/// The frames belong to no boot of this machine: their time is that of the log.
const NO_BOOT: [u8; 16] = [0; 16];

/// A file of the journal that records are written to as they arrive.
pub struct ReceivedFrames {
    file: JournalFile,
    next_frame: u64,
    /// All frames below this one are durable.
    durable_below: u64,
    buffer: PageBuffer,
}

/// Why records cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// The journal so far cannot be read.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// A file cannot be written.
    #[error("{0}: {1}")]
    Io(PathBuf, #[source] io::Error),
}

impl ReceivedFrames {
    /// Begins a file after those that the directory has, of `file_bytes` bytes.
    pub fn begin(disk: &Arc<dyn Disk>, dir: &Path, file_bytes: u64) -> Result<Self, ReceiveError> {
        let journaled = recovery::scan(dir, OnDamage::Refuse)?.into_recovered();
        Self::after(disk, dir, file_bytes, journaled.files.last().copied(), journaled.next_frame.max(1))
            .map_err(|error| ReceiveError::Io(dir.to_owned(), error))
    }

    fn after(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        file_bytes: u64,
        last_file: Option<u64>,
        next_frame: u64,
    ) -> io::Result<Self> {
        let file_bytes = file_bytes.max(MIN_FILE_BYTES).next_multiple_of(PAGE_BYTES as u64);
        let spare = match file::spares(&**disk, dir, file_bytes)?.pop() {
            Some(spare) => spare,
            None => file::make_spare(&**disk, dir, file_bytes, &|_| ())?,
        };
        let file_sequence = last_file.map_or(1, |last| last + 1);
        let head = Head { file_sequence, first_frame: next_frame, boot_id: NO_BOOT, file_bytes };
        let file = JournalFile::start(Arc::clone(disk), dir, &spare, &head, Access::Buffered)?;
        let buffer = PageBuffer::new(MAX_FRAME_BYTES)?;
        Ok(Self { file, next_frame, durable_below: next_frame, buffer })
    }

    /// Whether the file has room for a frame of this many records.
    pub fn has_room(&self, records: usize) -> bool {
        self.file.free_bytes() >= (frame_bytes(records.min(MAX_FRAME_RECORDS)) + PAGE_BYTES) as u64
    }

    /// Writes the records of one entry, and the time that it was made at, in nanoseconds since 2020. At most
    /// [`MAX_FRAME_RECORDS`].
    pub fn append(&mut self, records: &[[u8; RECORD_BYTES]], time_nanos: u64) -> io::Result<()> {
        for (index, record) in records.iter().enumerate() {
            put_encoded(&mut self.buffer, index, record);
        }
        let head = FrameHead {
            file_sequence: self.file.sequence,
            sequence: self.next_frame,
            durable_below: self.durable_below,
            epoch: 0,
            time_nanos,
            boot_nanos: 0,
            records: records.len() as u32,
            clean: false,
        };
        let bytes = head.seal(&mut self.buffer);
        self.file.append(&self.buffer[..bytes])?;
        self.next_frame += 1;
        Ok(())
    }

    /// Makes all frames durable.
    pub fn sync(&mut self) -> io::Result<()> {
        self.file.sync()?;
        self.durable_below = self.next_frame;
        Ok(())
    }
}

#[cfg(test)]
#[cfg(not(allotd_loom))]
mod tests {
    use super::*;
    use crate::disk::files;
    use crate::journal::record::{Record, RoundRecord};

    fn record(round: u32) -> Record {
        Record::Round(RoundRecord { pool: 7, round })
    }

    #[test]
    fn what_was_received_is_recovered_in_order_over_two_files() {
        let dir = tempfile::tempdir().unwrap();
        let disk = files::real();
        for part in 0..2 {
            let mut frames = ReceivedFrames::begin(&disk, dir.path(), 0).unwrap();
            for round in 1..4 {
                frames.append(&[record(part * 10 + round).encode()], u64::from(round)).unwrap();
            }
            frames.sync().unwrap();
        }
        let mut found = Vec::new();
        let read = recovery::read(dir.path(), OnDamage::Refuse, &mut |_, record| found.push(*record));
        assert_eq!(read.unwrap().frames, 6);
        assert_eq!(found, [1, 2, 3, 11, 12, 13].map(record));
    }
}
