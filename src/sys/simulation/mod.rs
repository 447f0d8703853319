//! A simulated machine (`--cfg allotd_shuttle`): threads that a seeded scheduler runs one at a time, locks and
//! atomics at which it may switch, and a clock that moves only when it says so. The same seed gives the same
//! run, step by step.
//!
//! The threads are shuttle's coroutines. Shuttle models no time, so all that waits with a limit is built here
//! on its `park` and `unpark`, with a table of sleepers in [`world`].

pub mod atomics;
pub mod channel;
pub mod clock;
pub mod lock;
pub mod scheduler;
pub mod thread;
pub mod world;
