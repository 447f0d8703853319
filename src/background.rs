//! Threads that do what nobody waits for as for a lease: checkpoints, the sweep, imports, exports, backups.

use std::thread;

/// On Linux, which priority it gives a thread: a tenth of the processor when others want all of it.
const NICENESS: i32 = 10;

/// Lets other threads go ahead of this one, and of those that it starts.
pub(crate) fn step_back() {
    // Of this thread alone, on Linux. Should the system refuse, they share the processor evenly.
    let _ = rustix::process::setpriority_process(None, NICENESS);
}

/// A thread that has stepped back.
pub(crate) fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<thread::JoinHandle<T>> {
    thread::Builder::new().name(name.to_owned()).spawn(|| {
        step_back();
        work()
    })
}
