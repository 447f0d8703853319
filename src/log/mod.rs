//! The daemon's log: events on standard error, as text for people on a terminal and as JSON lines elsewhere.
//! Each has an `event`, which never changes, and a message that says what to do.

pub mod limit;
pub mod mask;

use std::fmt;
use std::io::{self, IsTerminal as _};
use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use thiserror::Error;
use tracing::level_filters::LevelFilter;
use tracing::{error, warn};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, fmt as lines, reload};

/// Default of [`LogConfig::slow_call_ms`].
pub const DEFAULT_SLOW_CALL_MS: u32 = 1_000;

/// The lowest level of events to log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Level {
    /// The daemon failed at something.
    Error,
    /// An operator should check something.
    Warn,
    /// Starts, stops and changes.
    #[default]
    Info,
    /// Every request too.
    Debug,
}

/// How events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// [`Self::Human`] on a terminal, else [`Self::Json`].
    #[default]
    Auto,
    /// A line of text for people.
    Human,
    /// A JSON object per line.
    Json,
}

/// An unknown level or format; the message says what to give.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{option} is \"{text}\": give {choices}")]
pub struct ChoiceError {
    option: &'static str,
    text: String,
    choices: &'static str,
}

impl Level {
    /// The name in flags and in the config file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }

    /// Only events of this crate: those of libraries have no `event`, and their numbers are not masked.
    fn filter(self) -> Targets {
        let level = match self {
            Self::Error => LevelFilter::ERROR,
            Self::Warn => LevelFilter::WARN,
            Self::Info => LevelFilter::INFO,
            Self::Debug => LevelFilter::DEBUG,
        };
        Targets::new().with_target(env!("CARGO_CRATE_NAME"), level)
    }
}

impl FromStr for Level {
    type Err = ChoiceError;

    fn from_str(text: &str) -> Result<Self, ChoiceError> {
        let all = [Self::Error, Self::Warn, Self::Info, Self::Debug];
        all.into_iter().find(|level| level.as_str() == text).ok_or_else(|| ChoiceError {
            option: "--log-level",
            text: text.to_owned(),
            choices: "error, warn, info or debug",
        })
    }
}

impl Format {
    /// The name in flags and in the config file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Human => "human",
            Self::Json => "json",
        }
    }

    fn is_json(self) -> bool {
        match self {
            Self::Auto => !io::stderr().is_terminal(),
            Self::Human => false,
            Self::Json => true,
        }
    }
}

impl FromStr for Format {
    type Err = ChoiceError;

    fn from_str(text: &str) -> Result<Self, ChoiceError> {
        let all = [Self::Auto, Self::Human, Self::Json];
        all.into_iter().find(|format| format.as_str() == text).ok_or_else(|| ChoiceError {
            option: "--log-format",
            text: text.to_owned(),
            choices: "auto, human or json",
        })
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is logged, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogConfig {
    /// The lowest level of events to log.
    pub level: Level,
    /// How they are written.
    pub format: Format,
    /// Whether numbers are logged in full.
    pub shows_numbers: bool,
    /// Calls that take longer than this are logged, in milliseconds; 0 for none.
    pub slow_call_ms: u32,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            level: Level::default(),
            format: Format::default(),
            shows_numbers: false,
            slow_call_ms: DEFAULT_SLOW_CALL_MS,
        }
    }
}

// Like standard error, the log belongs to the process, and so do its settings.
static FILTER: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();
static SHOWS_NUMBERS: AtomicBool = AtomicBool::new(false);
static SLOW_CALL_NANOS: AtomicU64 = AtomicU64::new(DEFAULT_SLOW_CALL_MS as u64 * 1_000_000);

/// Requests that took at least this long are logged: [`SLOW_CALL_NANOS`], or zero if every request is logged.
static TELLS_FROM_NANOS: AtomicU64 = AtomicU64::new(DEFAULT_SLOW_CALL_MS as u64 * 1_000_000);

/// Starts the log, and returns whether it is JSON. Before that, and in commands other than the daemon's,
/// events are discarded.
pub fn start(config: &LogConfig) -> bool {
    let (filter, handle) = reload::Layer::new(config.level.filter());
    let json = config.format.is_json();
    // If the reader of the log is gone, reporting that on standard error would panic and end the daemon.
    let plain = lines::layer().with_writer(io::stderr).with_target(false).log_internal_errors(false);
    let layer = if json {
        plain.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
    } else {
        plain.boxed()
    };
    // Fails only if a test in this process has started the log already.
    if Registry::default().with(filter).with(layer).try_init().is_ok() {
        let _ = FILTER.set(handle);
    }
    change(config);
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let message = panic.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        error!(
            event = "panic",
            thread = thread.name().unwrap_or("?"),
            "a thread panicked: report this line, and restart the daemon if it does not respond: {}",
            text(&message)
        );
    }));
    json
}

/// Changes the settings except the format.
pub fn change(config: &LogConfig) {
    SHOWS_NUMBERS.store(config.shows_numbers, Ordering::Relaxed);
    let nanos = match config.slow_call_ms {
        0 => u64::MAX,
        milliseconds => u64::from(milliseconds) * 1_000_000,
    };
    SLOW_CALL_NANOS.store(nanos, Ordering::Relaxed);
    let tells_all = config.level == Level::Debug;
    TELLS_FROM_NANOS.store(if tells_all { 0 } else { nanos }, Ordering::Relaxed);
    if let Some(filter) = FILTER.get() {
        // Fails only if the subscriber is gone, and it never is.
        let _ = filter.reload(config.level.filter());
    }
}

/// Whether every request is logged.
#[inline]
pub(crate) fn logs_requests() -> bool {
    LevelFilter::current() >= LevelFilter::DEBUG
}

/// Whether a request that took this long is logged, because it is slow or because every request is.
#[inline]
pub(crate) fn logs_call_of(took_nanos: u64) -> bool {
    took_nanos >= TELLS_FROM_NANOS.load(Ordering::Relaxed)
}

/// Whether this long is slow enough to be logged.
#[inline]
pub(crate) fn is_slow(took_nanos: u64) -> bool {
    took_nanos >= SLOW_CALL_NANOS.load(Ordering::Relaxed)
}

/// A text for the log: its numbers are masked unless they are logged in full.
pub(crate) fn text(text: &str) -> String {
    let text = mask::without_tokens(text);
    if SHOWS_NUMBERS.load(Ordering::Relaxed) { text } else { mask::text(&text) }
}

/// A path and its query for the log, masked in the same way.
pub(crate) fn path(text: &str) -> String {
    mask::path(text, SHOWS_NUMBERS.load(Ordering::Relaxed))
}

/// Logs a sync of the journal that took long.
#[inline]
pub(crate) fn slow_sync(took: Duration) {
    if is_slow(took.as_nanos() as u64)
        && let Some(suppressed) = limit::SLOW_SYNC.admit()
    {
        warn!(
            event = "slow_sync",
            took_ms = took.as_millis() as u64,
            suppressed,
            "a sync of the journal took long, and responses waited for it: check what else uses the disk"
        );
    }
}
