//! The locks, threads and clocks of the parts that a simulation runs: those of std.

pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, mpsc};
pub(crate) use std::thread;
pub(crate) use std::time::Instant;
