//! The calls, and what was refused.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span, Text};

use crate::cli::figures::{grouped, latency_cell, rate, short};
use crate::cli::stats::answer::refusal_in_words;
use crate::cli::stats::watch::rates::Rates;
use crate::cli::stats::watch::screen::Screen;
use crate::http::response::stats::{CallStats, RefusalStats, Stats};

use super::fit::{self, Column};
use super::section::{NONE, section_height, titled};
use super::theme::Theme;

/// Fewest lines of the section.
const MIN_LINES: u16 = 2;

const fn column(title: &'static str, width: u16, rank: u8) -> Column {
    Column { title, width, rank }
}

const COLUMNS: [Column; 6] = [
    column("call", 12, 0),
    column("count", 7, 4),
    column("calls/s", 7, 1),
    column("p50", 9, 3),
    column("p99", 9, 2),
    column("p99.9", 9, 5),
];

/// Lines that the section needs.
pub(crate) fn height(screen: &Screen) -> (u16, u16) {
    match screen.stats() {
        None => (0, 0),
        Some(stats) => section_height(MIN_LINES, 1 + stats.requests.len() + refusals(stats).len()),
    }
}

pub(crate) fn draw(frame: &mut Frame<'_>, screen: &Screen, theme: Theme, area: Rect) {
    let Some(stats) = screen.stats().filter(|_| area.height > 0) else { return };
    let block = titled("calls, and their latency in the last minute", theme);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let refusals = refusals(stats);
    // Refusals matter more than rare calls, but less than the most frequent ones.
    let count = u16::try_from(refusals.len()).unwrap_or(u16::MAX);
    let beside_refusals = inner.height.saturating_sub(count).max(inner.height / 2 + 1);
    let wanted = u16::try_from(1 + stats.requests.len()).unwrap_or(u16::MAX);
    let height = wanted.min(beside_refusals);
    let [calls, below] = Layout::vertical([Constraint::Max(height), Constraint::Fill(1)]).areas(inner);
    let table = fit::table(&COLUMNS, rows(stats, &screen.rates), theme.title(), inner.width);
    frame.render_widget(table, calls);
    frame.render_widget(Text::from(refusals).style(theme.warning()), below);
}

/// A row per call, the most frequent first.
fn rows(stats: &Stats, rates: &Rates) -> Vec<Vec<Span<'static>>> {
    let mut calls: Vec<_> = stats.requests.iter().collect();
    calls.sort_by_key(|(_, call)| std::cmp::Reverse(call.count));
    let row = |(name, call): (&String, &CallStats)| {
        let recent = &call.latency_1m_us;
        vec![
            Span::raw(name.clone()),
            Span::raw(short(call.count)),
            Span::raw(rates.calls(name).map_or(NONE.to_owned(), rate)),
            Span::raw(latency_cell(recent.p50)),
            Span::raw(latency_cell(recent.p99)),
            Span::raw(latency_cell(recent.p99_9)),
        ]
    };
    calls.into_iter().map(row).collect()
}

/// A line per reason, the most frequent of the last minute first.
fn refusals(stats: &Stats) -> Vec<Line<'static>> {
    let mut refusals: Vec<_> = stats.refusals.iter().collect();
    refusals.sort_by_key(|(_, refused)| std::cmp::Reverse((refused.count_1m, refused.count)));
    let line = |(code, refused): (&String, &RefusalStats)| {
        let [recent, all] = [refused.count_1m, refused.count].map(grouped);
        Line::from(format!("refused {code}: {recent} in 1m, {all} in all. {}", refusal_in_words(code)))
    };
    refusals.into_iter().map(line).collect()
}
