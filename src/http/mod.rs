//! The HTTP API: small, strict, and without state besides what the engine keeps.
//!
//! [`server`] binds addresses, spreads connections over the worker threads and serves each one. `exchange`
//! takes a request to its response: [`request`] reads and checks it, [`routes`] finds the call, [`calls`] has
//! a file per group of calls, [`response`] writes the response, and `request_log` decides what is logged.
//! `commit_gate` holds responses back until they are durable.

pub(crate) mod access;
pub(crate) mod actor;
pub mod address;
pub mod audit;
pub(crate) mod batch_turn;
pub(crate) mod blocking;
pub(crate) mod caller;
pub mod calls;
pub mod cluster;
pub(crate) mod cluster_copy;
mod commit_gate;
pub mod counters;
pub(crate) mod exchange;
mod in_flight;
pub(crate) mod lanes;
pub(crate) mod lease_quota;
pub mod limits;
pub mod listen;
pub(crate) mod operator_calls;
pub(crate) mod pending;
pub(crate) mod permissions;
pub(crate) mod plain_call;
pub mod request;
mod request_ids;
mod request_log;
pub mod response;
pub mod routes;
pub mod server;
pub mod standby;
mod wait_link;
mod worker_state;
