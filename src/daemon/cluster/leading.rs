//! A primary: opens the engine over the log, serves, keeps the log short, and stops in time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tracing::{error, info, warn};

use crate::daemon::run::{self, Bound, DaemonError, OnHangup};
use crate::engine::registry::Engine;
use crate::engine::startup::config::{EngineConfig, Membership};
use crate::http::cluster::Cluster;
use crate::replication::log::Log;
use crate::replication::logged_disk::LoggedDisk;
use crate::replication::primary::Primary;
use crate::replication::standby::Promoted;
use crate::replication::term::{self, Term};
use crate::store::data_dir::events_dir;
use crate::store::totals_file::TOTALS_FILES;
use crate::sys::background::BackgroundThread;
use crate::sys::sync::mpsc::{Receiver, RecvTimeoutError};

use super::error::ClusterError;
use super::member::Member;
use super::restart::restart;

/// How often a primary looks whether it still is one.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// How often it says how far it is, and notes that in its directory.
const TELL_INTERVAL: Duration = Duration::from_secs(1);
/// How often it forgets what all members have.
const TRIM_INTERVAL: Duration = Duration::from_secs(2);
/// How often it tells the time, so that standbys can measure it.
const TIME_INTERVAL: Duration = Duration::from_secs(5);
/// How often the standbys get what the pools have counted.
const TOTALS_INTERVAL: Duration = Duration::from_secs(10);
/// Longest file of totals that they get: it is one entry.
const MAX_TOTALS_BYTES: usize = 256 << 10;

/// How leading ended.
pub(super) enum Ended {
    /// By a signal.
    Stopped,
    /// Another member is primary, by an operator's wish.
    HandedOver,
    /// Another member may be primary.
    Deposed,
}

/// Leads until it ends.
pub(super) fn lead(
    runtime: &Runtime,
    member: &Arc<Member>,
    promoted: Promoted,
    bound: Bound,
    (on_hangup, shutdown): (OnHangup, impl Future<Output = ()>),
) -> Result<Ended, DaemonError> {
    let begun = Instant::now();
    // The signal may have come while this member became primary.
    let stops = member.stops();
    let shutdown = async move {
        if !stops {
            shutdown.await;
        }
    };
    let term = term::begin(&member.standing, promoted)?;
    let primary = Arc::clone(term.primary());
    let cluster = Arc::new(Cluster::new(
        member.cluster.name.clone(),
        member.key.clone(),
        member.standing.url.clone(),
        Arc::clone(&primary),
        Arc::clone(&member.standing.clock),
    ));
    // Before the engine is opened, which may take long.
    let in_order = Arc::new(AtomicBool::new(false));
    let keeper = Keeper {
        member: Arc::clone(member),
        term,
        in_order: Arc::clone(&in_order),
        totals: [const { Vec::new() }; 2],
    };
    let thread = BackgroundThread::start("primary", move |stop| keeper.run(stop))?;
    let disk = LoggedDisk::new(
        Arc::clone(&member.standing.disk),
        std::path::absolute(&member.config.data_dir)?,
        Arc::clone(&primary),
        Arc::clone(&member.standing.clock),
    );
    // Positions of another primary's changes mean nothing here. They are below those of a log that begins now, so a
    // reader learns that its position is gone.
    let _ = std::fs::remove_dir_all(events_dir(&member.config.data_dir));
    let engine_config = EngineConfig {
        disk: Arc::new(disk),
        data_dir: std::path::absolute(&member.config.data_dir)?,
        ..member.engine_config(Membership::Leading(Arc::<Primary>::clone(&primary)))
    };
    let opened = match run::opened(&engine_config, begun) {
        Ok(opened) => opened,
        Err(error) => {
            // Another member may be able to.
            primary.end();
            member.standing.log.resign(primary.epoch(), None).map_err(ClusterError::from)?;
            return Err(error);
        }
    };
    info!(
        event = "primary",
        cluster = member.cluster.name.as_str(),
        member = member.id.as_str(),
        epoch = primary.epoch(),
        took_ms = begun.elapsed().as_millis() as u64,
        "this member is the primary"
    );
    let engine = Arc::clone(&opened.engine);
    let watch = ReplicaWatch::start(member, &primary, &engine)?;
    let bound = bound.of(Arc::clone(&cluster));
    let served: Result<(), DaemonError> =
        run::serve(runtime, &member.config, bound, opened, Some(on_hangup), shutdown, |_| Ok(()));
    watch.stop();
    if !primary.may_answer() {
        return Ok(Ended::Deposed);
    }
    if let (Err(error), Some(next)) = (&served, cluster.next()) {
        // Something under way was dropped: this directory is filled anew.
        warn!(event = "handed_over_in_disorder", %error, "this member hands over, and will be filled anew");
        primary.end();
        member.standing.log.resign(primary.epoch(), Some(&next)).map_err(ClusterError::from)?;
        return Ok(Ended::HandedOver);
    }
    served?;
    in_order.store(true, Ordering::SeqCst);
    thread.stop();
    let next = cluster.next();
    term::end(&primary, &member.standing, &member.cluster_id, next.as_deref()).map_err(ClusterError::from)?;
    Ok(if next.is_some() { Ended::HandedOver } else { Ended::Stopped })
}

/// Keeps the primary's keys and log in order, and ends the process once it may not answer any more.
struct Keeper {
    member: Arc<Member>,
    term: Term,
    /// Set once the engine is closed and all is in the log.
    in_order: Arc<AtomicBool>,
    /// What the standbys have of the files of totals.
    totals: [Vec<u8>; 2],
}

impl Keeper {
    fn run(mut self, stop: &Receiver<()>) {
        let (mut told_at, mut trimmed_at, mut time_at) = (None, Instant::now(), Instant::now());
        let mut totals_at = Instant::now();
        while stop.recv_timeout(LOOK_INTERVAL) == Err(RecvTimeoutError::Timeout) {
            if self.in_order.load(Ordering::SeqCst) {
                return;
            }
            self.step_down_if_late();
            if told_at.is_none_or(|at: Instant| at.elapsed() >= TELL_INTERVAL) {
                if let Err(error) = self.term.tell() {
                    warn!(event = "member_file_failed", %error, "the position could not be noted: it is tried again");
                }
                told_at = Some(Instant::now());
            }
            if time_at.elapsed() >= TIME_INTERVAL {
                self.term.tell_time(&self.member.standing.clock);
                time_at = Instant::now();
            }
            if totals_at.elapsed() >= TOTALS_INTERVAL {
                self.send_totals();
                totals_at = Instant::now();
            }
            if trimmed_at.elapsed() >= TRIM_INTERVAL {
                if let Err(error) = self.term.trim(self.member.cluster.log_keep_bytes) {
                    warn!(event = "trim_failed", %error, "the log in etcd could not be shortened: it is tried again");
                }
                trimmed_at = Instant::now();
            }
        }
    }

    /// Ends this life of the process if another member may be primary.
    fn step_down_if_late(&self) {
        if !self.term.is_over() {
            return;
        }
        self.term.primary().end();
        error!(
            event = "deposed",
            "another member may be primary, or etcd cannot be reached: this one answers no more, and begins anew as a standby"
        );
        let _ = restart();
        // If the process cannot be replaced, it must still answer no more.
        std::process::abort();
    }

    /// Sends what the pools have counted. No response depends on it: what fails is sent the next time.
    fn send_totals(&mut self) {
        for (name, sent) in TOTALS_FILES.into_iter().zip(&mut self.totals) {
            let Ok(content) = std::fs::read(self.member.config.data_dir.join(name)) else { continue };
            if content != *sent
                && content.len() <= MAX_TOTALS_BYTES
                && self
                    .term
                    .primary()
                    .send_file(self.member.standing.clock.now_nanos(), name, content.clone())
                    .is_ok()
            {
                *sent = content;
            }
        }
    }
}

/// Refuses changes while there are too few standbys.
struct ReplicaWatch(Option<BackgroundThread>);

impl ReplicaWatch {
    fn start(member: &Arc<Member>, primary: &Arc<Primary>, engine: &Arc<Engine>) -> std::io::Result<Self> {
        let required = member.cluster.require_replicas as usize;
        if required == 0 {
            return Ok(Self(None));
        }
        let (log, primary, engine) =
            (Arc::clone(&member.standing.log), Arc::clone(primary), Arc::clone(engine));
        let thread = BackgroundThread::start("replicas", move |stop| {
            loop {
                let view = Log::view(&*log);
                engine.journal().set_too_few_replicas(primary.standbys(&view).count() < required);
                if stop.recv_timeout(LOOK_INTERVAL) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        });
        thread.map(Some).map(Self)
    }

    fn stop(self) {
        if let Some(thread) = self.0 {
            thread.stop();
        }
    }
}
