//! The HTTP API: small, strict, and stateless beside what the engine keeps.
//!
//! [`listener`] binds addresses, [`server`] accepts and spreads connections over the worker threads,
//! [`connection`] serves one, `gate` holds its answers until they are durable,
//! [`origin`] refuses what web pages of others send, [`routes`] finds the call, `request_log` says what the log
//! tells of it; each group of calls has its own file.

pub mod address;
pub(crate) mod blocking;
pub mod calls;
mod commit_gate;
pub mod counters;
pub(crate) mod exchange;
pub mod request;
mod request_log;
pub mod response;
pub mod routes;
pub mod server;
mod worker_state;
