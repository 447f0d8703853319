//! A primary: opens the engine over the log, serves, keeps the log short, and stops in time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tracing::{error, info, warn};

use crate::daemon::run::{self, Bound, DaemonError, OnHangup};
use crate::disk::files;
use crate::engine::registry::Engine;
use crate::engine::startup::config::{EngineConfig, Membership};
use crate::http::cluster::Cluster;
use crate::replication::log::{Log, MemberStatus};
use crate::replication::logged_disk::LoggedDisk;
use crate::replication::member_file::{Directory, MemberFile};
use crate::replication::primary::Primary;
use crate::store::data_dir::events_dir;
use crate::store::totals_file::TOTALS_FILES;
use crate::sys::background::BackgroundThread;
use crate::sys::sync::mpsc::{Receiver, RecvTimeoutError};

use super::error::ClusterError;
use super::member::Member;
use super::restart::restart;
use super::standby::Promoted;

/// The part of the time to live that is left when a primary stops: for the rates of clocks, and for what it is doing.
const MARGIN_PARTS: u32 = 6;
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
/// How long a hand-over waits for the next primary to have all.
const HANDOVER_PATIENCE: Duration = Duration::from_secs(5);

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
    let Promoted { epoch, file, dropped } = promoted;
    let ttl = Duration::from_secs(member.cluster.ttl_seconds.into());
    let primary = Arc::new(Primary::new(Arc::clone(&member.log), epoch, file.position, ttl / MARGIN_PARTS));
    primary.tell_time(member.clock.now_nanos())?;
    for path in dropped {
        // A standby may have what nobody was told of.
        primary.remove_directory(member.clock.now_nanos(), path)?;
    }
    let cluster = Arc::new(Cluster::new(
        member.cluster.name.clone(),
        member.key.clone(),
        member.cluster.advertise.clone(),
        Arc::clone(&primary),
        Arc::clone(&member.clock),
    ));
    // Before the engine is opened, which may take long.
    let in_order = Arc::new(AtomicBool::new(false));
    let keeper = Keeper {
        member: Arc::clone(member),
        primary: Arc::clone(&primary),
        file,
        in_order: Arc::clone(&in_order),
        kept: Kept::default(),
        totals: [const { Vec::new() }; 2],
    };
    let thread = BackgroundThread::start("primary", move |stop| keeper.run(stop))?;
    let disk = LoggedDisk::new(
        files::real(),
        std::path::absolute(&member.config.data_dir)?,
        Arc::clone(&primary),
        Arc::clone(&member.clock),
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
            member.log.resign(epoch, None).map_err(ClusterError::from)?;
            return Err(error);
        }
    };
    info!(
        event = "primary",
        cluster = member.cluster.name.as_str(),
        member = member.id.as_str(),
        epoch,
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
        member.log.resign(epoch, Some(&next)).map_err(ClusterError::from)?;
        return Ok(Ended::HandedOver);
    }
    served?;
    in_order.store(true, Ordering::SeqCst);
    thread.stop();
    let next = cluster.next();
    resign(member, &primary, next.as_deref()).map_err(DaemonError::from)?;
    Ok(if next.is_some() { Ended::HandedOver } else { Ended::Stopped })
}

/// Ends the epoch in order: all that this directory has is in the log.
fn resign(member: &Member, primary: &Primary, next: Option<&str>) -> Result<(), ClusterError> {
    let position = primary.committed();
    let file = MemberFile {
        directory: Directory::Follows,
        epoch: primary.epoch(),
        position,
        files: position,
        ..MemberFile::new(&member.cluster_id, &member.id)
    };
    file.write(&*files::real(), &member.config.data_dir)?;
    let begun = Instant::now();
    while let Some(next) = next
        && begun.elapsed() < HANDOVER_PATIENCE
    {
        let view = member.log.view();
        if primary.standbys(&view).any(|(id, at)| id == next && at >= position) {
            break;
        }
        member.log.wait(view.version, LOOK_INTERVAL);
    }
    primary.end();
    member.log.resign(primary.epoch(), next)?;
    info!(event = "resigned", position, "this member is the primary no more");
    Ok(())
}

/// How much of the log there was at some times.
#[derive(Default)]
struct Kept {
    /// Entries and bytes so far.
    samples: std::collections::VecDeque<(u64, u64)>,
}

impl Kept {
    /// The oldest entry that is kept, if the log may have `most_bytes`.
    fn floor(&mut self, committed: u64, bytes: u64, most_bytes: u64) -> u64 {
        self.samples.push_back((committed, bytes));
        while self.samples.len() > 2 && self.samples.get(1).is_some_and(|(_, at)| bytes - at > most_bytes) {
            self.samples.pop_front();
        }
        match self.samples.front() {
            Some((entry, at)) if bytes - at > most_bytes => *entry,
            _ => 0,
        }
    }
}

/// Keeps the primary's keys and log in order, and ends the process once it may not answer any more.
struct Keeper {
    member: Arc<Member>,
    primary: Arc<Primary>,
    file: MemberFile,
    /// Set once the engine is closed and all is in the log.
    in_order: Arc<AtomicBool>,
    kept: Kept,
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
                self.tell();
                told_at = Some(Instant::now());
            }
            if time_at.elapsed() >= TIME_INTERVAL {
                // If it fails, the next look ends the process.
                let _ = self.primary.tell_time(self.member.clock.now_nanos());
                time_at = Instant::now();
            }
            if totals_at.elapsed() >= TOTALS_INTERVAL {
                self.send_totals();
                totals_at = Instant::now();
            }
            if trimmed_at.elapsed() >= TRIM_INTERVAL {
                if let Err(error) = self.trim() {
                    warn!(event = "trim_failed", %error, "the log in etcd could not be shortened: it is tried again");
                }
                trimmed_at = Instant::now();
            }
        }
    }

    /// Ends this life of the process if another member may be primary.
    fn step_down_if_late(&self) {
        let view = self.member.log.view();
        let epoch = view.primary.map(|primary| primary.epoch);
        if self.primary.may_answer() && epoch.is_none_or(|epoch| epoch <= self.primary.epoch()) {
            return;
        }
        self.primary.end();
        error!(
            event = "deposed",
            "another member may be primary, or etcd cannot be reached: this one answers no more, and begins anew as a standby"
        );
        let _ = restart();
        // If the process cannot be replaced, it must still answer no more.
        std::process::abort();
    }

    fn tell(&mut self) {
        let (position, epoch) = (self.primary.position(), self.primary.epoch());
        self.file = MemberFile { position, epoch, files: self.primary.files(), ..self.file.clone() };
        if let Err(error) = self.file.write(&*files::real(), &self.member.config.data_dir) {
            warn!(event = "member_file_failed", %error, "the position could not be noted: it is tried again");
        }
        let url = self.member.cluster.advertise.clone();
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let _ = self.member.log.publish(&MemberStatus { url, position, epoch, able: true, version });
        let _ = self.member.log.claim(position);
    }

    /// Sends what the pools have counted. No response depends on it: what fails is sent the next time.
    fn send_totals(&mut self) {
        for (name, sent) in TOTALS_FILES.into_iter().zip(&mut self.totals) {
            let Ok(content) = std::fs::read(self.member.config.data_dir.join(name)) else { continue };
            if content != *sent
                && content.len() <= MAX_TOTALS_BYTES
                && self.primary.send_file(self.member.clock.now_nanos(), name, content.clone()).is_ok()
            {
                *sent = content;
            }
        }
    }

    /// Forgets entries that all members have, and members that are away for too long.
    fn trim(&mut self) -> Result<(), ClusterError> {
        let log = &self.member.log;
        let most_bytes = self.member.cluster.log_keep_bytes;
        let floor = self.kept.floor(self.primary.committed(), self.primary.bytes(), most_bytes);
        let mut below = self.primary.position();
        for (id, claim) in log.claims()? {
            if claim >= floor {
                below = below.min(claim);
            } else if id != self.member.id {
                info!(
                    event = "claim_ended",
                    member = id,
                    "a member was away for too long: it will be filled anew"
                );
                log.forget(&id)?;
            }
        }
        Ok(log.trim(below + 1)?)
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
        let (log, primary, engine) = (Arc::clone(&member.log), Arc::clone(primary), Arc::clone(engine));
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
