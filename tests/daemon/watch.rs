//! The screen of `allotd stats --watch`: the real binary in a terminal, against the real daemon.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::daemon::{Daemon, allotd};
use crate::support::terminal::{Terminal, end_of_hang_up};
use serde_json::json;

fn watch(url: &str) -> Command {
    let mut command = allotd();
    command.args(["stats", "--watch", "--server", url]);
    command
}

fn with_pool(data: &std::path::Path) -> Daemon {
    let daemon = Daemon::start(data);
    let mut client = daemon.client();
    for pool in ["de", "ru"] {
        let created =
            client.send("PUT", &format!("/v1/pools/{pool}"), "text/csv", b"first,last\n1,1000000\n").unwrap();
        assert_eq!(created.status, 201);
    }
    daemon
}

/// The figure that follows a word.
fn figure_after(text: &str, word: &str) -> Option<u64> {
    let rest = text.split_once(word)?.1.trim_start();
    rest.split_whitespace().next()?.replace(',', "").parse().ok()
}

#[test]
fn figures_move_under_load_and_q_gives_the_terminal_back() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = with_pool(directory.path());
    let mut terminal = Terminal::start(&watch(&daemon.url), 80, 24);
    let shown = terminal.wait_for("the pools", |text| text.contains("journal ok"));
    assert!(
        shown.contains(concat!("allotd ", env!("CARGO_PKG_VERSION"), "   ready"))
            && shown.contains("leases 0 "),
        "{shown}"
    );
    let mut client = daemon.client();
    let mut lease = || {
        let answer = client.post("/v1/pools/de/lease", &json!({"count": 100})).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        std::thread::sleep(Duration::from_millis(10));
    };
    let first = terminal.wait_for("leases", |text| {
        lease();
        figure_after(text, "leases ").is_some_and(|leases| leases > 0)
    });
    let before = figure_after(&first, "leases ").unwrap();
    terminal.wait_for("more leases, and their rate", |text| {
        lease();
        figure_after(text, "leases ").is_some_and(|leases| leases > before)
            && figure_after(text, "leases/s ").is_some_and(|rate| rate > 0)
    });
    terminal.press("q");
    assert_eq!(terminal.wait().code(), Some(0));
    terminal.assert_as_before();
}

#[test]
fn every_way_out_gives_the_terminal_back() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = with_pool(directory.path());
    for keys in ["\x1b", "\x03", ""] {
        let mut terminal = Terminal::start(&watch(&daemon.url), 40, 10);
        terminal.wait_for("the pools", |text| text.contains("ru"));
        terminal.resize(20, 5);
        terminal.resize(100, 30);
        terminal.wait_for("the larger size", |text| text.contains("journal ok"));
        if keys.is_empty() {
            terminal.terminate();
        } else {
            terminal.press(keys);
        }
        assert_eq!(terminal.wait().code(), Some(0), "{keys:?}");
        terminal.assert_as_before();
    }
}

#[test]
fn it_ends_with_its_terminal() {
    assert_eq!(end_of_hang_up(watch("http://127.0.0.1:1")).code(), Some(0));
}

#[test]
fn there_are_colours_unless_they_are_not_wanted() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = with_pool(directory.path());
    for (value, is_coloured) in [("", true), ("1", false)] {
        let terminal = Terminal::start(watch(&daemon.url).env("NO_COLOR", value), 80, 24);
        terminal.wait_for("the pools", |text| text.contains("journal ok"));
        assert_eq!(terminal.is_coloured(), is_coloured, "NO_COLOR={value}");
    }
}

#[test]
fn a_restart_is_shown_and_survived() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = with_pool(directory.path());
    let mut terminal = Terminal::start(&watch(&daemon.url), 80, 24);
    terminal.wait_for("an answer of a daemon that has run a while", |text| {
        text.contains("ready") && figure_after(&text.replace('s', " "), "   up ").is_some_and(|up| up > 0)
    });
    let address = daemon.address.to_string();
    assert_eq!(daemon.stop(), Some(0));
    terminal.wait_for("that it is gone", |text| {
        text.contains("CANNOT BE REACHED since 20") && text.contains("no daemon answers")
    });
    let mut again = allotd();
    again.args(["serve", "--listen", &address, "--data"]).arg(directory.path());
    let _daemon = Daemon::spawn(again).unwrap_or_else(|code| panic!("ended with {code:?}"));
    terminal.wait_for("that it is back", |text| text.contains("ready") && text.contains("started again"));
    terminal.press("q");
    assert_eq!(terminal.wait().code(), Some(0));
}

#[test]
fn a_pool_is_paused_from_the_screen() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = with_pool(directory.path());
    let terminal = Terminal::start(&watch(&daemon.url), 80, 24);
    terminal.wait_for("the pools", |text| text.contains("─ de: "));
    terminal.press("/ru\r");
    terminal.wait_for("the pool of the filter", |text| text.contains("─ ru: ") && !text.contains("\nde "));
    terminal.press("p");
    terminal.wait_for("the question", |text| text.contains("pause ru, "));
    terminal.press("n");
    terminal.wait_for("the answer", |text| text.contains("nothing was changed"));
    assert!(daemon.ok(&["pool", "show", "ru"]).contains("paused     no"));
    terminal.press("py");
    terminal.wait_for("that it is paused", |text| text.contains("ru is paused") && text.contains("PAUSED"));
    assert!(daemon.ok(&["pool", "show", "ru"]).contains("paused     yes"));
    terminal.press("py");
    terminal.wait_for("that it goes on", |text| !text.contains("PAUSED"));
    terminal.press("?");
    terminal.wait_for("the help", |text| text.contains("pause or resume the selected pool"));
}

#[test]
fn without_a_terminal_there_are_tables_or_lines_of_json() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = with_pool(directory.path());
    for (flag, begin) in [
        ("--json=false", concat!("allotd ", env!("CARGO_PKG_VERSION"), ", ready, up ")),
        ("--json", concat!("{\"version\":\"", env!("CARGO_PKG_VERSION"), "\"")),
    ] {
        let mut command = watch(&daemon.url);
        let mut child = command.args(["--interval-seconds=1", flag]).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let begun = lines.inspect(|line| assert!(!line.contains('\x1b'), "{line}"));
        // Dropping the reader after this ends the command.
        assert_eq!(begun.filter(|line| line.starts_with(begin)).take(2).count(), 2);
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}
