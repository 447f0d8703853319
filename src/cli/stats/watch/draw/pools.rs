//! The table of the pools.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Span;
use ratatui::widgets::TableState;

use crate::cli::figures::{cells, duration, percent, rate, short};
use crate::cli::stats::watch::rates::Rates;
use crate::cli::stats::watch::screen::{PoolOrder, Screen};
use crate::http::response::stats::PoolStats;

use super::fit::{self, Column};
use super::section::{NONE, section_height, titled};
use super::theme::Theme;

/// Fewest rows of the table, beside its head.
const MIN_ROWS: u16 = 2;
/// Cells of the bar of what is available.
const BAR_WIDTH: u16 = 8;
/// A pool that lasts less than this is highlighted, in seconds.
const SOON_SECONDS: u64 = 3_600;

const fn column(title: &'static str, width: u16, rank: u8) -> Column {
    Column { title, width, rank }
}

/// Most cells for the names of pools.
const MAX_NAME_WIDTH: usize = 24;

const COLUMNS: [Column; 12] = [
    column("pool", 8, 0),
    column("numbers", 7, 6),
    column("", BAR_WIDTH, 5),
    column("available", 9, 1),
    column("leased", 6, 4),
    column("resting", 7, 8),
    column("done", 6, 9),
    column("retired", 7, 10),
    column("blocked", 7, 11),
    column("lease/s", 7, 3),
    column("over 1m", 7, 7),
    column("lasts", 9, 2),
];

/// Lines that the table needs.
pub(crate) fn height(screen: &Screen) -> (u16, u16) {
    section_height(1 + MIN_ROWS, 1 + screen.pools().len().max(1))
}

pub(crate) fn draw(frame: &mut Frame<'_>, screen: &Screen, theme: Theme, area: Rect) {
    let pools = screen.pools();
    let order = match screen.order {
        PoolOrder::SoonestExhausted => "soonest exhausted first",
        PoolOrder::Name => "by name",
    };
    let filter = match screen.filter.as_str() {
        "" => String::new(),
        filter => format!(", filter \"{filter}\""),
    };
    let block = titled(&format!("pools: {}, {order}{filter}", pools.len()), theme);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    if pools.is_empty() {
        let why = match screen.stats() {
            None => "",
            Some(stats) if stats.pools.is_empty() => "there is no pool yet: allotd pool create NAME FILE",
            Some(_) => "no pool has this in its name: Esc shows all",
        };
        frame.render_widget(why, inner);
        return;
    }
    let rows = pools.iter().map(|(name, pool)| row(name, pool, &screen.rates, theme)).collect();
    let mut columns = COLUMNS;
    let longest = pools.iter().map(|(name, _)| name.len()).max().unwrap_or(0).min(MAX_NAME_WIDTH);
    columns[0].width = columns[0].width.max(u16::try_from(longest).unwrap_or(0));
    let table = fit::table(&columns, rows, theme.title(), inner.width).row_highlight_style(Theme::SELECTED);
    let mut state = TableState::new().with_selected(screen.selected());
    frame.render_stateful_widget(table, inner, &mut state);
}

fn row(name: &str, pool: &PoolStats, rates: &Rates, theme: Theme) -> Vec<Span<'static>> {
    let count = |count| Span::raw(short(count));
    vec![
        Span::raw(name.to_owned()),
        count(pool.numbers),
        Span::styled(bar(pool.available, pool.numbers), theme.state("available")),
        Span::raw(percent(pool.available, pool.numbers)),
        count(pool.leased),
        count(pool.resting),
        count(pool.done),
        count(pool.retired),
        count(pool.blocked),
        Span::raw(rates.leases(name).map_or(NONE.to_owned(), rate)),
        Span::raw(rate(pool.leases_per_second.last_1m)),
        outlook(pool, theme),
    ]
}

/// How long the available numbers last, or why none can be leased.
fn outlook(pool: &PoolStats, theme: Theme) -> Span<'static> {
    match pool.exhaustion_seconds {
        _ if pool.paused => Span::styled("PAUSED", theme.warning()),
        _ if pool.is_closed() => Span::styled("CLOSED", theme.warning()),
        _ if pool.available == 0 => Span::styled("NONE LEFT", theme.bad()),
        Some(seconds) if seconds < SOON_SECONDS => Span::styled(duration(seconds), theme.warning()),
        Some(seconds) => Span::raw(duration(seconds)),
        None => Span::raw(NONE),
    }
}

/// A bar for a part of a whole.
fn bar(part: u64, whole: u64) -> String {
    let width = usize::from(BAR_WIDTH);
    let filled = cells(part, whole, width);
    format!("{}{}", "█".repeat(filled), "░".repeat(width - filled))
}
