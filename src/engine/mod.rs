//! The engine: pools of numbers, and the operations on them. The one place that orders the words of
//! numbers and what is derived from them.
//!
//! * [`startup`]: from a data directory to an engine, replaying the journal; [`registry`]: its pools and the
//!   threads' handles; [`create_delete`]: pools come and go.
//! * [`pool`]: one pool; [`segment`]: a part of it; [`operations`]: what is done with it, a file a verb.
//! * `transition`: what follows once a word has changed.
//! * [`worker`]: the handle of a calling thread; [`idempotency`]: what was given out under a key.
//! * [`counters`], [`clock`]: what a pool counts, what time it is.
//! * `background`: the sweeper, the recorder and the checkpoint.
//!
//! A change is one compare-exchange of one word. It updates the free index and the due hints and passes its
//! record to the journal before its answer is made; the answer is held until the record is committed.

pub(crate) mod background;
pub mod clock;
pub mod counters;
pub mod create_delete;
pub mod idempotency;
pub mod open_report;
pub mod operations;
pub mod pool;
pub mod registry;
pub mod segment;
pub mod shared;
pub mod startup;
pub(crate) mod transition;
pub mod worker;

pub use crate::store::damage::SegmentError;
pub use crate::store::manifest::ManifestError;
pub use crate::store::open_error::OpenError;

pub use create_delete::DeleteError;
pub use open_report::OpenReport;
pub use operations::retire::RetireReport;
pub use operations::rounds::RoundStarted;
pub use pool::{ChangeError, NumberState, Pool};
pub use registry::Engine;
pub use segment::within::Within;
pub use startup::config::EngineConfig;
pub use worker::Worker;
