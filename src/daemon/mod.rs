//! The daemon as the machine's operators see it: what it tells when it starts, ends and changes, how it reads
//! its config file again, and how it shows systemd that it is alive.

pub(crate) mod events;
pub(crate) mod reload;
pub(crate) mod service_manager;
pub(crate) mod supervisor;
