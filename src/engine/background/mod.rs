//! The engine's background threads, and the checkpoint.

pub(crate) mod merger;
pub(crate) mod recorder;
pub(crate) mod sweeper;
