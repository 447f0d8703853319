//! `allotd` hands out numbers of a huge pool, each to exactly one holder at a time.

pub mod disk;
pub mod engine;
pub mod numbers;
pub mod state;
mod sync;
