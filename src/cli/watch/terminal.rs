//! The terminal, taken whole and given back as it was: at the end, after an error, and after a panic.

use std::io;
use std::ops::{Deref, DerefMut};

use ratatui::DefaultTerminal;

/// The whole terminal. Dropped, it is as it was before.
pub(super) struct WholeTerminal(DefaultTerminal);

impl WholeTerminal {
    /// Takes it. From now on a panic gives it back before it is told.
    pub(super) fn take() -> io::Result<Self> {
        ratatui::try_init().map(Self)
    }
}

impl Drop for WholeTerminal {
    fn drop(&mut self) {
        ratatui::restore();
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
        let test = "cli::watch::terminal::tests::panics_on_the_screen";
        let inside = format!("{} --ignored --exact --nocapture {test}", this.display());
        let mut script = Command::new("script");
        let output = script.args(["-qec", &inside, "/dev/null"]).stdin(Stdio::null()).output().unwrap();
        let shown = String::from_utf8_lossy(&output.stdout);
        let [taken, left, told] = ["\x1b[?1049h", "\x1b[?1049l", "on purpose"].map(|part| shown.find(part));
        assert!(taken.is_some() && taken < left && left < told, "{shown:?}");
    }
}
