//! Low-priority threads for work less urgent than a lease: checkpoints, the sweep, the recorder, imports,
//! exports, backups.

use std::sync::PoisonError;

use crate::sys::sync::Mutex;
use crate::sys::sync::mpsc::{self, Receiver, SyncSender};
use crate::sys::sync::thread::{self, JoinHandle};

/// The nice value of these threads. On Linux it leaves one about a tenth of a busy processor.
const NICENESS: i32 = 10;

/// Lowers the priority of this thread, and of those that it starts.
pub(crate) fn lower_priority() {
    if cfg!(allotd_shuttle) {
        return;
    }
    // On Linux this is per thread. If the system refuses, the threads share the processor evenly.
    let _ = rustix::process::setpriority_process(None, NICENESS);
}

/// Starts a thread with a lowered priority.
pub(crate) fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<JoinHandle<T>> {
    thread::Builder::new().name(name.to_owned()).spawn(|| {
        lower_priority();
        work()
    })
}

/// A low-priority thread that runs until [`Self::stop`].
#[derive(Debug)]
pub(crate) struct BackgroundThread(Mutex<Option<(SyncSender<()>, JoinHandle<()>)>>);

impl BackgroundThread {
    /// Starts `work`, which must return when the other end of its channel is dropped.
    pub(crate) fn start(
        name: &str,
        work: impl FnOnce(&Receiver<()>) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::sync_channel(0);
        let thread = spawn(name, move || work(&stopped))?;
        Ok(Self(Mutex::new(Some((stop, thread)))))
    }

    /// Stops the thread and waits for its end.
    pub(crate) fn stop(&self) {
        let running = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((stop, thread)) = running {
            drop(stop);
            // A thread that panicked has already reported it.
            let _ = thread.join();
        }
    }
}
