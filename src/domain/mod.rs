//! The domain's terms, without I/O: settings, lease tokens, counts.

pub mod attempts;
pub mod counts;
pub mod holder;
pub mod hours;
pub mod hours_text;
pub(crate) mod json_fields;
pub mod key_owner;
pub mod lease_token;
pub mod list_name;
pub(crate) mod name;
pub mod note;
mod object;
pub mod settings;
pub mod zone_table;
