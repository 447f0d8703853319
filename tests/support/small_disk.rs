//! A small file system of its own, for tests of a full disk.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

/// A file system in memory, unmounted when it is dropped.
pub(crate) struct SmallDisk {
    pub(crate) path: PathBuf,
    _directory: tempfile::TempDir,
}

impl SmallDisk {
    /// A file system of `bytes` bytes; `None`, with the reason printed, if this process may not mount one.
    pub(crate) fn mount(bytes: u64) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("disk");
        fs::create_dir(&path).unwrap();
        let size = format!("size={bytes}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&path).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self { path, _directory: directory }),
            refused => {
                println!("SKIPPED: a file system cannot be mounted here, run as root: {refused:?}");
                None
            }
        }
    }

    /// Fills it to the last byte but `spare`, by a file that can be removed.
    pub(crate) fn fill(&self, spare: u64) -> PathBuf {
        let path = self.path.join("ballast");
        let mut file = File::create(&path).unwrap();
        while file.write_all(&[1; 4096]).is_ok() {}
        let length = file.metadata().unwrap().len();
        file.set_len(length.saturating_sub(spare)).unwrap();
        // What is still being written keeps its space for a moment after the file is removed.
        file.sync_all().unwrap();
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.path).status();
        if !std::thread::panicking() {
            assert!(unmounted.unwrap().success());
        }
    }
}
