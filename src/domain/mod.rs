//! The domain's terms, without I/O: settings, lease tokens, counts.

pub mod attempts;
pub mod counts;
pub mod hours;
pub mod key_owner;
pub mod lease_token;
pub mod list_name;
pub(crate) mod name;
pub mod note;
pub mod settings;
pub mod zone_table;
