//! A disk that says it synced and did not: what the power-loss tests must catch. Not in release builds.

use std::fs::File;
use std::io;
use std::path::Path;

use super::device::{Access, Disk, RealDisk};
use super::mapping::MappedWords;

/// Set to 1, a daemon of a debug build never syncs.
pub const SKIP_SYNC_VARIABLE: &str = "ALLOTD_TEST_SKIP_SYNC";

/// See the module.
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
