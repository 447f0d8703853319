//! What all pools together may use: numbers, space of the disk, file descriptors. Whoever would use more is
//! refused before anything is changed, with what to do.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::disk::space::{self, DiskSpace};
use crate::sys::descriptors;

/// The part of the disk that imports, new pools and backups leave free, in percent.
pub const FREE_SPACE_PERCENT: u64 = 5;
/// That part is at most this, in bytes: of a large disk it would be more than the daemon can need.
pub const MAX_FREE_SPACE_BYTES: u64 = 4 << 30;
/// They also leave free as much as this many journal files take.
pub const FREE_JOURNAL_FILES: u64 = 4;
/// Descriptors of a segment, which stay open: its number set and its words.
const SEGMENT_DESCRIPTORS: usize = 2;
const BYTES_PER_MIB: u64 = 1 << 20;

/// What would be used beyond its limit.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BudgetError {
    /// Numbers.
    #[error(
        "all pools together may have {limit} numbers (--max-numbers) and have {used}: delete a pool, add fewer, or \
         raise the limit"
    )]
    Numbers {
        /// How many there may be.
        limit: u64,
        /// How many there are.
        used: u64,
    },
    /// Space of the disk.
    #[error(
        "the disk has {} MiB free, and {} MiB are kept for changes of the pools: free some space and try again",
        free_bytes / BYTES_PER_MIB,
        floor_bytes / BYTES_PER_MIB
    )]
    Space {
        /// The space that is free.
        free_bytes: u64,
        /// The space that has to stay free.
        floor_bytes: u64,
    },
    /// File descriptors.
    #[error(
        "the daemon has too few file descriptors left for another part of a pool: raise its limit on open files \
         (LimitNOFILE=, ulimit -n) or lower --max-connections, and try again"
    )]
    Descriptors,
}

/// The budgets of one engine.
#[derive(Debug)]
pub(crate) struct Budgets {
    max_numbers: u64,
    numbers: AtomicU64,
    /// A directory on the data's disk.
    place: PathBuf,
    journal_bytes: u64,
}

/// How many of the numbers are those of one pool. `None` once it is deleted. A deletion gives back what stands here, and not
/// what the pool counts: an addition that it meets may have counted its numbers and still be refused.
#[derive(Debug)]
pub(crate) struct PoolAccount(Mutex<Option<u64>>);

impl PoolAccount {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Some(0)))
    }

    fn lock(&self) -> MutexGuard<'_, Option<u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Numbers that are being added. What is not kept is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Reserved<'a> {
    budgets: &'a Budgets,
    numbers: u64,
}

impl Budgets {
    pub(crate) fn new(max_numbers: Option<u64>, place: &Path, journal_file_bytes: u64) -> Self {
        Self {
            max_numbers: max_numbers.unwrap_or(u64::MAX),
            numbers: AtomicU64::new(0),
            place: place.to_owned(),
            journal_bytes: journal_file_bytes * FREE_JOURNAL_FILES,
        }
    }

    /// Counts numbers that a pool has already, whatever the limit is.
    pub(crate) fn count(&self, numbers: u64, pool: &PoolAccount) {
        self.numbers.fetch_add(numbers, Ordering::Relaxed);
        *pool.lock() = Some(numbers);
    }

    /// Gives back all that a pool has. What is added to it from now on is given back too.
    pub(crate) fn close(&self, pool: &PoolAccount) {
        let numbers = pool.lock().take();
        self.give_back(numbers.unwrap_or(0));
    }

    fn give_back(&self, numbers: u64) {
        self.numbers.fetch_sub(numbers, Ordering::Relaxed);
    }

    /// Reserves numbers that are to be added.
    pub(crate) fn reserve(&self, numbers: u64) -> Result<Reserved<'_>, BudgetError> {
        let limit = self.max_numbers;
        self.numbers
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(numbers).filter(|sum| *sum <= limit || numbers == 0)
            })
            .map(|_| Reserved { budgets: self, numbers })
            .map_err(|used| BudgetError::Numbers { limit, used })
    }

    /// Checks that the disk has space beyond what is kept free.
    pub(crate) fn check_space(&self) -> Result<(), BudgetError> {
        // If the system does not report its space, the writes themselves find out.
        space::space_of(&self.place).map_or(Ok(()), |space| check(space, self.journal_bytes))
    }

    /// Checks that there are descriptors for another segment beyond those that the daemon's own files need.
    pub(crate) fn check_descriptors() -> Result<(), BudgetError> {
        if descriptors::are_free(SEGMENT_DESCRIPTORS) { Ok(()) } else { Err(BudgetError::Descriptors) }
    }
}

/// Checks the space of a disk on which at least `least_bytes` stay free.
pub(crate) fn check(space: DiskSpace, least_bytes: u64) -> Result<(), BudgetError> {
    let DiskSpace { free_bytes, total_bytes } = space;
    let part_bytes = (total_bytes / 100 * FREE_SPACE_PERCENT).min(MAX_FREE_SPACE_BYTES);
    let floor_bytes = least_bytes.max(part_bytes);
    if free_bytes < floor_bytes { Err(BudgetError::Space { free_bytes, floor_bytes }) } else { Ok(()) }
}

impl Reserved<'_> {
    /// Keeps this many, which have been added to a pool.
    pub(crate) fn keep(mut self, numbers: u64, pool: &PoolAccount) {
        if let Some(kept) = &mut *pool.lock() {
            let numbers = numbers.min(self.numbers);
            *kept += numbers;
            self.numbers -= numbers;
        }
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        self.budgets.give_back(self.numbers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_are_not_added_are_given_back() {
        let budgets = Budgets::new(Some(10), Path::new("/"), 0);
        let (a, b) = (PoolAccount::new(), PoolAccount::new());
        budgets.count(4, &a);
        let reserved = budgets.reserve(6).unwrap();
        assert_eq!(budgets.reserve(1).unwrap_err(), BudgetError::Numbers { limit: 10, used: 10 });
        reserved.keep(2, &a);
        assert!(budgets.reserve(5).is_err());
        budgets.reserve(4).unwrap().keep(4, &b);
        assert!(budgets.reserve(1).is_err() && budgets.reserve(0).is_ok());
        budgets.close(&b);
        assert!(budgets.reserve(5).is_err() && budgets.reserve(4).is_ok());
        budgets.close(&a);
        assert!(budgets.reserve(10).is_ok());
    }

    #[test]
    fn what_is_added_to_a_deleted_pool_is_given_back_once() {
        let budgets = Budgets::new(Some(10), Path::new("/"), 0);
        let pool = PoolAccount::new();
        budgets.count(4, &pool);
        let (added, refused) = (budgets.reserve(3).unwrap(), budgets.reserve(3).unwrap());
        budgets.close(&pool);
        added.keep(3, &pool);
        drop(refused);
        budgets.close(&pool);
        assert_eq!(budgets.reserve(11).unwrap_err(), BudgetError::Numbers { limit: 10, used: 0 });
    }

    #[test]
    fn a_part_of_the_disk_and_the_journal_stay_free() {
        let space = |free_bytes| DiskSpace { free_bytes, total_bytes: 1_000_000 };
        assert!(check(space(50_000), 0).is_ok() && check(space(49_999), 0).is_err());
        assert!(check(space(70_000), 70_000).is_ok() && check(space(69_999), 70_000).is_err());
        let large = |free_bytes| DiskSpace { free_bytes, total_bytes: 1 << 40 };
        assert!(check(large(4 << 30), 0).is_ok() && check(large((4 << 30) - 1), 0).is_err());
    }
}
