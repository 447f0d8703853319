//! What each key does.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// What the keys do at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Browsing the pools.
    Browse,
    /// Writing a filter.
    Filter,
    /// Asked whether to pause (true) or resume a pool.
    Confirm {
        /// The pool.
        pool: String,
        /// Whether it would be paused.
        paused: bool,
    },
    /// Reading the help.
    Help,
}

/// What a key asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Quit,
    /// Leave what is open: the help, the question, the filter; else quit.
    Leave,
    Up,
    Down,
    First,
    Last,
    ChangeOrder,
    StartFilter,
    FilterWith(char),
    FilterErase,
    FilterDone,
    AskPause,
    Confirm,
    Help,
}

/// The action of a key, if it has one.
pub(crate) fn action(key: KeyEvent, mode: &Mode) -> Option<Action> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return (key.code == KeyCode::Char('c')).then_some(Action::Quit);
    }
    match (mode, key.code) {
        (Mode::Confirm { .. }, KeyCode::Char('y' | 'Y')) => Some(Action::Confirm),
        (_, KeyCode::Esc) | (Mode::Confirm { .. } | Mode::Help, _) => Some(Action::Leave),
        (Mode::Filter, KeyCode::Enter) => Some(Action::FilterDone),
        (Mode::Filter, KeyCode::Backspace) => Some(Action::FilterErase),
        (Mode::Filter, KeyCode::Char(typed)) => Some(Action::FilterWith(typed)),
        (_, KeyCode::Up) | (Mode::Browse, KeyCode::Char('k')) => Some(Action::Up),
        (_, KeyCode::Down) | (Mode::Browse, KeyCode::Char('j')) => Some(Action::Down),
        (_, KeyCode::Home) => Some(Action::First),
        (_, KeyCode::End) => Some(Action::Last),
        (Mode::Browse, KeyCode::Char(typed)) => match typed {
            'q' => Some(Action::Quit),
            's' => Some(Action::ChangeOrder),
            '/' => Some(Action::StartFilter),
            'p' => Some(Action::AskPause),
            '?' => Some(Action::Help),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pressed(code: KeyCode, mode: &Mode) -> Option<Action> {
        action(KeyEvent::new(code, KeyModifiers::NONE), mode)
    }

    #[test]
    fn a_letter_is_a_command_or_part_of_the_filter() {
        let question = Mode::Confirm { pool: "ru".to_owned(), paused: true };
        let q = KeyCode::Char('q');
        assert_eq!(pressed(q, &Mode::Browse), Some(Action::Quit));
        assert_eq!(pressed(q, &Mode::Filter), Some(Action::FilterWith('q')));
        assert_eq!(pressed(q, &question), Some(Action::Leave));
        assert_eq!(pressed(KeyCode::Char('y'), &question), Some(Action::Confirm));
        assert_eq!(pressed(KeyCode::Char('y'), &Mode::Browse), None);
        let ctrl_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        for mode in [Mode::Browse, Mode::Filter, question, Mode::Help] {
            assert_eq!(action(ctrl_c, &mode), Some(Action::Quit));
            assert_eq!(pressed(KeyCode::Esc, &mode), Some(Action::Leave));
        }
    }
}
