//! The engine's own threads: they run behind the threads that serve.

pub(crate) mod checkpoint;
pub(crate) mod recorder;
pub(crate) mod sweeper;
