//! `totals-0` and `totals-1`: what the pools have counted since they were created.
//!
//! Each file has two lines: a checksum of the second, as in `pool.toml`, and the totals as JSON. Anything
//! after them is left over from a longer text.
//!
//! At any time one of the files is durable. The other is written every second without a sync, which survives
//! the process. Of the intact files the one with the larger sequence is used: a killed process loses at most
//! a second of totals, a power loss half a minute.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::disk::device::{Access, Disk};
use crate::disk::files;
use crate::domain::counts::Totals;
use crate::sys::sync::{Instant, Mutex};

use super::checksummed_text::{with_checksum, without_checksum};

/// Version of the files.
const FORMAT: u32 = 1;
/// The first of the files; a backup has only this one.
pub(crate) const FIRST_FILE: &str = "totals-0";
const SECOND_FILE: &str = "totals-1";
/// The names of both.
pub(crate) const TOTALS_FILES: [&str; 2] = [FIRST_FILE, SECOND_FILE];
/// Maximum length of a file.
const MAX_BYTES: u64 = 1 << 30;
/// How often a write is made durable.
const SYNC_INTERVAL: Duration = Duration::from_secs(30);

/// The totals of one pool.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct PoolTotals {
    #[serde(flatten)]
    pub(crate) totals: Totals,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) returns_by_outcome: BTreeMap<String, u64>,
}

/// The totals of all pools, by their ids.
pub(crate) type AllTotals = BTreeMap<u64, PoolTotals>;

#[derive(Debug, Serialize, Deserialize)]
struct Content<T> {
    format: u32,
    sequence: u64,
    pools: T,
}

/// The two files of totals.
pub(crate) struct TotalsFile {
    disk: Arc<dyn Disk>,
    paths: [PathBuf; 2],
    written: Mutex<Written>,
}

struct Written {
    sequence: u64,
    /// The index of the file that is written next.
    live: usize,
    /// The open files, so that saving needs no descriptor.
    open: [Option<File>; 2],
    /// When the other file was made durable.
    synced_at: Instant,
    totals: AllTotals,
}

impl TotalsFile {
    /// The files of a data directory, and their totals; empty if no file is intact.
    pub(crate) fn open(disk: Arc<dyn Disk>, data_dir: &Path) -> (Self, AllTotals) {
        let paths = TOTALS_FILES.map(|name| data_dir.join(name));
        let whole = [0, 1].into_iter().filter_map(|index| Some((read(&paths[index])?, index)));
        let latest = whole.max_by_key(|(found, _)| found.sequence);
        let mut open = [None, None];
        let (sequence, live, totals) = match latest {
            Some((latest, index)) => {
                // Before the other file is overwritten. A failure can only lose totals.
                if let Ok(file) = disk.open(&paths[index], Access::Buffered) {
                    let _ = disk.sync(&file);
                    open[index] = Some(file);
                }
                (latest.sequence, index ^ 1, latest.pools)
            }
            None => (0, 0, AllTotals::new()),
        };
        let written = Written { sequence, live, open, synced_at: Instant::now(), totals: totals.clone() };
        (Self { disk, paths, written: Mutex::new(written) }, totals)
    }

    /// Writes the totals if they changed. Makes them durable if `durably`, or every [`SYNC_INTERVAL`]. After
    /// an error it can be called again.
    pub(crate) fn write(&self, totals: AllTotals, durably: bool) -> io::Result<()> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let written = &mut *written;
        let changed = totals != written.totals;
        if !changed && !durably {
            return Ok(());
        }
        let sequence = written.sequence + 1;
        let live = written.live;
        let file = match &written.open[live] {
            Some(file) => file,
            None => written.open[live].insert(open_or_create(&*self.disk, &self.paths[live])?),
        };
        self.disk.write_at(file, content(sequence, &totals)?.as_bytes(), 0)?;
        written.sequence = sequence;
        written.totals = totals;
        if durably || written.synced_at.elapsed() >= SYNC_INTERVAL {
            self.disk.sync(file)?;
            written.synced_at = Instant::now();
            written.live ^= 1;
        }
        Ok(())
    }
}

/// Opens a file of totals, or creates it, durably.
fn open_or_create(disk: &dyn Disk, path: &Path) -> io::Result<File> {
    match disk.open(path, Access::Buffered) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let file = disk.create(path)?;
            files::sync_parent(disk, path)?;
            Ok(file)
        }
        opened => opened,
    }
}

/// A file's content.
pub(crate) fn content(sequence: u64, totals: &AllTotals) -> io::Result<String> {
    let json = serde_json::to_string(&Content { format: FORMAT, sequence, pools: totals });
    Ok(with_checksum(&(json.map_err(io::Error::other)? + "\n")))
}

fn read(path: &Path) -> Option<Content<AllTotals>> {
    let bytes = files::read_small_file(path, MAX_BYTES).ok()?;
    let line_ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at);
    let text = std::str::from_utf8(&bytes[..=line_ends.take(2).last()?]).ok()?;
    let found: Content<AllTotals> = serde_json::from_str(without_checksum(text).ok()?).ok()?;
    (found.format == FORMAT).then_some(found)
}

#[cfg(test)]
mod tests {
    use crate::disk::device::RealDisk;

    use super::*;

    fn totals(leases: u64) -> AllTotals {
        let totals = Totals { leases, ..Totals::default() };
        let returns_by_outcome = BTreeMap::from([("сброс".to_owned(), leases)]);
        AllTotals::from([(u64::MAX, PoolTotals { totals, returns_by_outcome })])
    }

    #[test]
    fn the_latest_whole_file_counts() {
        let dir = tempfile::tempdir().unwrap();
        let open = || TotalsFile::open(Arc::new(RealDisk), dir.path());
        let (file, found) = open();
        assert!(found.is_empty());
        file.write(totals(123_456), true).unwrap();
        file.write(totals(2), false).unwrap();
        file.write(totals(3), false).unwrap();
        let (file, found) = open();
        assert_eq!(found, totals(3));
        // Torn: the durable one counts.
        let [durable, live] = &file.paths;
        let whole = std::fs::read(live).unwrap();
        for cut in 0..whole.len() - 1 {
            std::fs::write(live, &whole[..cut]).unwrap();
            assert_eq!(open().1, totals(123_456), "cut at {cut}");
        }
        // A shorter text over a longer one.
        std::fs::write(live, [&whole[..], b"rest of what was there\n\xff"].concat()).unwrap();
        assert_eq!(open().1, totals(3));
        file.write(totals(4), true).unwrap();
        std::fs::remove_file(live).unwrap();
        assert_eq!(open().1, totals(4));
        std::fs::remove_file(durable).unwrap();
        assert!(open().1.is_empty());
    }
}
