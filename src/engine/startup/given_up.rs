//! The numbers whose state is lost, when damage is given up: in a file, and on a list of their own.
//!
//! They are retired. The file is written before anything changes, so that it is there whatever happens then.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::coordinates::Rank;
use crate::disk::device::Disk;
use crate::disk::files;
use crate::domain::list_name::{ListName, MAX_LIST_NAME_BYTES};
use crate::domain::settings::PoolName;
use crate::engine::lists::operations::{ListChange, ListError};
use crate::engine::operations::import::NumberSource;
use crate::engine::registry::Engine;
use crate::numbers::number::{Number, NumberRange};
use crate::state::time::Timestamp;
use crate::store::data_dir;
use crate::store::open_error::OpenError;

/// What the name of a list begins with; that of the pool follows.
const LIST_PREFIX: &str = "given-up-";

/// The numbers of ranks that ascend, as ranges. Those without a number are left out.
pub(crate) fn ranges(ranks: &[Rank], number: impl Fn(Rank) -> Option<Number>) -> Vec<NumberRange> {
    let mut numbers: Vec<Number> = ranks.iter().filter_map(|rank| number(*rank)).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let runs = numbers.chunk_by(|one, next| one.get() + 1 == next.get());
    runs.filter_map(|run| NumberRange::new(*run.first()?, *run.last()?).ok()).collect()
}

/// Writes the numbers of a pool to a file of their own, durably. Returns its path.
pub(super) fn write(
    disk: &dyn Disk,
    data_dir: &Path,
    pool: &PoolName,
    now: Timestamp,
    numbers: &[NumberRange],
) -> Result<PathBuf, OpenError> {
    let dir = data_dir::given_up_dir(data_dir);
    let path = dir.join(format!("{pool}-{}.csv", now.to_string().replace(':', "-")));
    let mut text = "first,last\n".to_owned();
    for range in numbers {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{},{}", range.first().get(), range.last().get());
    }
    let written = disk
        .create_directories(&dir)
        .and_then(|()| files::sync_parent(disk, &dir))
        .and_then(|()| files::replace_file(disk, &path, text.as_bytes()));
    written.map_err(|error| OpenError::Io(path.clone(), error))?;
    Ok(path)
}

impl Engine {
    /// Puts the numbers that opening has given up on a list for each pool, which is made if it does not exist.
    /// Returns the lists.
    pub(crate) fn list_given_up(&self) -> Result<Vec<ListName>, ListError> {
        let mut lists = Vec::new();
        for (pool, numbers) in &self.report().given_up_numbers {
            let mut name = format!("{LIST_PREFIX}{pool}");
            // Names of pools are of one byte a character.
            name.truncate(MAX_LIST_NAME_BYTES);
            let Ok(name) = name.parse() else { continue };
            match self.create_list(name, Some(NumberSource::Ranges(numbers))) {
                Err(ListError::Exists(_)) => {
                    self.change_list(name, ListChange::Add, NumberSource::Ranges(numbers), false)?;
                }
                made => drop(made?),
            }
            lists.push(name);
        }
        Ok(lists)
    }
}
