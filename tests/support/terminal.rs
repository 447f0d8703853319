//! A terminal for a program that needs one: it is written and read here, and what it shows is known.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZero;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};

use super::PATIENCE_SECONDS;

/// A terminal with a program in it, which is killed when this is dropped.
pub(crate) struct Terminal {
    child: Child,
    /// Our end.
    user: File,
    /// The program's end, kept open so that it can be inspected afterwards.
    program: File,
    shown: Arc<Mutex<vt100::Parser>>,
    settings_before: Termios,
}

/// Starts a command in a terminal that is not the one its signals come from, and closes the terminal once it
/// shows something. Returns how the command ends.
#[track_caller]
pub(crate) fn end_of_hang_up(mut command: Command) -> ExitStatus {
    let (mut user, program) = open_terminal();
    let stdio = || Stdio::from(program.try_clone().unwrap());
    let mut child =
        command.env("TERM", "xterm").stdin(stdio()).stdout(stdio()).stderr(stdio()).spawn().unwrap();
    // A stray copy would keep the terminal.
    drop((command, program));
    assert!(user.read(&mut [0; 4096]).unwrap() > 0);
    drop(user);
    wait_for_end(&mut child).unwrap_or_else(|| panic!("goes on without its terminal"))
}

/// How a program ends; `None`, and it is killed, if it does not.
fn wait_for_end(child: &mut Child) -> Option<ExitStatus> {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(PATIENCE_SECONDS) {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    None
}

/// A new terminal: our end, and the program's.
fn open_terminal() -> (File, File) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let user = openpt(flags).unwrap();
    grantpt(&user).unwrap();
    unlockpt(&user).unwrap();
    let program = File::from(ioctl_tiocgptpeer(&user, flags).unwrap());
    (File::from(user), program)
}

fn cells(count: u16) -> NonZero<u16> {
    NonZero::new(count).unwrap()
}

/// What a terminal's settings are, in all that a program may change.
fn settings(termios: &Termios) -> String {
    format!("{:?} {:?} {:?}", termios.input_modes, termios.output_modes, termios.local_modes)
}

impl Terminal {
    /// Starts a command in a terminal of this size.
    pub(crate) fn start(command: &Command, columns: u16, rows: u16) -> Self {
        let (user, program) = open_terminal();
        let shown = Arc::new(Mutex::new(vt100::Parser::new(cells(rows), cells(columns), 0)));
        let (settings_before, stdio) =
            (tcgetattr(&program).unwrap(), || Stdio::from(program.try_clone().unwrap()));
        // A terminal of its own for its signals too: a signal reports a change of size.
        let mut inside = Command::new("/usr/bin/setsid");
        inside.arg("--ctty").arg(command.get_program()).args(command.get_args()).env_clear();
        inside.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        inside.env("TERM", "xterm-256color").stdin(stdio()).stdout(stdio()).stderr(stdio());
        set_size(&user, columns, rows);
        let terminal = Self {
            child: inside.spawn().unwrap(),
            user: user.try_clone().unwrap(),
            program,
            shown: Arc::clone(&shown),
            settings_before,
        };
        std::thread::spawn(move || show(user, &shown));
        terminal
    }

    /// Presses keys.
    pub(crate) fn press(&self, keys: &str) {
        (&self.user).write_all(keys.as_bytes()).unwrap();
    }

    /// Changes the size.
    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        self.shown.lock().unwrap().screen_mut().set_size(cells(rows), cells(columns));
        set_size(&self.user, columns, rows);
    }

    /// What it shows.
    pub(crate) fn text(&self) -> String {
        self.shown.lock().unwrap().screen().contents()
    }

    /// Whether any of it has a colour.
    pub(crate) fn is_coloured(&self) -> bool {
        let shown = self.shown.lock().unwrap();
        let screen = shown.screen();
        let (rows, columns) = screen.size();
        let mut places = (0..rows.get()).flat_map(|row| (0..columns.get()).map(move |column| (row, column)));
        places.any(|(row, column)| {
            let is_default = |color| color == vt100::Color::Default;
            screen
                .cell(row, column)
                .is_some_and(|cell| !is_default(cell.fgcolor()) || !is_default(cell.bgcolor()))
        })
    }

    /// Waits until what it shows is as wanted; what it showed then.
    #[track_caller]
    pub(crate) fn wait_for(&self, what: &str, mut holds: impl FnMut(&str) -> bool) -> String {
        let started = Instant::now();
        loop {
            let text = self.text();
            if holds(&text) {
                return text;
            }
            assert!(started.elapsed() < Duration::from_secs(PATIENCE_SECONDS), "never: {what}, but\n{text}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// SIGTERM to the program.
    pub(crate) fn terminate(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    /// Waits for the program's end.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> ExitStatus {
        wait_for_end(&mut self.child).unwrap_or_else(|| panic!("never ends:\n{}", self.text()))
    }

    /// Checks that the terminal is as it was before the program: its settings, its own screen, its cursor.
    #[track_caller]
    pub(crate) fn assert_as_before(&self) {
        let after = tcgetattr(&self.program).unwrap();
        assert_eq!(settings(&after), settings(&self.settings_before));
        self.wait_for("the screen of before", |_| {
            let shown = self.shown.lock().unwrap();
            !shown.screen().alternate_screen() && !shown.screen().hide_cursor()
        });
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Both fail when it has ended already, as it should have.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn set_size(user: &File, columns: u16, rows: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(user, size).unwrap();
}

/// Shows what the program writes, until nobody has the terminal open any more.
fn show(mut user: File, shown: &Mutex<vt100::Parser>) {
    let mut bytes = [0; 4096];
    while let Ok(length @ 1..) = user.read(&mut bytes) {
        shown.lock().unwrap().process(&bytes[..length]);
    }
}
