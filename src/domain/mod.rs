//! The product's words, pure: settings, lease tokens, counts.

pub mod counts;
pub mod lease_token;
pub mod settings;
