//! `allotd stats --watch` on a terminal: a screen of what the daemon counts, updated live.

mod draw;
mod keys;
mod poller;
mod rates;
mod screen;
mod terminal;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::TryRecvError;
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event};

use crate::cli::error::CliError;
use crate::client::Server;

use draw::theme::Theme;
use poller::Poller;
use screen::{Next, Screen};
use terminal::WholeTerminal;

/// Longest time until an answer or a signal is noticed.
const TICK: Duration = Duration::from_millis(100);
/// How often the screen is drawn when nothing happens: it shows how long ago things happened.
const REDRAW: Duration = Duration::from_secs(1);

/// Shows the screen until the user or a signal ends it, or the terminal is closed.
pub(crate) fn run(server: Server, interval: Duration) -> Result<(), CliError> {
    let screen = Screen::new(server.to_string(), interval);
    let asking = Poller::start(server, interval).map_err(|error| CliError::Failed(error.to_string()))?;
    let ended = end_on_signals().map_err(failed)?;
    let mut terminal = WholeTerminal::take().map_err(failed)?;
    let result = follow(&mut terminal, screen, &asking, &ended);
    if terminal::wait_for_input(Duration::ZERO).is_break() {
        terminal.abandon();
        return Ok(());
    }
    result
}

#[expect(clippy::needless_pass_by_value, reason = "the signature that map_err wants")]
fn failed(error: io::Error) -> CliError {
    CliError::Failed(format!("the terminal cannot be used: {error}"))
}

fn follow(
    terminal: &mut WholeTerminal,
    mut screen: Screen,
    asking: &Poller,
    ended: &AtomicBool,
) -> Result<(), CliError> {
    let theme = Theme::from_environment();
    let mut drawn_at = None;
    while !ended.load(Ordering::Relaxed) {
        let mut has_news = false;
        loop {
            match asking.reports.try_recv() {
                Ok(report) => {
                    screen.take(report);
                    has_news = true;
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    return Err(CliError::Failed(
                        "polling the daemon ended: start allotd stats again".to_owned(),
                    ));
                }
            }
        }
        if has_news || drawn_at.is_none_or(|at: Instant| at.elapsed() >= REDRAW) {
            terminal.draw(|frame| draw::screen(frame, &screen, theme, Instant::now())).map_err(failed)?;
            drawn_at = Some(Instant::now());
        }
        if !event::poll(Duration::ZERO).map_err(failed)? {
            if terminal::wait_for_input(TICK).is_break() {
                break;
            }
            continue;
        }
        drawn_at = None;
        if let Event::Key(key) = event::read().map_err(failed)?
            && let Some(action) = keys::action(key, screen.mode())
        {
            match screen.act(action) {
                Next::GoOn => {}
                Next::Quit => break,
                // Sending fails only if the poller's thread panicked, which the next round reports.
                Next::SetPaused { pool, paused } => drop(asking.orders.send((pool, paused))),
            }
        }
    }
    Ok(())
}

/// Set by the signals that would otherwise end the process without restoring the terminal.
fn end_on_signals() -> io::Result<Arc<AtomicBool>> {
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP, signal_hook::consts::SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&ended))?;
    }
    Ok(ended)
}
