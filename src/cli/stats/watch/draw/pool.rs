//! The selected pool.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::Sparkline;

use crate::cli::figures::{self, duration, grouped, milliseconds, percent, rate};
use crate::cli::stats::watch::screen::Screen;
use crate::http::response::stats::PoolStats;

use super::fit;
use super::section::{section_height, titled};
use super::theme::Theme;

/// The shape of each state in the bar, in the order of [`PoolStats::states`]: without colours the shapes
/// distinguish them.
const SHAPES: [char; 7] = ['█', '▓', '▒', '░', '·', '×', '–'];
/// Most lines of the sparkline.
const SPARK_LINES: usize = 3;
/// Fewest lines of the section.
const MIN_LINES: u16 = 3;
/// The scale of a sparkline, which draws whole numbers.
const SPARKS_PER_LEASE: f64 = 100.0;

fn selected(screen: &Screen) -> Option<(String, &PoolStats)> {
    let place = screen.selected()?;
    screen.pools().get(place).map(|(name, pool)| ((*name).to_owned(), *pool))
}

/// Lines that the section needs.
pub(crate) fn height(screen: &Screen, theme: Theme, width: u16) -> (u16, u16) {
    match selected(screen) {
        None => (0, 0),
        Some((_, pool)) => {
            let text = bar_and_legend(pool, theme, width).len() + totals(pool, width).len();
            section_height(MIN_LINES, text + SPARK_LINES)
        }
    }
}

pub(crate) fn draw(frame: &mut Frame<'_>, screen: &Screen, theme: Theme, area: Rect) {
    let Some((name, pool)) = selected(screen) else { return };
    let paused = if pool.paused { ", PAUSED" } else { "" };
    let block = titled(
        &format!("{name}: {} numbers, round {}{paused}", grouped(pool.numbers), grouped(pool.round)),
        theme,
    );
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let mut lines = bar_and_legend(pool, theme, inner.width);
    lines.extend(totals(pool, inner.width));
    // The history gets the remaining height, at least one line.
    let text_height = u16::try_from(lines.len()).unwrap_or(u16::MAX).min(inner.height.saturating_sub(1));
    let [text, below] = Layout::vertical([Constraint::Length(text_height), Constraint::Fill(1)]).areas(inner);
    frame.render_widget(Text::from(lines), text);
    draw_history(frame, screen, &name, theme, below);
}

/// Leases per second over the last minutes: a caption, and as many columns as fit beside it.
fn draw_history(frame: &mut Frame<'_>, screen: &Screen, name: &str, theme: Theme, area: Rect) {
    let history = screen.rates.history(name);
    let most = screen.rates.history(name).fold(0.0, f64::max);
    let now = screen.rates.leases(name).unwrap_or(0.0);
    let kept = duration(screen.seconds(history.len()));
    let caption = format!("leases/s {}, most in {kept} {} ", rate(now), rate(most));
    let width = u16::try_from(caption.len()).unwrap_or(u16::MAX);
    let [left, right] = Layout::horizontal([Constraint::Length(width), Constraint::Fill(1)]).areas(area);
    frame.render_widget(Line::from(caption), left);
    let skipped = history.len().saturating_sub(right.width.into());
    // Not negative, and rates are far below what 64 bits hold.
    #[expect(clippy::cast_sign_loss)]
    let data: Vec<u64> = history.skip(skipped).map(|leases| (leases * SPARKS_PER_LEASE) as u64).collect();
    frame.render_widget(Sparkline::default().data(&data).style(theme.state("leased")), right);
}

fn bar_and_legend(pool: &PoolStats, theme: Theme, width: u16) -> Vec<Line<'static>> {
    let states = pool.states();
    let shares = shares(states.map(|(_, count)| count), width.into());
    let bar = states.iter().zip(SHAPES).zip(shares).map(|(((state, _), shape), cells)| {
        Span::styled(shape.to_string().repeat(cells), theme.state(state))
    });
    let legend = states.iter().zip(SHAPES).map(|((state, count), shape)| {
        let text = match *count {
            0 => format!("{shape} {state} 0"),
            count => format!("{shape} {state} {} ({})", grouped(count), percent(count, pool.numbers)),
        };
        Span::styled(text, theme.state(state))
    });
    let mut lines = vec![bar.collect::<Line<'_>>()];
    lines.extend(fit::lines(legend, width));
    lines
}

/// Cells of a bar for each count: at least one for a count above 0, `cells` in total.
fn shares<const N: usize>(counts: [u64; N], cells: usize) -> [usize; N] {
    let all: u64 = counts.iter().sum();
    let mut shares = counts.map(|count| figures::cells(count, all, cells));
    if let Some(largest) = (0..N).max_by_key(|&place| counts[place]).filter(|_| all > 0) {
        let others: usize = shares.iter().sum::<usize>() - shares[largest];
        shares[largest] = cells.saturating_sub(others);
    }
    shares
}

fn totals(pool: &PoolStats, width: u16) -> Vec<Line<'static>> {
    let totals = &pool.totals;
    let counts = [
        ("leases", totals.leases),
        ("renewals", totals.renewals),
        ("returns", totals.returns),
        ("expirations", totals.expirations),
        ("found none", totals.exhausted),
        ("stale", totals.stale),
    ];
    let totals_line = counts.map(|(name, count)| Span::raw(format!("{name} {}", grouped(count))));
    let mut lines = fit::lines(totals_line, width);
    let outcomes = totals.returns_by_outcome.iter().map(|(outcome, &count)| {
        Span::raw(format!("{outcome} {} ({})", grouped(count), percent(count, totals.returns)))
    });
    if !totals.returns_by_outcome.is_empty() {
        lines.extend(fit::lines(std::iter::once(Span::raw("returned as")).chain(outcomes), width));
    }
    let late = &pool.expiry_lateness_ms;
    let [p50, p99, max] = [late.p50, late.p99, late.max].map(milliseconds);
    let mut pieces = vec![Span::raw(format!("back late by p50 {p50}, p99 {p99}, max {max}"))];
    pieces.extend(pool.next_available_at.as_ref().map(|at| Span::raw(format!("next available at {at}"))));
    pieces.extend(pool.next_open_at.as_ref().map(|at| Span::raw(format!("closed ones open at {at}"))));
    lines.extend(fit::lines(pieces, width));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_shows_all_that_there_is() {
        assert_eq!(shares([500, 500], 10), [5, 5]);
        assert_eq!(shares([1_000_000, 1, 0], 10), [9, 1, 0]);
        assert_eq!(shares([1, 1, 1], 10).iter().sum::<usize>(), 10);
        assert_eq!(shares([0, 0], 10), [0, 0]);
        assert_eq!(shares([5, 1], 0), [0, 1]);
    }
}
