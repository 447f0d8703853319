//! The domain's terms, without I/O: settings, lease tokens, counts.

pub mod counts;
pub mod lease_token;
pub mod list_name;
pub(crate) mod name;
pub mod settings;
