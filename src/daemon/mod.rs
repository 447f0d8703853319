//! The process: its settings, its life from start to shutdown, reloading the config file, and the reports to
//! systemd and the log.

mod clock_watch;
pub(crate) mod cluster;
pub mod config;
pub(crate) mod descriptors;
pub(crate) mod preflight;
pub(crate) mod reload;
pub(crate) mod run;
pub(crate) mod service_manager;
pub(crate) mod startup_log;
pub(crate) mod supervisor;
