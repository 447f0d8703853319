//! A disk that reports a sync without doing it, which the power-loss tests must catch. Not in release builds.

use std::fs::File;
use std::io;
use std::path::Path;

use super::device::{Access, Disk, RealDisk};
use super::mapping::MappedWords;

/// The environment variable that, set to 1, keeps a daemon of a debug build from syncing.
pub const SKIP_SYNC_VARIABLE: &str = "ALLOTD_TEST_SKIP_SYNC";

/// The machine's disk without syncs.
#[derive(Debug, Clone, Copy)]
pub struct UnsyncedDisk;

impl Disk for UnsyncedDisk {
    fn open(&self, path: &Path, _access: Access) -> io::Result<File> {
        RealDisk.open(path, Access::Buffered)
    }

    fn sync(&self, _file: &File) -> io::Result<()> {
        Ok(())
    }

    fn flush(&self, _words: &MappedWords) -> io::Result<()> {
        Ok(())
    }

    fn sync_directory(&self, _directory: &Path) -> io::Result<()> {
        Ok(())
    }
}
