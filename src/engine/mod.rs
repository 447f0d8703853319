//! The engine: pools of numbers and the operations on them. Only the engine orders changes of a number's word
//! and of the data derived from the words.
//!
//! * [`startup`]: opens a data directory and replays its journal. [`registry`]: holds the pools and the
//!   threads' handles. [`create_delete`]: creates and deletes pools.
//! * [`pool`]: one pool. `pool_mode`: whether it hands out numbers. `growth`: how its list of segments changes. [`segment`]: one part of a pool.
//!   [`operations`]: one file per operation on a pool.
//! * `transition`: journals and counts each change of a word. [`waiting`]: calls that wait for a number.
//! * [`worker`]: the handle of a calling thread. [`idempotency`]: leases made under an `Idempotency-Key`.
//! * [`holders`]: the names of those who hold leases.
//! * [`lists`]: lists of numbers that pools are blocked by.
//! * [`events`]: the changes for those who follow them.
//! * [`counters`]: what a pool counts. [`clock`]: the engine's time.
//! * `background`: the sweeper, the merger, the recorder and the checkpoint.
//!
//! A change is one compare-exchange of one word. It updates the free index and the due hints and passes its
//! record to the journal before the response is built. The response is held until the record is committed.

pub(crate) mod background;
pub mod budgets;
pub(crate) mod calendar;
pub(crate) mod checkpoint;
pub mod clock;
pub mod counters;
pub mod create_delete;
pub mod events;
pub(crate) mod growth;
pub mod holders;
pub mod idempotency;
pub mod lists;
pub mod member_clocks;
pub mod notice;
pub mod open_report;
pub mod operations;
pub mod pool;
pub mod pool_error;
pub(crate) mod pool_mode;
pub mod registry;
pub mod segment;
pub mod shared;
pub mod startup;
pub(crate) mod terms;
pub(crate) mod transition;
pub mod waiting;
pub mod worker;

pub use crate::store::damage::SegmentError;
pub use crate::store::manifest::ManifestError;
pub use crate::store::open_error::OpenError;

pub use holders::HolderSummary;
pub use open_report::OpenReport;
pub use operations::lease_once::{LeasedOnce, Once};
pub use operations::lookup::NumberState;
pub use operations::retire::RetireReport;
pub use operations::rounds::RoundStarted;
pub use pool::Pool;
pub use pool_error::{ChangeError, DeleteError};
pub use registry::Engine;
pub use segment::within::Within;
pub use startup::config::EngineConfig;
pub use worker::Worker;
