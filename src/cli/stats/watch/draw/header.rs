//! The header: which daemon, and its state.

use std::time::{Duration, Instant};

use ratatui::style::Style;
use ratatui::text::{Line, Span};

use crate::cli::figures::{bytes, duration, grouped, percent};
use crate::cli::stats::answer::state_in_words;
use crate::cli::stats::watch::screen::Screen;
use crate::http::response::stats::Stats;

use super::fit;
use super::theme::Theme;

/// A disk with less than one part in this many free is highlighted.
const SCARCE_DISK_PARTS: u64 = 10;

pub(crate) fn lines(screen: &Screen, theme: Theme, width: u16, now: Instant) -> Vec<Line<'static>> {
    let mut pieces = Vec::new();
    let Some(stats) = screen.stats() else {
        pieces.push(Span::styled("allotd", theme.title()));
        pieces.push(connection(screen, theme, now).unwrap_or_else(|| Span::raw("connecting…")));
        pieces.push(Span::raw(screen.server.clone()));
        return with_message(screen, fit::lines(pieces, width), width);
    };
    pieces.push(Span::styled(format!("allotd {}", stats.version), theme.title()));
    pieces.push(connection(screen, theme, now).unwrap_or_else(|| state(stats, theme)));
    pieces.push(Span::raw(format!("up {}", duration(stats.uptime_seconds))));
    pieces.push(Span::raw(format!("durability {}", stats.durability)));
    pieces.push(Span::raw(screen.server.clone()));
    pieces.push(Span::raw(format!("{} connections", grouped(stats.connections.open))));
    if let Some(resident) = stats.memory.resident_bytes {
        pieces.push(Span::raw(format!("memory {}", bytes(resident))));
    }
    if let (Some(free), Some(total)) = (stats.disk.free_bytes, stats.disk.total_bytes) {
        let text = format!("disk {} free ({})", bytes(free), percent(free, total));
        let style = if free < total / SCARCE_DISK_PARTS { theme.warning() } else { Style::new() };
        pieces.push(Span::styled(text, style));
    }
    with_message(screen, fit::lines(pieces, width), width)
}

/// Why the daemon does not answer, on lines of its own.
fn with_message(screen: &Screen, mut lines: Vec<Line<'static>>, width: u16) -> Vec<Line<'static>> {
    if let Some(trouble) = &screen.trouble {
        lines.extend(fit::lines(trouble.message.split(". ").map(|part| Span::raw(part.to_owned())), width));
    }
    lines
}

/// Says that there is no answer, and since when; `None` while there is one.
fn connection(screen: &Screen, theme: Theme, now: Instant) -> Option<Span<'static>> {
    let text = match (&screen.trouble, screen.silent_for(now)) {
        (Some(trouble), _) => {
            let seconds = now.saturating_duration_since(trouble.since).as_secs();
            format!("CANNOT BE REACHED since {} ({})", clock_time(seconds), duration(seconds))
        }
        (None, Some(silent)) => format!("NO ANSWER for {}", duration(silent.as_secs())),
        (None, None) => return None,
    };
    Some(Span::styled(text, theme.bad()))
}

/// The time `seconds_ago`, in UTC.
fn clock_time(seconds_ago: u64) -> String {
    let then = std::time::SystemTime::now() - Duration::from_secs(seconds_ago);
    humantime::format_rfc3339_seconds(then).to_string()
}

fn state(stats: &Stats, theme: Theme) -> Span<'static> {
    let style = match stats.state.as_str() {
        "ready" => theme.good(),
        "draining" => theme.warning(),
        _ => theme.bad(),
    };
    Span::styled(state_in_words(&stats.state).to_owned(), style)
}
