//! The daemon and its commands as processes: started, overloaded, attacked, killed, short of everything. One program,
//! as each costs a link.

#![allow(clippy::unwrap_used)]

mod apply;
mod audit;
mod bounded_memory;
mod budgets;
mod bus_error;
mod campaign;
mod command_line;
mod connection_shares;
mod corners;
mod deadlines;
mod descriptors;
mod given_up;
mod http2_floods;
mod io_faults;
mod listeners;
mod lists;
mod logs;
mod lost_answers;
mod messages;
mod offline_export;
mod operations;
mod reload;
mod rust_client;
mod sandbox;
mod service_manager;
mod smuggling;
mod standing_lists;
mod storage_full;
#[path = "../support/mod.rs"]
mod support;
mod upgrade;
mod upkeep;
mod volunteers;
mod waiting_kill;
mod watch;
