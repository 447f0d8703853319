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
