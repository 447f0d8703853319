//! The journal: changes are written here before a reply confirms them.
//!
//! * `record`, `frame`: the bytes of a record, a frame and a file's head; pure.
//! * `cause`: why a word changed. `marks`: what happens to numbers beside their words. `tail`: reads the frames while they are written.
//! * `file`: one journal file: filled with zeros, overwritten, reused.
//! * `checkpointer`: the files that wait for a checkpoint, the spare files, and the thread that makes checkpoints.
//! * `spare_maker`: the thread that makes spare files.
//! * `pin`: keeps files while a backup reads them.
//! * `queue`: carries records from the threads that change words to the writer, and reports what is
//!   committed.
//! * `handle`: the journal as these threads see it. `acceptance`, `error`: whether and why it accepts no changes.
//! * `group_commit`: the one thread that writes: group commit, the next file, the stop when the disk fails.
//! * `recovery`: reads the files back.
//! * `replica`: the log of other machines in which records stand first. `received`: writes what comes from there.
//! * `running`: starts a journal after the recovered files, and closes it.
//!
//! A record is the whole word of a number after a change. Words only grow, so records need no order among the
//! threads: reading them back takes the maximum. A reply is held until the frames with its records, and with
//! all that it saw, are durable.

mod acceptance;
pub mod cause;
pub(crate) mod checkpointer;
pub(crate) mod durability;
pub(crate) mod error;
pub mod file;
pub mod frame;
pub mod frame_time;
pub(crate) mod group_commit;
pub(crate) mod handle;
pub mod marks;
#[cfg(all(test, allotd_loom))]
mod models;
pub mod on_damage;
pub(crate) mod pin;
pub mod queue;
pub mod received;
pub mod record;
pub mod recovery;
pub mod replica;
pub(crate) mod ring;
pub(crate) mod running;
mod spare_maker;
mod stats;
pub(crate) mod tail;

pub use checkpointer::{Checkpoint, MAX_FILES};
pub use durability::Durability;
pub use error::JournalError;
pub use frame_time::FrameTime;
pub use group_commit::TimeSource;
pub use handle::{Changing, Journal};
pub use pin::Pin;
pub use queue::Position;
pub use running::{Callbacks, JournalConfig, MIN_FILE_BYTES, Running, StartError};
pub use stats::JournalSnapshot;
