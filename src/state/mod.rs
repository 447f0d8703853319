//! The state of every number of a segment: one word each, the index of those that are free, and the
//! hints when the next word's time comes. No module here knows of files, pools or requests.

pub mod block_counts;
pub mod dirty_blocks;
pub mod due_hints;
pub mod free_index;
#[cfg(all(test, allotd_loom))]
mod models;
pub mod mutations;
pub mod segment_state;
pub mod state_set;
pub mod time;
pub mod word;
pub mod word_table;
