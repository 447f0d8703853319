//! A disk that fails under a mapping. The system can report that only by SIGBUS.

use std::io;

macro_rules! message {
    ($before:literal, $after:literal) => {
        concat!(
            $before,
            "the disk failed under a mapped file, or the file was cut (SIGBUS). Nothing was confirmed after that; \
             what was confirmed before is in the journal. Read the system's log, check the disk, then start again",
            $after
        )
        .as_bytes()
    };
}

/// The last line of the process. It is a constant because a signal handler may not allocate.
const HUMAN: &[u8] = message!("allotd: ", "\n");
const JSON: &[u8] = message!("{\"level\":\"ERROR\",\"event\":\"bus_error\",\"message\":\"", "\"}\n");
const EXIT_CODE: i32 = 1;

/// Installs a handler that ends the process with one line in the log's format when memory of a mapped file
/// cannot be read. Without it the process would end silently.
pub fn end_on_bus_error(json: bool) -> io::Result<()> {
    let message = if json { JSON } else { HUMAN };
    let end = move || {
        // If this write fails too, nothing is left to do.
        let _ = rustix::io::write(rustix::stdio::stderr(), message);
        signal_hook::low_level::exit(EXIT_CODE);
    };
    // SAFETY: the handler makes two system calls, a write and `_exit`, both async-signal-safe; it touches no
    // memory but a constant.
    unsafe { signal_hook::low_level::register(signal_hook::consts::SIGBUS, end) }?;
    Ok(())
}
