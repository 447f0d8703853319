//! Colours. They only repeat what words and shapes say; `NO_COLOR` turns them off.

use ratatui::style::{Color, Modifier, Style};

/// How things look.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli::stats::watch) struct Theme {
    is_coloured: bool,
}

impl Theme {
    /// The chosen row.
    pub(crate) const SELECTED: Style = Style::new().add_modifier(Modifier::REVERSED);

    /// With colours, unless the environment has a `NO_COLOR` that is not empty.
    pub(in crate::cli::stats::watch) fn from_environment() -> Self {
        Self { is_coloured: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) }
    }

    fn coloured(self, color: Color) -> Style {
        if self.is_coloured { Style::new().fg(color) } else { Style::new() }
    }

    /// Names and titles.
    pub(crate) fn title(self) -> Style {
        self.coloured(Color::Cyan).add_modifier(Modifier::BOLD)
    }

    /// What is as it should be.
    pub(crate) fn good(self) -> Style {
        self.coloured(Color::Green)
    }

    /// What needs attention soon.
    pub(crate) fn warning(self) -> Style {
        self.coloured(Color::Yellow).add_modifier(Modifier::BOLD)
    }

    /// What is wrong.
    pub(crate) fn bad(self) -> Style {
        self.coloured(Color::Red).add_modifier(Modifier::BOLD)
    }

    /// A state of numbers.
    pub(crate) fn state(self, state: &str) -> Style {
        self.coloured(match state {
            "available" => Color::Green,
            "leased" => Color::Blue,
            "resting" => Color::Yellow,
            "done" => Color::Magenta,
            "blocked" => Color::Red,
            "closed" => Color::Cyan,
            _ => Color::DarkGray,
        })
    }
}

#[cfg(test)]
impl Theme {
    /// Without colours.
    pub(crate) const PLAIN: Self = Self { is_coloured: false };
    /// With colours.
    pub(crate) const COLOURED: Self = Self { is_coloured: true };
}
