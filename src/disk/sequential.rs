//! Writes a file from its beginning through a [`Disk`].

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};

use super::device::Disk;
use super::paced::PartSyncs;

/// A file as a [`Write`]; wrap it in a `BufWriter`. It is synced regularly, so that little is on its way to
/// the disk at any time.
#[derive(Debug)]
pub struct SequentialWriter<'a> {
    disk: &'a dyn Disk,
    file: &'a File,
    position: u64,
    syncs: PartSyncs,
}

impl<'a> SequentialWriter<'a> {
    /// Starts at the file's beginning.
    pub fn new(disk: &'a dyn Disk, file: &'a File) -> Self {
        Self { disk, file, position: 0, syncs: PartSyncs::default() }
    }
}

impl Write for SequentialWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.disk.write_at(self.file, bytes, self.position)?;
        self.position += bytes.len() as u64;
        self.syncs.wrote(self.disk, self.file, bytes.len())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for SequentialWriter<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.file.metadata()?.len().checked_add_signed(by),
        };
        self.position = target.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}
