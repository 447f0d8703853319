//! The thread that wakes calls which wait.

use std::io;
use std::sync::{Arc, PoisonError};

use arc_swap::ArcSwap;

use crate::engine::pool::{Pool, Pools};
use crate::sys::atomics::Ordering;
use crate::sys::sync::Mutex;
use crate::sys::sync::thread::{self, JoinHandle};

use super::announcements::Announcements;

fn run(noted: &Announcements, pools: &ArcSwap<Pools>) {
    let all = |act: &dyn Fn(&Pool)| pools.load().values().for_each(|pool| act(pool));
    while !noted.ends.load(Ordering::SeqCst) {
        while let Some((waiting, number)) = noted.numbers.pop() {
            waiting.offer(number);
        }
        if noted.is_behind.swap(false, Ordering::SeqCst) {
            all(&|pool| {
                if pool.waiting.is_behind.swap(false, Ordering::SeqCst) {
                    pool.waiting.some_available();
                }
            });
        }
        if noted.refuses.swap(false, Ordering::SeqCst) {
            all(&|pool| pool.waiting.wake_all());
        }
        thread::park();
    }
}

/// The thread that wakes calls. It has the priority of those that serve: a call that is woken late waits longer.
pub(crate) struct WakingThread {
    announcements: Arc<Announcements>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl WakingThread {
    pub(crate) fn start(announcements: &Arc<Announcements>, pools: &Arc<ArcSwap<Pools>>) -> io::Result<Self> {
        let (noted, pools) = (Arc::clone(announcements), Arc::clone(pools));
        let thread =
            thread::Builder::new().name("allotd-waking".to_owned()).spawn(move || run(&noted, &pools))?;
        // Nobody waits yet.
        let _ = announcements.thread.set(thread.thread().clone());
        let thread = Mutex::new(Some(thread));
        Ok(Self { announcements: Arc::clone(announcements), thread })
    }

    /// Ends the thread and waits for that.
    pub(crate) fn stop(&self) {
        self.announcements.ends.store(true, Ordering::SeqCst);
        self.announcements.unpark();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A thread that panicked has already reported it.
            let _ = thread.join();
        }
    }
}
