//! What the sections of the screen share: titles, heights, lines.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Block, Borders};

use super::theme::Theme;

/// Shown in place of a missing figure.
pub(crate) const NONE: &str = "-";

/// Areas of these heights one below the other, the last at the bottom.
pub(crate) fn split<const N: usize>(area: Rect, heights: [u16; N]) -> [Rect; N] {
    let spare = area.height.saturating_sub(heights.iter().sum());
    let mut constraints = heights.to_vec();
    constraints.insert(N - 1, spare);
    let all = Layout::vertical(constraints.into_iter().map(Constraint::Length)).split(area);
    std::array::from_fn(|place| if place == N - 1 { all[N] } else { all[place] })
}

/// A line with a title above a section.
pub(crate) fn titled(title: &str, theme: Theme) -> Block<'static> {
    Block::new().borders(Borders::TOP).title(Span::styled(format!("─ {title} "), theme.title()))
}

/// Lines of text under a title.
pub(crate) fn draw_lines(
    frame: &mut Frame<'_>,
    title: &str,
    lines: Vec<Line<'static>>,
    theme: Theme,
    area: Rect,
) {
    let block = titled(title, theme);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    frame.render_widget(Text::from(lines), inner);
}

/// The least and the greatest height of a section with `lines` lines, `least` at least, under a title.
pub(crate) fn section_height(least: u16, lines: usize) -> (u16, u16) {
    let most = u16::try_from(lines).unwrap_or(u16::MAX).saturating_add(1);
    ((least + 1).min(most), most)
}
