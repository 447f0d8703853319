//! The screen as it is drawn: sections from the most important down, those that do not fit left out.

mod calls;
mod fit;
mod footer;
mod header;
mod journal;
mod pool;
mod pools;
pub(super) mod theme;

use std::time::Instant;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Block, Borders, Paragraph, Wrap};

use super::keys::Mode;
use super::screen::Screen;
use theme::Theme;

/// What stands for a figure that there is not.
const NONE: &str = "-";

/// Draws all of it.
pub(super) fn screen(frame: &mut Frame<'_>, screen: &Screen, theme: Theme, now: Instant) {
    let width = frame.area().width;
    let header = header::lines(screen, theme, width, now);
    let footer = footer::lines(screen, theme, width);
    let height = |lines: &[Line<'_>]| (1, u16::try_from(lines.len()).unwrap_or(u16::MAX).max(1));
    if *screen.mode() == Mode::Help {
        let order = [height(&header), (1, u16::MAX), height(&footer)];
        let [top, middle, bottom] = split(frame.area(), fit::heights(order, frame.area().height));
        frame.render_widget(Text::from(header), top);
        let help = Paragraph::new(footer::help(theme, width)).wrap(Wrap { trim: false });
        frame.render_widget(help, middle);
        frame.render_widget(Text::from(footer), bottom);
        return;
    }
    let order = [
        height(&header),
        height(&footer),
        pools::height(screen),
        pool::height(screen, theme, width),
        calls::height(screen),
        journal::height(screen, width),
    ];
    let [top, bottom, pools, pool, calls, journal] = fit::heights(order, frame.area().height);
    let [top, pools, pool, calls, journal, bottom] =
        split(frame.area(), [top, pools, pool, calls, journal, bottom]);
    frame.render_widget(Text::from(header), top);
    pools::draw(frame, screen, theme, pools);
    pool::draw(frame, screen, theme, pool);
    calls::draw(frame, screen, theme, calls);
    journal::draw(frame, screen, theme, journal);
    frame.render_widget(Text::from(footer), bottom);
}

/// Areas of these heights one below the other, the last at the bottom.
fn split<const N: usize>(area: Rect, heights: [u16; N]) -> [Rect; N] {
    let spare = area.height.saturating_sub(heights.iter().sum());
    let mut constraints = heights.to_vec();
    constraints.insert(N - 1, spare);
    let all = Layout::vertical(constraints.into_iter().map(Constraint::Length)).split(area);
    std::array::from_fn(|place| if place == N - 1 { all[N] } else { all[place] })
}

/// A line with a title above a section.
fn titled(title: &str, theme: Theme) -> Block<'static> {
    Block::new().borders(Borders::TOP).title(Span::styled(format!("─ {title} "), theme.title()))
}

/// Lines of text under a title.
fn draw_lines(frame: &mut Frame<'_>, title: &str, lines: Vec<Line<'static>>, theme: Theme, area: Rect) {
    let block = titled(title, theme);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    frame.render_widget(Text::from(lines), inner);
}

/// The height of a section of so many lines under a title: no less than `least` lines.
fn section_height(least: u16, lines: usize) -> (u16, u16) {
    let most = u16::try_from(lines).unwrap_or(u16::MAX).saturating_add(1);
    ((least + 1).min(most), most)
}

#[cfg(test)]
mod tests;
