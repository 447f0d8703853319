//! The last line: a question, what just happened, or the keys; and the help.

use ratatui::text::{Line, Span};

use crate::cli::stats::watch::keys::Mode;
use crate::cli::stats::watch::screen::Screen;

use super::fit;
use super::theme::Theme;

const KEYS: [(&str, &str); 6] = [
    ("↑ ↓", "select a pool (also k and j, Home and End)"),
    ("/", "filter pools by a part of the name; Enter keeps the filter, Esc clears it"),
    ("s", "switch between sorting by soonest exhausted and by name"),
    ("p", "pause or resume the selected pool, after a confirmation"),
    ("?", "this help; any key closes it"),
    ("q", "quit (also Esc and Ctrl-C)"),
];

const NOTES: [(&str, &str); 6] = [
    ("lease/s", "numbers leased per second since the last update; over 1m: in the last minute"),
    ("lasts", "time until no number is available, if the present trend continues"),
    ("late", "how long after its lease or rest ended a number was available again"),
    ("p50, p99", "half, 99 of 100 calls took no longer; without the wait for the disk"),
    ("commit", "the wait for the disk, which comes on top"),
    ("unsynced", "changes on their way to the disk, not confirmed yet"),
];

pub(crate) fn lines(screen: &Screen, theme: Theme, width: u16) -> Vec<Line<'static>> {
    let line = match (screen.mode(), &screen.notice) {
        (Mode::Confirm { pool, paused: true }, _) => {
            Line::styled(format!("pause {pool}, so that new leases are refused? y/n"), theme.warning())
        }
        (Mode::Confirm { pool, .. }, _) => {
            Line::styled(format!("resume {pool}, so that it hands out numbers again? y/n"), theme.warning())
        }
        (Mode::Filter, _) => Line::from(format!("/{}▏ Enter keeps it, Esc shows all", screen.filter)),
        (_, Some(notice)) => Line::styled(notice.clone(), theme.warning()),
        _ => {
            let short = ["q quit", "? help", "↑↓ select", "/ filter", "s sort", "p pause"];
            return fit::lines(short.map(Span::raw), width).into_iter().take(1).collect();
        }
    };
    vec![line]
}

pub(crate) fn help(theme: Theme, width: u16) -> Vec<Line<'static>> {
    let key = |(key, does): (&'static str, &'static str)| {
        Line::from_iter([Span::styled(format!("{key:10}"), theme.title()), Span::raw(does)])
    };
    let mut lines = vec![Line::from("─".repeat(width.into()))];
    lines.extend(KEYS.map(key));
    lines.push(Line::default());
    lines.extend(NOTES.map(key));
    lines
}
