//! The column of holders of a segment, before it is in use, and what a start finds in it.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::coordinates::{self, Rank};
use crate::disk::device::Disk;
use crate::disk::mapping::{MappedWords, Sharing, WORD_BYTES};
use crate::engine::segment::Segment;
use crate::journal::on_damage::OnDamage;
use crate::state::dirty_blocks::DirtyBlocks;
use crate::state::holder_column::{HolderColumn, HolderId};
use crate::state::number_state::State;
use crate::store::damage::SegmentError;
use crate::store::staging::Staging;
use crate::store::table::word_checksums::Layout;
use crate::store::table::{TableFile, TablePaths};
use crate::sys::parallel;

use super::rebuild::parts;

/// A column whose files are open and verified, and to which the journal may still be replayed.
pub(crate) struct OpenedHolders {
    pub(crate) column: HolderColumn<MappedWords>,
    file: TableFile,
    /// Ranks whose entries differed from what was written. They are zero unless the journal restores them.
    damaged: Vec<Range<Rank>>,
    /// Why the checksums could not be used.
    pub(crate) sums_damage: Option<SegmentError>,
    /// Whether nobody holds anything in it.
    is_new: bool,
}

impl OpenedHolders {
    /// Opens the column of a segment of `len` words. With [`OnDamage::GiveUp`] damaged entries name nobody.
    pub(super) fn open(
        disk: &Arc<dyn Disk>,
        paths: &TablePaths,
        len: u32,
        sharing: Sharing,
        on_damage: OnDamage,
    ) -> Result<Self, SegmentError> {
        let opened = TableFile::open(disk, paths, len, sharing, on_damage, Layout::WithAttempts)?;
        if let (Some(ranks), OnDamage::Refuse) = (opened.damaged.first(), on_damage) {
            let what = format!(
                "the checksum of its sector is wrong; {} of the column's sectors are damaged",
                opened.damaged.len()
            );
            let offset = u64::from(ranks.start.0) * WORD_BYTES;
            return Err(SegmentError::Damaged { path: paths.words.clone(), offset, what });
        }
        let column = HolderColumn::new(opened.words, DirtyBlocks::new(len));
        for rank in opened.damaged.iter().flat_map(coordinates::each) {
            column.entries.reset(rank);
            column.dirty.mark(rank);
        }
        let (file, damaged, sums_damage) = (opened.file, opened.damaged, opened.sums_damage);
        Ok(Self { column, file, damaged, sums_damage, is_new: false })
    }

    /// Creates the files of a column in which nobody holds anything, durably, opened on `disk`. They are moved into place,
    /// as all files of pools are: so the other members of a cluster have them too.
    pub(crate) fn create(
        staging: &Staging,
        disk: &Arc<dyn Disk>,
        paths: &TablePaths,
        len: u32,
        sharing: Sharing,
    ) -> Result<Self, SegmentError> {
        let staged = |path: &Path| staging.path().join(path.file_name().unwrap_or_default());
        let staged = TablePaths { words: staged(&paths.words), sums: staged(&paths.sums) };
        TableFile::create(&*staging.disk, &staged, len)
            .map_err(|error| SegmentError::Io(paths.words.clone(), error))?;
        for (from, to) in [(&staged.words, &paths.words), (&staged.sums, &paths.sums)] {
            disk.rename(from, to).map_err(|error| SegmentError::Io(to.clone(), error))?;
        }
        let opened = Self::open(disk, paths, len, sharing, OnDamage::Refuse)?;
        Ok(Self { is_new: true, ..opened })
    }

    /// Makes the column ready for use.
    pub(crate) fn activate(mut self) -> std::io::Result<(HolderColumn<MappedWords>, TableFile)> {
        let HolderColumn { entries, dirty, .. } = self.column;
        let entries = self.file.activate(entries, &dirty)?;
        let column = HolderColumn::new(entries, dirty);
        if !self.is_new {
            parallel::for_each(parts(column.entries.len()), |ranks| column.find_hints(ranks));
        }
        Ok((column, self.file))
    }

    /// Ranks whose entries differ from what was written.
    pub(crate) fn damaged(&self) -> &[Range<Rank>] {
        &self.damaged
    }
}

/// What a start finds in the columns of a pool.
#[derive(Default)]
pub(crate) struct FoundHolders {
    /// Live leases.
    pub(crate) leases: HashMap<HolderId, u64>,
    /// The largest id, believed or not.
    pub(crate) last: HolderId,
}

impl FoundHolders {
    /// Adds the column of a segment, which nobody changes yet.
    pub(crate) fn add(&mut self, segment: &Segment) {
        let Some(column) = segment.state.holders.get() else { return };
        let of = |ranks: Range<u32>| {
            let mut found = Self::default();
            for rank in ranks.map(Rank) {
                let (generation, holder) = column.raw(rank);
                if holder == HolderId::NOBODY {
                    continue;
                }
                found.last = found.last.max(holder);
                let word = segment.state.words.get(rank);
                if word.state() == State::Leased && word.generation() == generation {
                    *found.leases.entry(holder).or_default() += 1;
                }
            }
            found
        };
        for found in parallel::for_each(parts(segment.state.words.len()), of) {
            self.last = self.last.max(found.last);
            for (holder, leases) in found.leases {
                *self.leases.entry(holder).or_default() += leases;
            }
        }
    }
}
