//! Calls that wait for a number to become available.
//!
//! A call that found none joins its pool's [`mod@line`], and then searches once more: what became available in between
//! is found, and of what becomes available later the line is told. For that the thread that made a number
//! available reads, after it has put the number's bit into the free index, whether anybody waits. A call that
//! joins first counts itself as waiting, then reads the index. In the single order of these `SeqCst` operations
//! one of the two sees the other. A lease takes no part in this.
//!
//! The thread that made a number available only notes it (`announcements`); a thread of its own finds whom to
//! wake. That call then leases like any other. If another call was faster, it is where it was in the line.
//!
//! Calls that do not wait take a number when they find one, also one that somebody was woken for. A call that has
//! lost [a few](mod@line) times in that way gets precedence: until it leaves the line, those who do not wait and may
//! choose nothing that it may not choose as well find the pool exhausted. The pool's mode, which each lease reads,
//! says that somebody has precedence.

pub(crate) mod announcements;
pub mod line;
pub mod signal;
pub(crate) mod state;
pub mod ticket;
pub(crate) mod waking;
