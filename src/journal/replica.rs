//! Where records stand besides the disk of this machine before anything that depends on them is told.

use std::{fmt, io};

use super::frame_time::FrameTime;
use super::record::RECORD_BYTES;

/// A log that other machines follow.
pub trait Replica: fmt::Debug + Send + Sync + 'static {
    /// Commits records to the log, before they are written to the journal: so the journal never has what the log has
    /// not. Blocks, and calls `turn` while it waits. An error says that this process may not commit any more.
    fn commit(&self, records: &[[u8; RECORD_BYTES]], time: FrameTime, turn: &dyn Fn()) -> io::Result<()>;

    /// Whether this process may answer at this instant: no other can have taken over.
    fn may_answer(&self) -> bool;

    /// All that was committed so far is durable in the journal.
    fn is_durable(&self);
}
