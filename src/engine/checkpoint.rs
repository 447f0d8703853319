//! The checkpoint: writes changed words to their tables, so that older journal files can be recycled.

use std::io;
use std::path::Path;

use crate::disk::paced;
use crate::disk::paced::Pacer;
use crate::engine::pool::Pool;
use crate::engine::pool::Pools;
use crate::engine::segment::Segment;
use crate::engine::shared::{CHECKPOINT_SLOT, Shared};
use crate::store::{holders_file, idempotency_file};
use crate::sys::slot::Slot;

/// Writes the keys, the names of holders and the changes of lists to their files, and all changed words to their tables.
/// The older journal files are not needed afterwards.
pub(crate) fn checkpoint(
    shared: &Shared,
    pools: &Pools,
    data_dir: &Path,
    rest: &paced::Pacer<'_>,
) -> io::Result<()> {
    // The keys first: their file needs space, and a full disk then shows before any work is done. An entry is complete before
    // its records are pushed. So either the key is seen here, or its records are pushed after the older files were closed.
    let keys = shared.keys.records();
    idempotency_file::write(&*shared.disk, &idempotency_file::path_in(data_dir), &keys, rest)?;
    // As with the keys: a name is known before its record is pushed.
    let mut names = Vec::new();
    for pool in pools.values() {
        pool.holders.records(pool.id(), &mut names);
    }
    holders_file::write(&*shared.disk, &holders_file::path_in(data_dir), &names, rest)?;
    // A change of a list is in memory before its record is pushed, as that of a word is.
    shared.lists.checkpoint(shared, rest)?;
    pools.values().try_for_each(|pool| pool.checkpoint(CHECKPOINT_SLOT, rest))
}

impl Pool {
    /// Writes all words that changed to their files, durably. `slot` is the calling thread's.
    pub(crate) fn checkpoint(&self, slot: Slot, rest: &Pacer<'_>) -> std::io::Result<()> {
        let move_ranks = |source: &Segment, ranks| self.move_ranks(source, &ranks, slot);
        self.segments.load().list.iter().try_for_each(|segment| segment.checkpoint(rest, &move_ranks))
    }
}
