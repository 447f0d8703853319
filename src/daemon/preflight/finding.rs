//! What a look at a daemon or its machine found.

use std::fmt;

/// How bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// As it should be.
    Fine,
    /// It works, and somebody should look at it.
    Warning,
    /// It does not work.
    Fault,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) level: Level,
    /// What was looked at.
    pub(crate) subject: &'static str,
    /// What was found, and what to do.
    pub(crate) text: String,
}

impl Finding {
    pub(crate) fn fine(subject: &'static str, text: impl Into<String>) -> Self {
        Self { level: Level::Fine, subject, text: text.into() }
    }

    pub(crate) fn warning(subject: &'static str, text: impl Into<String>) -> Self {
        Self { level: Level::Warning, subject, text: text.into() }
    }

    pub(crate) fn fault(subject: &'static str, text: impl Into<String>) -> Self {
        Self { level: Level::Fault, subject, text: text.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Fine => "ok",
            Level::Warning => "warning",
            Level::Fault => "fault",
        };
        write!(f, "{level:<8}{:<12}{}", self.subject, self.text)
    }
}
