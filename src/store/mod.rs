//! The files of a data directory, one module per kind. They define the formats; the engine decides when
//! to write them.

pub(crate) mod checksummed_text;
pub mod damage;
pub(crate) mod data_dir;
pub(crate) mod data_dir_lock;
pub mod event_batch;
pub mod event_log;
pub(crate) mod fail_stop_disk;
pub(crate) mod growing_file;
pub mod holders_file;
pub mod idempotency_file;
pub mod list_files;
pub mod manifest;
pub mod open_error;
pub(crate) mod pool_dir;
pub(crate) mod secret;
pub(crate) mod segment_writer;
pub(crate) mod staging;
pub(crate) mod table;
pub(crate) mod totals_file;
pub mod zones_file;
