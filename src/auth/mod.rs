//! Who calls, and what a caller may do: access tokens and their file, roles, scopes and quotas.
//!
//! A [`principal::Principal`] is a caller. It comes from the tokens file ([`authority`] has the table in force),
//! or a listener makes one of a peer's user or a client certificate. [`registry`] keeps what a principal uses
//! ([`usage`]) under its name, whatever is exchanged meanwhile.

pub mod access_token;
pub mod authority;
pub mod identity;
mod live_leases;
pub mod peer;
pub mod peers;
pub mod principal;
pub mod quota;
pub mod rate;
pub mod registry;
pub mod role;
pub mod scope;
pub mod secret_file;
pub mod tokens_file;
pub mod usage;
