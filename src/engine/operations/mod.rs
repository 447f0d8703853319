//! What callers, operators and the sweeper do with a pool: a file a verb.

pub(crate) mod availability;
pub(crate) mod change_settings;
pub mod export;
pub mod import;
pub mod lease;
pub(crate) mod lease_once;
pub mod map;
pub(crate) mod picker;
pub mod renew_return;
pub mod retire;
pub mod rounds;
mod sweep;
