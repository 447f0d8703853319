//! The domain's terms, without I/O: settings, lease tokens, counts.

pub mod attempts;
pub mod attempts_error;
pub mod counts;
pub mod holder;
pub mod hours;
pub mod hours_text;
pub(crate) mod json_fields;
pub mod key_owner;
pub mod lease_token;
pub mod list_name;
pub(crate) mod name;
pub mod next_state;
pub mod note;
mod object;
pub mod order;
pub mod pool_name;
pub mod remark;
pub mod setting_limits;
pub mod settings;
pub mod settings_change;
pub mod settings_error;
pub mod zone_table;
pub mod zone_table_error;
