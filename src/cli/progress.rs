//! Progress bars of uploads and downloads, on a terminal only.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use indicatif::{ProgressBar, ProgressStyle};

/// How often a bar without a known end is drawn, in milliseconds.
const TICK_MS: u64 = 200;

/// A bar over the bytes of these files; hidden without a terminal.
pub(super) fn upload(files: &[PathBuf]) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let total: u64 =
        files.iter().map(|path| std::fs::metadata(path).map_or(0, |metadata| metadata.len())).sum();
    if total == 0 {
        // Standard input, or a pipe.
        return counting("sent");
    }
    let style = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}");
    ProgressBar::new(total).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// A bar that counts the bytes written to standard output; hidden if that is the terminal itself.
pub(super) fn download() -> ProgressBar {
    if io::stderr().is_terminal() && !io::stdout().is_terminal() {
        counting("received")
    } else {
        ProgressBar::hidden()
    }
}

/// A bar of the bytes so far, without a known total.
fn counting(done: &str) -> ProgressBar {
    let style =
        ProgressStyle::with_template(&format!("{{spinner}} {{bytes}} {done} {{bytes_per_sec}} {{elapsed}}"));
    let bar =
        ProgressBar::new_spinner().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar.enable_steady_tick(std::time::Duration::from_millis(TICK_MS));
    bar
}

/// Passes writes on, and counts their bytes on a bar.
pub(super) struct Counted<W> {
    pub(super) inner: W,
    pub(super) bar: ProgressBar,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.inner.write(bytes)?;
        self.bar.inc(length as u64);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
