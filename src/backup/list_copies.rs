//! Copies the lists into a backup.

use std::path::Path;
use std::sync::Arc;

use crate::disk::device::Disk;
use crate::domain::list_name::ListName;
use crate::engine::lists::list::{List, Snapshot};
use crate::store::list_files::{self, CHANGES_FILE, LIST_FILE};

use super::contents::FileEntry;
use super::error::BackupError;
use super::file_copy::{self, at};

/// What the lists hold now. They may be newer than the journal's copy, but are never older: of two changes at a
/// number the later one counts.
pub(super) fn snapshots(lists: &[Arc<List>]) -> Vec<(ListName, Snapshot)> {
    lists.iter().map(|list| (list.name(), list.snapshot())).collect()
}

/// Writes the files of lists.
pub(super) fn write(
    disk: &dyn Disk,
    root: &Path,
    lists: &[(ListName, Snapshot)],
) -> Result<Vec<FileEntry>, BackupError> {
    let mut files = Vec::new();
    if lists.is_empty() {
        return Ok(files);
    }
    let lists_dir = root.join("lists");
    for (name, snapshot) in lists {
        let dir = lists_dir.join(name.as_str());
        disk.create_directories(&dir).map_err(at(&dir))?;
        let relative = |file: &str| format!("lists/{name}/{file}");
        // From the mapping: the file may be gone if the set was exchanged or the list deleted meanwhile.
        if let Some((entry, bytes)) = snapshot.set_bytes() {
            let path = list_files::set_path(Path::new(""), entry.file);
            let copied = file_copy::whole(disk, root, relative(&path.to_string_lossy()), bytes)?;
            if (copied.crc32c, copied.bytes) != (entry.crc32c, entry.bytes) {
                let what = format!("its checksum is not the one in {LIST_FILE}");
                return Err(BackupError::Damaged(copied.path_in(root), what));
            }
            files.push(copied);
        }
        let records = snapshot.records();
        if !records.is_empty() {
            let content = list_files::changes_content(snapshot.manifest.id(), &records);
            files.push(file_copy::whole(disk, root, relative(CHANGES_FILE), &content)?);
        }
        let content = snapshot.manifest.content().map_err(at(&dir))?;
        files.push(file_copy::whole(disk, root, relative(LIST_FILE), content.as_bytes())?);
        disk.sync_directory(&dir).map_err(at(&dir))?;
    }
    disk.sync_directory(&lists_dir).map_err(at(&lists_dir))?;
    Ok(files)
}
