//! A disk that fails under a mapping: the system has no other way to say so than SIGBUS.

use std::io;

macro_rules! message {
    ($before:literal, $after:literal) => {
        concat!(
            $before,
            "the disk failed under a mapped file, or the file was cut (SIGBUS). Nothing was confirmed after that; \
             what was confirmed before is in the journal. Look at the system's log, check the disk, then start again",
            $after
        )
        .as_bytes()
    };
}

/// What ends the process; one line, made before: a handler of signals may not make one.
const HUMAN: &[u8] = message!("allotd: ", "\n");
const JSON: &[u8] = message!("{\"level\":\"ERROR\",\"event\":\"bus_error\",\"message\":\"", "\"}\n");
const EXIT_CODE: i32 = 1;

/// Ends the process with a line of its own, of the log's format, instead of without a word, when memory of a
/// mapped file cannot be read.
pub fn end_on_bus_error(json: bool) -> io::Result<()> {
    let message = if json { JSON } else { HUMAN };
    let end = move || {
        // Nothing is left to do if not even this can be written.
        let _ = rustix::io::write(rustix::stdio::stderr(), message);
        signal_hook::low_level::exit(EXIT_CODE);
    };
    // SAFETY: the handler makes two system calls, a write and `_exit`, both async-signal-safe; it touches no
    // memory but a constant.
    unsafe { signal_hook::low_level::register(signal_hook::consts::SIGBUS, end) }?;
    Ok(())
}
