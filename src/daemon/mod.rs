//! The daemon as the machine's operators see it: what it tells when it starts, ends and changes, how it reads
//! its config file again, and how it shows systemd that it is alive.

pub mod config;
pub(crate) mod reload;
pub(crate) mod run;
pub(crate) mod service_manager;
pub(crate) mod startup_log;
pub(crate) mod supervisor;
