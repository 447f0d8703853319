//! The report of opening a data directory.

use std::fmt;
use std::path::PathBuf;

use crate::domain::settings::PoolName;
use crate::journal::recovery::Recovered;
use crate::numbers::number::NumberRange;
use crate::state::time::Timestamp;

/// What opening a data directory found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// What was read from the journal.
    pub journal: Recovered,
    /// Records of deleted pools.
    pub records_of_deleted_pools: u64,
    /// Words that were newer in the journal than in their tables.
    pub words_changed: u64,
    /// Records that do not fit their segment, which were ignored.
    pub records_refused: u64,
    /// Numbers whose state is lost, by pool. They are retired.
    pub given_up: Vec<(PoolName, u64)>,
    /// Which these are.
    pub given_up_numbers: Vec<(PoolName, Vec<NumberRange>)>,
    /// The files that name them.
    pub given_up_files: Vec<PathBuf>,
    /// Numbers whose words were damaged and restored from the journal, by pool.
    pub repaired: Vec<(PoolName, u64)>,
    /// Pools that are paused because leases in a lost part of the journal may be live.
    pub paused: Vec<PoolName>,
    /// Pools of a restored backup that are paused until the leases after it have ended, and until when.
    pub restored: Vec<(PoolName, Timestamp)>,
    /// Damaged checksums that were rebuilt, as messages. Their words are used unverified.
    pub checksums_renewed: Vec<String>,
    /// Numbers of which it is not known any more who held them, unless the journal says so, by pool.
    pub holders_lost: Vec<(PoolName, u64)>,
}

impl OpenReport {
    /// Whether nothing was lost, repaired or used unverified.
    pub fn is_whole(&self) -> bool {
        let damage = [self.journal.damage.len(), self.given_up.len(), self.repaired.len(), self.paused.len()];
        let others = self.checksums_renewed.len() + self.holders_lost.len();
        damage.iter().sum::<usize>() + others == 0 && self.records_refused == 0
    }
}

/// A count with its noun in the singular or plural.
fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

impl fmt::Display for OpenReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let journal = &self.journal;
        write!(
            f,
            "journal: {}, {}, {}, {}",
            counted(journal.files.len() as u64, "file"),
            counted(journal.frames, "frame"),
            counted(journal.records, "record"),
            if journal.clean { "closed cleanly" } else { "not closed cleanly" }
        )?;
        if journal.cut_bytes > 0 {
            write!(f, ", {} bytes of a torn frame removed", journal.cut_bytes)?;
        }
        if self.records_of_deleted_pools > 0 {
            write!(f, ", {} records of deleted pools", self.records_of_deleted_pools)?;
        }
        if self.records_refused > 0 {
            write!(f, ", {} invalid records ignored", self.records_refused)?;
        }
        for damage in &journal.damage {
            write!(f, "; given up: {damage}")?;
        }
        for (pool, numbers) in &self.repaired {
            write!(f, "; repaired from the journal: the state of {numbers} numbers of pool {pool}")?;
        }
        for (pool, until) in &self.restored {
            write!(
                f,
                "; pool {pool} is restored and paused until {until}, when the longest lease that it does not know has \
                 ended; resume it, or start with --serve-at-once, if none is live"
            )?;
        }
        for pool in &self.paused {
            write!(
                f,
                "; pool {pool} is paused: leases that were lost with the journal may be live; resume it when the \
                 longest of them has ended"
            )?;
        }
        for damage in &self.checksums_renewed {
            write!(f, "; given up: the checksums of words, which are used unverified: {damage}")?;
        }
        for (pool, numbers) in &self.holders_lost {
            write!(f, "; given up: who held {numbers} numbers of pool {pool}, unless the journal has it")?;
        }
        for (pool, numbers) in &self.given_up {
            write!(f, "; given up: the state of {numbers} numbers of pool {pool}, which are retired now")?;
        }
        for file in &self.given_up_files {
            write!(f, "; they are in {}", file.display())?;
        }
        Ok(())
    }
}
