//! The domain's terms, without I/O: settings, lease tokens, counts.

pub mod counts;
pub mod key_owner;
pub mod lease_token;
pub(crate) mod name;
pub mod settings;
