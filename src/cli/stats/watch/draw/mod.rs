//! Draws the screen: sections by importance; those that do not fit are left out.

mod calls;
mod fit;
mod footer;
mod header;
mod journal;
mod pool;
mod pools;
pub(crate) mod section;
pub(super) mod theme;

use std::time::Instant;

use ratatui::Frame;
use ratatui::text::{Line, Text};
use ratatui::widgets::{Paragraph, Wrap};

use super::keys::Mode;
use super::screen::Screen;
use section::split;
use theme::Theme;

/// Draws all of it.
pub(crate) fn screen(frame: &mut Frame<'_>, screen: &Screen, theme: Theme, now: Instant) {
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

#[cfg(test)]
mod tests;
