//! Checks that the threads that leases need make progress: each worker, and the journal's writer. Only if
//! they do, it notifies systemd's watchdog that the daemon is alive.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use tracing::{error, info};

use crate::http::server::control::Control;
use crate::journal::handle::Journal;
use crate::log::limit;

use super::clock_watch::ClockWatch;
use super::service_manager;

/// How often the threads are checked, unless systemd's watchdog needs it more often.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);
/// Checks within the time after which systemd's watchdog kills the daemon.
const LOOKS_PER_WATCHDOG: u32 = 3;
/// How long a worker may take to answer.
const WORKER_PATIENCE: Duration = Duration::from_secs(5);
/// How long the journal's writer may make no progress.
const JOURNAL_PATIENCE: Duration = Duration::from_secs(5);

/// A thread that makes no progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stuck {
    Worker(usize),
    Journal,
}

/// When the writer last made progress.
struct WriterSeen {
    turns: u64,
    at: Instant,
}

/// Checks for as long as it is polled.
pub(crate) async fn supervise(control: &Control, journal: &Journal) -> Infallible {
    let interval = service_manager::watchdog()
        .map_or(LOOK_INTERVAL, |watchdog| LOOK_INTERVAL.min(watchdog / LOOKS_PER_WATCHDOG));
    let mut writer = WriterSeen { turns: journal.writer_turns(), at: Instant::now() };
    let mut told = None;
    let mut clock = ClockWatch::default();
    clock.look(control.clock_ahead_seconds());
    loop {
        tokio::time::sleep(interval).await;
        limit::log_suppressed();
        clock.look(control.clock_ahead_seconds());
        let stuck = look(control, journal, &mut writer).await;
        if stuck != told {
            log_stuck(stuck);
            told = stuck;
        }
        if stuck.is_none() {
            service_manager::alive();
        }
    }
}

fn log_stuck(stuck: Option<Stuck>) {
    match stuck {
        None => info!(event = "unstuck", "all threads make progress again"),
        Some(Stuck::Worker(index)) => error!(
            event = "stuck",
            thread = format!("worker-{index}"),
            "a worker does not respond: check what else the machine is doing; systemd restarts the daemon if \
             this lasts"
        ),
        Some(Stuck::Journal) => error!(
            event = "stuck",
            thread = "journal-writer",
            "the journal is not written, and no response leaves: check the disk; systemd restarts the daemon \
             if this lasts"
        ),
    }
}

async fn look(control: &Control, journal: &Journal, writer: &mut WriterSeen) -> Option<Stuck> {
    let silent = control.silent_worker(WORKER_PATIENCE).await;
    let turns = journal.writer_turns();
    if turns != writer.turns {
        *writer = WriterSeen { turns, at: Instant::now() };
    }
    // A shutdown has its own limits: the drain's, and systemd's TimeoutStopSec.
    if control.is_draining() {
        return None;
    }
    silent.map(Stuck::Worker).or((writer.at.elapsed() > JOURNAL_PATIENCE).then_some(Stuck::Journal))
}
