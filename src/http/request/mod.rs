//! Reads requests: headers, path, query, body, and the fields in them.

pub mod body;
pub(crate) mod content_type;
pub mod fields;
pub(crate) mod framing;
pub(crate) mod headers;
pub(crate) mod memory;
pub(crate) mod number_list;
pub mod origin;
pub(crate) mod pace;
pub(crate) mod path;
pub(crate) mod query;
pub(crate) mod trace;
pub mod unread;
pub(crate) mod upload;
pub mod within;
