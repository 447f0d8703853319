//! The screen drawn from a recorded answer, which `tests/http/stats.rs` compares with the daemon's.

use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::style::Color;

use crate::cli::stats::answer;
use crate::cli::stats::watch::draw::*;
use crate::cli::stats::watch::keys::Action;
use crate::cli::stats::watch::poller::Report;
use crate::client::ClientError;
use crate::http::response::stats::Stats;

const ANSWER: &str = include_str!("../../../../../tests/fixtures/stats.json");
const INTERVAL: Duration = Duration::from_secs(1);

fn answer(at: Instant, change: impl FnOnce(&mut Stats)) -> Report {
    let mut stats = Box::new(answer::parse(ANSWER).unwrap());
    change(&mut stats);
    Report::Stats { at, result: Ok(stats) }
}

/// A screen that got two answers, 500 leases of `ru-mobile` apart.
fn filled(at: Instant) -> Screen {
    let mut screen = Screen::new("http://127.0.0.1:7979".to_owned(), INTERVAL);
    screen.take(answer(at, |stats| stats.pools.get_mut("ru-mobile").unwrap().totals.leases -= 500));
    screen.take(answer(at + INTERVAL, |_| {}));
    screen
}

fn drawn(screen: &Screen, theme: Theme, now: Instant, (width, height): (u16, u16)) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| crate::cli::stats::watch::draw::screen(frame, screen, theme, now)).unwrap();
    terminal.backend().buffer().clone()
}

fn text(screen: &Screen, now: Instant, size: (u16, u16)) -> String {
    let buffer = drawn(screen, Theme::PLAIN, now, size);
    let line = |row: &[ratatui::buffer::Cell]| {
        row.iter().map(ratatui::buffer::Cell::symbol).collect::<String>().trim_end().to_owned()
    };
    buffer.content.chunks(size.0.into()).map(line).collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn assert_has(text: &str, words: &[&str]) {
    for words in words {
        assert!(text.contains(words), "{words} is not in\n{text}");
    }
}

#[test]
fn all_of_it_on_80_by_24() {
    let at = Instant::now();
    let mut screen = filled(at);
    screen.act(Action::Down);
    let text = text(&screen, at + INTERVAL, (80, 24));
    assert_has(&text, &["allotd 0.1.0   ready   up ", "durability sync", "disk ", " free (", "connections"]);
    assert_has(&text, &["pools: 3, soonest exhausted first", "ru-mobile", "10.0M", "NONE LEFT"]);
    assert_has(&text, &["─ ru-mobile: 10,000,000 numbers, round 1 ─", "█ available ", "▓ leased "]);
    assert_has(&text, &["leases/s 500, most in 1s 500 █"]);
    assert_has(&text, &["calls/s", "p99.9", "lease ", "refused exhausted: "]);
    assert_has(
        &text,
        &["journal ok", "syncs/s", "commit wait p99 ", "records per sync", "unsynced", "checkpoint "],
    );
    assert_has(text.lines().last().unwrap(), &["q quit", "? help", "p pause"]);
}

#[test]
fn more_of_it_on_a_large_one() {
    let at = Instant::now();
    let mut screen = filled(at);
    screen.act(Action::Down);
    let text = text(&screen, at + INTERVAL, (120, 50));
    assert_has(&text, &["resting", "retired", "returned as", "answered 1 (50.0 %)", "back late by p50 "]);
    assert_has(&text, &["create_pool", "refused pool_not_found: "]);
}

#[test]
fn a_pool_outside_its_hours_is_closed() {
    let at = Instant::now();
    let mut screen = filled(at);
    screen.act(Action::Down);
    screen.take(answer(at + INTERVAL, |stats| {
        let pool = stats.pools.get_mut("ru-mobile").unwrap();
        (pool.closed, pool.available, pool.open) = (pool.available, 0, Some(0));
        pool.next_open_at = Some("2026-11-30T06:00:00Z".to_owned());
    }));
    assert_has(
        &text(&screen, at + INTERVAL, (120, 50)),
        &["CLOSED", "closed ones open at 2026-11-30T06:00:00Z"],
    );
}

#[test]
fn any_size_is_drawn() {
    let at = Instant::now();
    let empty = Screen::new("unix:/run/allotd.sock".to_owned(), INTERVAL);
    let mut asked = filled(at);
    asked.act(Action::AskPause);
    let mut help = filled(at);
    help.act(Action::Help);
    for screen in [&empty, &filled(at), &asked, &help] {
        for size in [(40, 10), (1, 1), (200, 3), (10, 60), (300, 100)] {
            text(screen, at, size);
        }
    }
    let small = text(&filled(at), at, (40, 10));
    assert_has(&small, &["ready", "tiny", "ru-mobile", "leased 5 (100 %)", "q quit"]);
}

#[test]
fn colours_are_not_all_that_tells() {
    let at = Instant::now();
    let screen = filled(at);
    let [plain, coloured] = [Theme::PLAIN, Theme::COLOURED].map(|theme| drawn(&screen, theme, at, (80, 24)));
    let symbols = |buffer: &Buffer| -> Vec<String> {
        buffer.content.iter().map(|cell| cell.symbol().to_owned()).collect()
    };
    let has_colours = |buffer: &Buffer| {
        buffer.content.iter().any(|cell| (cell.fg, cell.bg) != (Color::Reset, Color::Reset))
    };
    assert_eq!(symbols(&plain), symbols(&coloured));
    assert!(has_colours(&coloured) && !has_colours(&plain));
}

#[test]
fn trouble_is_told_and_the_last_figures_stay() {
    let at = Instant::now();
    let mut screen = filled(at);
    for state in
        [("draining", "it shuts down"), ("storage_full", "free some disk space"), ("poisoned", "the log")]
    {
        screen.take(answer(at, |stats| stats.state = state.0.to_owned()));
        assert_has(&text(&screen, at, (120, 24)), &[state.1]);
    }
    assert_has(&text(&screen, at + Duration::from_secs(60), (80, 24)), &["NO ANSWER for 1m 0s"]);
    let gone = |at| Report::Stats { at, result: Err(ClientError::Answer("nobody".to_owned())) };
    screen.take(gone(at));
    screen.take(gone(at + Duration::from_secs(30)));
    let shown = text(&screen, at + Duration::from_secs(45), (80, 24));
    assert_has(&shown, &["CANNOT BE REACHED since 20", "Z (45s)", "nobody", "ru-mobile"]);
    screen.take(answer(at + Duration::from_secs(46), |stats| stats.uptime_seconds = 0));
    let shown = text(&screen, at + Duration::from_secs(46), (80, 24));
    assert_has(&shown, &["ready", "the daemon was started again"]);
}

#[test]
fn the_selected_pool_of_many_is_in_sight() {
    let at = Instant::now();
    let mut screen = filled(at);
    let many = answer(at, |stats| {
        let pool = stats.pools["de"].clone();
        stats.pools.extend((0..200).map(|place| (format!("pool-{place:03}"), pool.clone())));
    });
    screen.take(many);
    screen.act(Action::Last);
    assert_has(&text(&screen, at, (80, 24)), &["pools: 203,", "\npool-199 ", "─ pool-199: "]);
}
