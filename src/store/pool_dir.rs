//! The directories of pools: the files of segments, stray files, hidden directories.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::coordinates::SegmentId;
use crate::disk::device::Disk;
use crate::domain::settings::PoolName;

use super::manifest::{MANIFEST_FILE, Manifest, SegmentEntry};
use super::table::TablePaths;

/// Removes files of segments whose addition failed or was interrupted.
pub(crate) fn remove_strays(disk: &dyn Disk, dir: &Path, manifest: &Manifest) -> io::Result<()> {
    let mut known = BTreeSet::from([dir.join(MANIFEST_FILE)]);
    for entry in &manifest.segments {
        let paths = SegmentPaths::of(dir, entry);
        known.extend(paths.all().into_iter().cloned());
        // Its words, if they are to be renamed yet.
        known.insert(paths.table.upgraded());
        if manifest.settings.holders {
            known.extend(paths.of_holders().into_iter().cloned());
        }
    }
    known.extend(manifest.zones.map(|zones| zones.path_in(dir)));
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if is_ours(&path) && !known.contains(&path) {
            disk.remove_file(&path)?;
        }
    }
    Ok(())
}

/// The extensions of the files in a pool's directory.
const OUR_KINDS: [&str; 9] =
    ["numbers", "growing", "words", "upgraded", "sums", "holders", "holder-sums", "zones", "new"];

/// Whether a file in a pool's directory has a name that this program uses.
pub(crate) fn is_ours(path: &Path) -> bool {
    path.extension().is_some_and(|kind| OUR_KINDS.iter().any(|ours| kind == *ours))
}

/// The paths of a segment's files.
#[derive(Debug, Clone)]
pub(crate) struct SegmentPaths {
    pub(crate) set: PathBuf,
    pub(crate) table: TablePaths,
    /// The column of holders, in a pool that tracks them.
    pub(crate) holders: TablePaths,
}

impl SegmentPaths {
    /// The paths of a segment in a pool's directory.
    pub(crate) fn of(pool_dir: &Path, entry: &SegmentEntry) -> Self {
        if entry.capacity > 0 { Self::growing(pool_dir, entry.id) } else { Self::new(pool_dir, entry.id) }
    }

    /// The paths of the sorted segment `id` in a pool's directory.
    pub(crate) fn new(pool_dir: &Path, id: SegmentId) -> Self {
        Self::with_set(pool_dir, id, "numbers")
    }

    /// The paths of the segment `id`, which grows.
    pub(crate) fn growing(pool_dir: &Path, id: SegmentId) -> Self {
        Self::with_set(pool_dir, id, "growing")
    }

    fn with_set(pool_dir: &Path, id: SegmentId, set: &str) -> Self {
        let path = |kind: &str| pool_dir.join(format!("{id:04}.{kind}"));
        Self {
            set: path(set),
            table: TablePaths { words: path("words"), sums: path("sums") },
            holders: TablePaths { words: path("holders"), sums: path("holder-sums") },
        }
    }

    /// The paths of the column of holders.
    pub(crate) fn of_holders(&self) -> [&PathBuf; 2] {
        [&self.holders.words, &self.holders.sums]
    }

    /// The paths that every segment has.
    pub(crate) fn all(&self) -> [&PathBuf; 3] {
        [&self.set, &self.table.words, &self.table.sums]
    }
}
/// Prefix of a deleted pool's directory. No pool's name can begin with it.
pub(crate) const HIDDEN_PREFIX: &str = ".deleted-";

/// Removes what is left of deleted pools.
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
