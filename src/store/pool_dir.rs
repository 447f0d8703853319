//! The directory of a pool: the names of its segments' files, hidden directories, what does not belong there.

use crate::coordinates::SegmentId;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::disk::device::Disk;
use crate::domain::settings::PoolName;

use super::manifest::{MANIFEST_FILE, Manifest};
use super::table::TablePaths;

/// Removes files of segments that were being added when the daemon ended, or when that failed.
pub(crate) fn remove_strays(disk: &dyn Disk, dir: &Path, manifest: &Manifest) -> io::Result<()> {
    let mut known = BTreeSet::from([dir.join(MANIFEST_FILE)]);
    for entry in &manifest.segments {
        known.extend(SegmentPaths::new(dir, entry.id).all().into_iter().cloned());
    }
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if is_ours(&path) && !known.contains(&path) {
            disk.remove_file(&path)?;
        }
    }
    Ok(())
}

/// Whether a file of a pool's directory is one that this program makes.
pub(crate) fn is_ours(path: &Path) -> bool {
    path.extension().is_some_and(|kind| ["numbers", "words", "sums", "new"].iter().any(|ours| kind == *ours))
}

/// Where the files of a segment are.
#[derive(Debug, Clone)]
pub(crate) struct SegmentPaths {
    pub(crate) set: PathBuf,
    pub(crate) table: TablePaths,
}

impl SegmentPaths {
    /// The files of segment `id` in a pool's directory.
    pub(crate) fn new(pool_dir: &Path, id: SegmentId) -> Self {
        let path = |kind: &str| pool_dir.join(format!("{id:04}.{kind}"));
        Self { set: path("numbers"), table: TablePaths { words: path("words"), sums: path("sums") } }
    }

    /// All of them.
    pub(crate) fn all(&self) -> [&PathBuf; 3] {
        [&self.set, &self.table.words, &self.table.sums]
    }
}
/// The directory of a pool that was deleted begins with this, which no pool's name does.
pub(crate) const HIDDEN_PREFIX: &str = ".deleted-";

/// Removes what is left of pools that were deleted.
pub(crate) fn remove_hidden(disk: &dyn Disk, pools_dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(pools_dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(HIDDEN_PREFIX) {
            disk.remove_directory(&entry.path())?;
        }
    }
    Ok(())
}

/// The names and directories of all pools.
pub(crate) fn pool_dirs(pools_dir: &Path) -> io::Result<Vec<(PoolName, PathBuf)>> {
    let mut dirs = Vec::new();
    for entry in fs::read_dir(pools_dir)? {
        let entry = entry?;
        if let Some(name) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
            dirs.push((name, entry.path()));
        }
    }
    dirs.sort();
    Ok(dirs)
}
