//! `allotd` leases numbers from huge pools, each to exactly one holder at a time.

pub mod auth;
pub mod backup;
pub mod bench;
pub mod check;
pub mod cli;
pub mod client;
pub mod coordinates;
pub mod daemon;
pub mod disk;
pub mod domain;
pub mod engine;
pub mod histogram;
pub mod http;
pub mod journal;
pub mod log;
pub mod numbers;
pub mod replication;
pub mod snapshot;
pub mod state;
pub mod store;
pub mod sys;
