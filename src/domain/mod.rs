//! The domain's terms, without I/O: settings, lease tokens, counts.

pub mod counts;
pub mod lease_token;
pub mod settings;
