//! The whole terminal, restored at the end, after an error and after a panic.

use std::io;
use std::ops::{ControlFlow, Deref, DerefMut};
use std::time::Duration;

use ratatui::DefaultTerminal;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// The whole terminal. Dropping it restores the terminal.
pub(crate) struct WholeTerminal(DefaultTerminal);

impl WholeTerminal {
    /// Takes it. From here on a panic restores it before its message is printed.
    pub(crate) fn take() -> io::Result<Self> {
        ratatui::try_init().map(Self)
    }

    /// Does not restore it, because it is gone: restoring would fail, and the failure could not be reported.
    pub(crate) fn abandon(self) {
        std::mem::forget(self);
    }
}

/// Waits for input, a signal or `limit`; breaks if the other end of the terminal is closed. The library's
/// own wait would then spin for ever.
pub(crate) fn wait_for_input(limit: Duration) -> ControlFlow<()> {
    // The screen is only shown where standard output is the terminal; input may come from elsewhere.
    let stdout = io::stdout();
    let mut ends = [PollFd::new(&stdout, PollFlags::IN)];
    let limit = Timespec { tv_sec: limit.as_secs().cast_signed(), tv_nsec: limit.subsec_nanos().into() };
    let waited = poll(&mut ends, Some(&limit));
    let is_gone = waited.is_ok() && ends[0].revents().intersects(PollFlags::HUP | PollFlags::ERR);
    if is_gone { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

impl Drop for WholeTerminal {
    fn drop(&mut self) {
        // Fails if the terminal is gone.
        let _ = ratatui::try_restore();
    }
}

impl Deref for WholeTerminal {
    type Target = DefaultTerminal;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for WholeTerminal {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    /// Run by the test below, in a terminal of its own.
    #[test]
    #[ignore = "needs a terminal, and panics"]
    fn panics_on_the_screen() {
        let _terminal = WholeTerminal::take().unwrap();
        panic!("on purpose");
    }

    #[test]
    fn a_panic_is_told_on_the_screen_of_before() {
        let this = std::env::current_exe().unwrap();
        let test = "cli::stats::watch::terminal::tests::panics_on_the_screen";
        let inside = format!("{} --ignored --exact --nocapture {test}", this.display());
        let mut script = Command::new("script");
        let output = script.args(["-qec", &inside, "/dev/null"]).stdin(Stdio::null()).output().unwrap();
        let shown = String::from_utf8_lossy(&output.stdout);
        let [taken, left, told] = ["\x1b[?1049h", "\x1b[?1049l", "on purpose"].map(|part| shown.find(part));
        assert!(taken.is_some() && taken < left && left < told, "{shown:?}");
    }
}
