//! Threads that do what nobody waits for as for a lease: checkpoints, the sweep, the recorder, imports, exports, backups.

use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};

/// On Linux, which priority it gives a thread: a tenth of the processor when others want all of it.
const NICENESS: i32 = 10;

/// Lets other threads go ahead of this one, and of those that it starts.
pub(crate) fn lower_priority() {
    // Of this thread alone, on Linux. Should the system refuse, they share the processor evenly.
    let _ = rustix::process::setpriority_process(None, NICENESS);
}

/// A thread that has stepped back.
pub(crate) fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<JoinHandle<T>> {
    thread::Builder::new().name(name.to_owned()).spawn(|| {
        lower_priority();
        work()
    })
}

/// A thread that goes on until it is told to stop.
#[derive(Debug)]
pub(crate) struct BackgroundThread(Mutex<Option<(SyncSender<()>, JoinHandle<()>)>>);

impl BackgroundThread {
    /// Starts `work`, which is to end when the other end of its channel is dropped.
    pub(crate) fn start(
        name: &str,
        work: impl FnOnce(&Receiver<()>) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::sync_channel(0);
        let thread = spawn(name, move || work(&stopped))?;
        Ok(Self(Mutex::new(Some((stop, thread)))))
    }

    /// Has it stop, and waits until it has.
    pub(crate) fn stop(&self) {
        let running = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((stop, thread)) = running {
            drop(stop);
            // One that panicked has said so; there is nothing left to stop.
            let _ = thread.join();
        }
    }
}
