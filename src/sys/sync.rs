//! The locks, threads and clocks of the parts that a simulation runs: those of std, or simulated ones
//! (`--cfg allotd_shuttle`).

#[cfg(not(allotd_shuttle))]
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, mpsc};
#[cfg(not(allotd_shuttle))]
pub(crate) use std::thread;
#[cfg(not(allotd_shuttle))]
pub(crate) use std::time::Instant;

#[cfg(allotd_shuttle)]
pub(crate) use super::simulation::channel as mpsc;
#[cfg(allotd_shuttle)]
pub(crate) use super::simulation::clock::Instant;
#[cfg(allotd_shuttle)]
pub(crate) use super::simulation::lock::{Condvar, Mutex, MutexGuard};
#[cfg(allotd_shuttle)]
pub(crate) use super::simulation::thread;
