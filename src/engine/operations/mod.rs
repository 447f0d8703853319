//! Operations on a pool by callers, operators and the sweeper: one file per operation.

pub(crate) mod attempts;
pub(crate) mod availability;
pub mod by_holder;
pub(crate) mod change_settings;
pub mod export;
pub(crate) mod grow;
pub mod hours;
pub mod import;
pub mod import_error;
pub mod lease;
pub(crate) mod lease_once;
pub mod lease_several;
pub mod lease_to;
pub mod map;
pub(crate) mod merge;
pub(crate) mod picker;
pub(crate) mod preview;
pub mod release;
pub mod renew_return;
pub(crate) mod restore_states;
pub mod retire;
pub mod rounds;
mod sweep;
pub mod why;
