//! A data directory on several machines: one *primary* changes it, *standbys* follow, and a consensus log between them
//! decides what is committed.
//!
//! * `log`: what is asked of the log. `etcd`: the log in etcd. `memory`: the log in this process, for tests.
//! * `entry`: the bytes of an entry: records of the journal, or a change of the directory's files.
//! * `primary`: appends under its epoch, in order, and says how far it is.
//! * `logged_disk`: has each change of pools and lists committed before the disk has it.
//! * `offered`: the files that an entry names, for standbys to fetch.
//! * `follower`: applies entries to the directory of a standby. `filling`: a copy becomes such a directory.
//! * `standby`: fills its directory, follows, and takes over. `term`: what a primary does about the log.
//! * `member_file`: what a directory knows of its cluster. `cluster_clock`: the time of all members.
//!
//! **Why it is simple.** A word only grows, and the state of a number is its word: records are applied in any order,
//! any number of times. Files of numbers never change. What a directory has is what a crash would leave: a standby's is
//! one that is always being recovered.
//!
//! **Laws.** A response leaves only after its records stand in the log under the primary's epoch, and all entries before
//! them. A primary stops, by its own clock, before its key can have ended. The time of the cluster never steps. A
//! directory that was changed by a primary that did not end in order is filled anew, unless nobody else has gone on.

pub mod cluster_clock;
pub mod entry;
#[cfg(feature = "cluster")]
pub mod etcd;
pub mod filling;
pub mod follower;
pub mod log;
pub mod logged_disk;
pub mod member_file;
pub mod memory;
pub mod offered;
pub mod primary;
pub mod standby;
pub mod term;
#[cfg(test)]
#[cfg(not(allotd_loom))]
mod tests;
