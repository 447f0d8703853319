//! The thread that polls the daemon, so that the screen stays responsive while there is no answer.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};
use std::{io, thread};

use hyper::Method;

use crate::cli::stats::answer::{self, STATS_PATH};
use crate::client::{self, Call, ClientError, Connection, Server};
use crate::http::response::stats::Stats;

/// What the thread reports.
#[derive(Debug)]
pub(crate) enum Report {
    /// What the daemon answered, or why it did not.
    Stats {
        /// When.
        at: Instant,
        /// The answer.
        result: Result<Box<Stats>, ClientError>,
    },
    /// A pool was paused or resumed, or why it was not.
    Paused {
        /// The pool.
        pool: String,
        /// Whether it was to be paused.
        paused: bool,
        /// What the daemon said.
        result: Result<(), ClientError>,
    },
}

/// The channels to the thread, which ends once they are dropped.
pub(crate) struct Poller {
    /// The results of its calls.
    pub(crate) reports: Receiver<Report>,
    /// Pools to be paused (true) or resumed.
    pub(crate) orders: Sender<(String, bool)>,
}

impl Poller {
    /// Starts polling, once per interval.
    pub(crate) fn start(server: Server, interval: Duration) -> io::Result<Self> {
        let (report, reports) = mpsc::channel();
        let (orders, ordered) = mpsc::channel();
        let connection = Connection::new(server.clone())?;
        thread::Builder::new()
            .name("asking".to_owned())
            .spawn(move || ask(connection, &server, interval, &report, &ordered))?;
        Ok(Self { reports, orders })
    }
}

fn ask(
    mut connection: Connection,
    server: &Server,
    interval: Duration,
    reports: &Sender<Report>,
    orders: &Receiver<(String, bool)>,
) {
    loop {
        let started = Instant::now();
        let result = connection.get(STATS_PATH).and_then(|answer| answer::parse(&answer)).map(Box::new);
        let at = Instant::now();
        if reports.send(Report::Stats { at, result }).is_err() {
            return;
        }
        // At least half an interval after a late answer: over a shorter time a rate means little.
        let next = (started + interval).max(at + interval / 2);
        loop {
            match orders.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok((pool, paused)) => {
                    let result = set_paused(server, &pool, paused);
                    if reports.send(Report::Paused { pool, paused, result }).is_err() {
                        return;
                    }
                }
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}

fn set_paused(server: &Server, pool: &str, paused: bool) -> Result<(), ClientError> {
    let path = format!("/v1/pools/{pool}/{}", if paused { "pause" } else { "resume" });
    client::send(server, Call::new(Method::POST, &path)).map(drop)
}
