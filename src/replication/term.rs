//! A primary's term: how it begins, what it does about the log from time to time, and how it ends in order.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tracing::info;

use crate::disk::device::Disk;
use crate::sys::sync::Instant;

use super::cluster_clock::ClusterClock;
use super::log::{LogError, MemberStatus};
use super::member_file::{Directory, MemberFile};
use super::primary::Primary;
use super::standby::{Promoted, Standing};

/// The part of the time to live that is left when a primary stops: for the rates of clocks, and for what it is doing.
const MARGIN_PARTS: u32 = 6;
/// How often a primary that ends looks whether the next one has all.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// How long a hand-over waits for the next primary to have all.
const HANDOVER_PATIENCE: Duration = Duration::from_secs(5);

/// The term of a primary.
pub struct Term {
    primary: Arc<Primary>,
    file: MemberFile,
    url: String,
    data_dir: PathBuf,
    disk: Arc<dyn Disk>,
    kept: Kept,
}

/// Why a term does not end in order.
#[derive(Debug, thiserror::Error)]
pub enum EndError {
    /// The directory cannot be written.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The log cannot be reached.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Begins the term of a member that was promoted: nothing that it may have and nobody was told of stays with others.
pub fn begin(standing: &Standing, promoted: Promoted) -> io::Result<Term> {
    let Promoted { epoch, file, dropped } = promoted;
    let margin = standing.ttl / MARGIN_PARTS;
    let primary = Arc::new(Primary::new(Arc::clone(&standing.log), epoch, file.position, margin));
    primary.tell_time(standing.clock.now_nanos())?;
    for path in dropped {
        // A standby may have what nobody was told of.
        primary.remove_directory(standing.clock.now_nanos(), path)?;
    }
    Ok(Term {
        primary,
        file,
        url: standing.url.clone(),
        data_dir: standing.data_dir.clone(),
        disk: Arc::clone(&standing.disk),
        kept: Kept::default(),
    })
}

impl Term {
    /// The primary.
    pub fn primary(&self) -> &Arc<Primary> {
        &self.primary
    }

    /// Whether another member may be primary.
    pub fn is_over(&self) -> bool {
        let epoch = self.primary.log().view().primary.map(|primary| primary.epoch);
        !self.primary.may_answer() || epoch.is_some_and(|epoch| epoch > self.primary.epoch())
    }

    /// Notes in the directory how far it is, and says so. An error is of the directory.
    pub fn tell(&mut self) -> io::Result<()> {
        let (position, epoch) = (self.primary.position(), self.primary.epoch());
        self.file = MemberFile { position, epoch, files: self.primary.files(), ..self.file.clone() };
        let noted = self.file.write(&*self.disk, &self.data_dir);
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let status = MemberStatus { url: self.url.clone(), position, epoch, able: true, version };
        // A later word makes up for one that was not heard.
        let _ = self.primary.log().publish(&status);
        let _ = self.primary.log().claim(position);
        noted
    }

    /// Tells the time, so that the standbys can measure it.
    pub fn tell_time(&self, clock: &ClusterClock) {
        // If it fails, the term is over.
        let _ = self.primary.tell_time(clock.now_nanos());
    }

    /// Forgets entries that all members have, and members that are so far behind that the log would have more than
    /// `most_bytes` for them.
    pub fn trim(&mut self, most_bytes: u64) -> Result<(), LogError> {
        let log = self.primary.log();
        let floor = self.kept.floor(self.primary.committed(), self.primary.bytes(), most_bytes);
        let mut below = self.primary.position();
        for (id, claim) in log.claims()? {
            if claim >= floor {
                below = below.min(claim);
            } else if id != log.member() {
                info!(
                    event = "claim_ended",
                    member = id,
                    "a member was away for too long: it will be filled anew"
                );
                log.forget(&id)?;
            }
        }
        log.trim(below + 1)
    }
}

/// Ends a term in order: all that the directory has is in the log, as its engine is closed. `next` is who is to be
/// primary next.
pub fn end(
    primary: &Primary,
    standing: &Standing,
    cluster: &str,
    next: Option<&str>,
) -> Result<(), EndError> {
    let log = &standing.log;
    let position = primary.committed();
    let file = MemberFile {
        directory: Directory::Follows,
        epoch: primary.epoch(),
        position,
        files: position,
        ..MemberFile::new(cluster, log.member())
    };
    file.write(&*standing.disk, &standing.data_dir)?;
    if let Some(next) = next {
        // It makes the wait shorter; the resignation says it again.
        let _ = log.name_next(primary.epoch(), next);
    }
    let begun = Instant::now();
    while let Some(next) = next
        && begun.elapsed() < HANDOVER_PATIENCE
    {
        let view = log.view();
        if primary.standbys(&view).any(|(id, at)| id == next && at >= position) {
            break;
        }
        log.wait(view.version, LOOK_INTERVAL);
    }
    primary.end();
    log.resign(primary.epoch(), next)?;
    info!(event = "resigned", position, "this member is the primary no more");
    Ok(())
}

/// How much of the log there was at some times.
#[derive(Default)]
struct Kept {
    /// Entries and bytes so far.
    samples: VecDeque<(u64, u64)>,
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
