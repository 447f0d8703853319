//! The checkpoint: what the older journal files hold is written to the tables, so that they can be recycled.

use std::io;
use std::path::Path;

use crate::disk::paced;
use crate::engine::pool::Pools;
use crate::engine::shared::Shared;
use crate::store::idempotency_file;

/// Writes all words that changed to their tables, and the keys to their file: after this the older journal
/// files are not needed.
pub(crate) fn checkpoint(
    shared: &Shared,
    pools: &Pools,
    data_dir: &Path,
    rest: &paced::Pacer<'_>,
) -> io::Result<()> {
    pools.values().try_for_each(|pool| pool.checkpoint(rest))?;
    // A key that is being used now holds its lock until its records are pushed: either it is seen here, or
    // it is used after the older files were closed.
    let keys = shared.keys.records(shared.clock.now());
    idempotency_file::write(&*shared.disk, &idempotency_file::path_in(data_dir), &keys)
}
