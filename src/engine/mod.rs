//! The engine: pools of numbers, and the operations on them. The one place that orders the words of
//! numbers and what is derived from them.
//!
//! * `directory`: the data directory, its pools, the threads' handles.
//! * `pool`: one pool; its operations are in `lease`, `holding` (renew, return), `sweep`, `marks`
//!   (retire, reinstate, rounds), `load` (create, add) and `export`.
//! * `segment`: the numbers, words, free index and due hints of a part of a pool.
//! * `order`, `token`, `clock`, `counters`, `settings`, `manifest`: one concept each.
//! * `check`: every invariant of a data directory, offline.
//!
//! A change is one compare-exchange of one word. Before its answer is given, the free index and the
//! due hints are told. The journal of a later version stands between these two: a record is written
//! after the word was won (in `lease_claims`, `renew_one`, `give_back_one`, `sweep_one`, `mark`,
//! `start_round`) and the answer is held until it is durable.

pub mod check;
pub mod clock;
pub mod counters;
pub mod directory;
pub mod export;
pub mod holding;
pub mod lease;
pub mod load;
mod manifest;
mod marks;
mod order;
pub mod pool;
mod segment;
pub mod settings;
mod sweep;
pub mod token;

pub use directory::{DeleteError, Engine, EngineConfig, OpenError};
pub use manifest::ManifestError;
pub use marks::{Marked, RoundStarted};
pub use order::Worker;
pub use pool::{ChangeError, NumberState, Pool};
pub use segment::{SegmentError, Within};
