//! The engine: pools of numbers, and the operations on them. The one place that orders the words of
//! numbers and what is derived from them.
//!
//! * `layout`: where things are in the data directory; `open`: from its files to an engine;
//!   `recover`: what the journal adds to them;
//!   `directory`: all its pools, the threads' handles.
//! * `pool`: one pool; its operations are in `lease`, `holding` (renew, return), `sweep`, `marks`
//!   (retire, reinstate, rounds), `load` (create, add), `export` and `map`.
//! * `segment`: the numbers, words, free index and due hints of a part of a pool; `table_file`: the files
//!   of its words, `table_batch`: what a checkpoint writes of them together, `sums`: their checksums;
//!   `plausible`: what a word can be.
//! * `keys`: what was given out under an `Idempotency-Key`; `key_file`: their file.
//! * `order`: where a lease looks for a number; `draws`: random places, drawn ahead.
//! * `token`, `clock`, `counters`, `settings`, `manifest`: one concept each.
//! * `history`: what a pool did lately; `lateness`: of what has ended; `outcomes`: what returns are counted
//!   by; `recorder`: samples all that, and keeps the totals in the `totals_file`.
//! * `backup`: copies of the whole data directory, made while callers go on, and back.
//! * `watched`: the disk, when it fails in a way after which nothing is known.
//! * `check`: every invariant of a data directory, offline.
//!
//! A change is one compare-exchange of one word. Before its answer is given, the free index and the
//! due hints are told, and its record is with the journal (in `lease_claims`, `renew_one`,
//! `give_back_one`, `mark`, `sweep_one`); the answer is held until the record is committed. Opening a
//! round needs no records: the round stands in the manifest, and its opening is done again at a start.

pub mod backup;
pub mod check;
pub mod clock;
pub mod counters;
pub mod directory;
mod draws;
pub mod export;
pub mod history;
pub mod holding;
pub mod key_file;
pub mod keys;
mod lateness;
mod layout;
pub mod lease;
pub mod load;
mod manifest;
pub mod map;
mod marks;
pub mod open;
pub(crate) mod order;
pub mod outcomes;
mod plausible;
pub mod pool;
mod recorder;
mod recover;
pub(crate) mod segment;
pub mod settings;
mod sums;
mod sweep;
mod table_batch;
mod table_file;
pub mod token;
mod totals_file;
mod watched;

pub use directory::{DeleteError, Engine};
pub use manifest::ManifestError;
pub use marks::{Marked, RoundStarted};
pub use open::{EngineConfig, OpenError, OpenReport};
pub use order::Worker;
pub use pool::{ChangeError, NumberState, Pool};
pub use segment::{SegmentError, Within};
