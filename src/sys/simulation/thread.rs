//! Threads of the simulated machine, with the parts of [`std::thread`] that the crate uses.

use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::world;

pub use shuttle::thread::{Result, Scope, ScopedJoinHandle, scope};
pub use std::thread::panicking;

/// A handle to a thread.
#[derive(Debug, Clone)]
pub struct Thread {
    inner: shuttle::thread::Thread,
    token: Arc<AtomicBool>,
}

impl Thread {
    fn of(inner: shuttle::thread::Thread) -> Self {
        let token = world::token(inner.id().into());
        Self { inner, token }
    }

    /// Ends the thread's `park`, now or the next time.
    pub fn unpark(&self) {
        world::point();
        self.token.store(true, Ordering::Relaxed);
        world::wake(self.inner.id().into());
    }
}

/// The calling thread.
pub fn current() -> Thread {
    Thread::of(shuttle::thread::current())
}

/// Lets other threads run.
pub fn yield_now() {
    shuttle::thread::yield_now();
}

/// Waits until `done`, or until the time is over. Something must wake the thread when `done` may have changed.
#[track_caller]
pub(super) fn wait_until(done: impl Fn() -> bool, limit: Option<Duration>) {
    if done() {
        return;
    }
    world::waits_at(Some(Location::caller()));
    match limit {
        None => {
            while !done() {
                world::block();
            }
        }
        Some(limit) => {
            let id = world::add_sleeper(limit);
            while !done() && !world::has_fired(id) {
                world::block();
            }
            world::remove_sleeper(id);
        }
    }
    world::waits_at(None);
}

/// Waits for some time.
#[track_caller]
pub fn sleep(pause: Duration) {
    world::point();
    wait_until(|| false, Some(pause));
}

/// Waits for an `unpark`.
#[track_caller]
pub fn park() {
    world::point();
    let token = current().token;
    wait_until(|| token.load(Ordering::Relaxed), None);
    token.store(false, Ordering::Relaxed);
}

/// Waits for an `unpark`, for some time.
#[track_caller]
pub fn park_timeout(limit: Duration) {
    world::point();
    let token = current().token;
    wait_until(|| token.load(Ordering::Relaxed), Some(limit));
    token.store(false, Ordering::Relaxed);
}

/// The result of a thread, when it ends.
#[derive(Debug)]
pub struct JoinHandle<T> {
    inner: shuttle::thread::JoinHandle<T>,
    thread: Thread,
}

impl<T> JoinHandle<T> {
    /// Waits for the thread's end.
    #[track_caller]
    pub fn join(self) -> Result<T> {
        world::waits_at(Some(Location::caller()));
        let result = self.inner.join();
        world::waits_at(None);
        result
    }

    /// The thread.
    pub fn thread(&self) -> &Thread {
        &self.thread
    }
}

/// Starts a thread.
pub fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    started(shuttle::thread::spawn(work))
}

fn started<T>(inner: shuttle::thread::JoinHandle<T>) -> JoinHandle<T> {
    let thread = Thread::of(inner.thread().clone());
    JoinHandle { inner, thread }
}

/// Starts threads with a name.
#[derive(Debug, Default)]
pub struct Builder(String);

impl Builder {
    /// Without a name yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the name.
    #[must_use]
    pub fn name(self, name: String) -> Self {
        Self(name)
    }

    /// Starts a thread.
    pub fn spawn<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> std::io::Result<JoinHandle<T>> {
        let handle = started(shuttle::thread::Builder::new().name(self.0.clone()).spawn(work)?);
        world::name(handle.thread.inner.id().into(), &self.0);
        Ok(handle)
    }
}

/// Runs `work` as the first thread of a run. For the closure that shuttle's runner calls.
pub fn run(work: impl FnOnce()) {
    world::name(world::this_task(), "main");
    work();
}
