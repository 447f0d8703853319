//! The state of every number of a segment: one word each, the index of those that are free, and the
//! hints when the next word's time comes. No module here knows of files, pools or requests.

pub mod blocks;
pub mod dirty;
pub mod due;
pub mod free;
#[cfg(all(test, allotd_loom))]
mod models;
pub mod mutations;
pub mod ranks;
pub mod table;
pub mod time;
pub mod word;
