//! The journal.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::cli::figures::{duration, grouped, microseconds, rate};
use crate::cli::stats::watch::screen::Screen;

use super::fit;
use super::section::{NONE, draw_lines, section_height};
use super::theme::Theme;

/// Lines that the section needs.
pub(crate) fn height(screen: &Screen, width: u16) -> (u16, u16) {
    match lines(screen, width) {
        lines if lines.is_empty() => (0, 0),
        lines => section_height(1, lines.len()),
    }
}

pub(crate) fn draw(frame: &mut Frame<'_>, screen: &Screen, theme: Theme, area: Rect) {
    if let Some(stats) = screen.stats().filter(|_| area.height > 0) {
        let title = format!("journal {}", stats.journal.state);
        draw_lines(frame, &title, lines(screen, area.width), theme, area);
    }
}

fn lines(screen: &Screen, width: u16) -> Vec<Line<'static>> {
    let Some(stats) = screen.stats() else { return Vec::new() };
    let journal = &stats.journal;
    let age =
        journal.checkpoint_age_seconds.map_or("none yet".to_owned(), |age| format!("{} ago", duration(age)));
    let pieces = [
        format!("{} syncs/s", screen.rates.syncs().map_or(NONE.to_owned(), rate)),
        format!("sync p99 {}", microseconds(journal.sync_us.p99)),
        format!("commit wait p99 {}", microseconds(journal.commit_wait_us.p99)),
        format!("{:.1} records per sync", journal.records_per_sync),
        format!("{} unsynced", grouped(journal.unsynced_records)),
        format!("checkpoint {age}"),
    ];
    fit::lines(pieces.map(Span::raw), width)
}
