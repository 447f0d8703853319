//! The state of every number of a segment: one word per number, the index of the free ones, and hints of
//! when the next word is due. No module here knows files, pools or requests.

pub mod block;
pub mod block_counts;
mod block_ranks;
pub mod blocked;
pub mod dirty_blocks;
pub mod due_hints;
pub mod end_rules;
pub mod floors;
pub mod free_index;
pub mod holder_column;
mod holder_hints;
#[cfg(all(test, allotd_loom))]
mod models;
pub mod mutations;
pub mod number_state;
pub mod segment_state;
pub mod state_set;
pub mod time;
pub mod word;
pub mod word_table;
