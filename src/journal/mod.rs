//! The journal: what was acknowledged, written before it is told.
//!
//! * `record`, `frame`: the bytes of a record, a frame and a file's head; pure.
//! * `file`: one journal file: made full of zeros, overwritten, used again.
//! * `files`: those that wait for a checkpoint, and the spare ones.
//! * `queue`: records on their way from the threads that change words to the writer, and how a thread
//!   learns that they are committed.
//! * `handle`: the journal as these threads see it.
//! * `writer`: the one thread that writes: group commit, the next file, the end when the disk fails.
//! * `recovery`: reading the files back.
//! * `start`: from the recovered files to a running journal, and its end.
//!
//! A record is the whole word of a number after a change. Words only grow, so records need no order
//! among the threads: reading them back is taking the maximum. What is ordered is time: a reply is held
//! until the frames with its records, and with all that it saw, are durable.

pub(crate) mod checkpointer;
pub(crate) mod durability;
pub mod file;
pub mod frame;
pub(crate) mod handle;
#[cfg(all(test, allotd_loom))]
mod models;
pub mod queue;
pub mod record;
pub mod recovery;
pub(crate) mod running;
mod stats;
pub(crate) mod writer;

pub use checkpointer::{Checkpoint, MAX_FILES, Pin};
pub use durability::Durability;
pub use handle::{Changing, Journal, JournalError};
pub use queue::Position;
pub use running::{Callbacks, JournalConfig, MIN_FILE_BYTES, Running, StartError};
pub use stats::JournalSnapshot;
pub use writer::{FrameTime, TimeSource};
