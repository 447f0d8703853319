//! A standby: fills its directory if it has to, follows the log, and becomes primary when there is none.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use crate::disk::device::Disk;
use crate::log::limit;
use crate::sys::sync::{Instant, thread};

use super::cluster_clock::ClusterClock;
use super::filling;
use super::follower::{FollowError, Follower, Surroundings};
use super::log::{Log, LogError, MemberStatus, View};
use super::member_file::{Directory, MemberFile};

/// How long a standby waits for word of the log before it asks.
const LISTEN: Duration = Duration::from_millis(500);
/// How often it makes what it has applied durable, and says so.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(100);
/// How often it says so though nothing has changed: its key may have ended.
const REPEAT_INTERVAL: Duration = Duration::from_secs(1);
/// How often it claims the log from its position on.
const CLAIM_INTERVAL: Duration = Duration::from_secs(2);
/// Pause after a fault, before it is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// How long others let the member go first that is to be primary next.
const NEXT_PATIENCE: Duration = Duration::from_secs(1);
/// Times to live that a directory which a primary left in disorder waits for another member to go on.
const DISORDER_TTLS: u32 = 3;

/// What a standby is, to others and on its machine.
pub struct Standing {
    /// Where it is reached.
    pub url: String,
    /// Its data directory.
    pub data_dir: PathBuf,
    /// Its disk.
    pub disk: Arc<dyn Disk>,
    /// Length of a file of its journal.
    pub journal_file_bytes: u64,
    /// How long its keys stand without word of it.
    pub ttl: Duration,
    /// The cluster's time.
    pub clock: Arc<ClusterClock>,
    /// The log.
    pub log: Arc<dyn Log>,
}

/// What a standby does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// It takes a copy of all that the primary has.
    Filling,
    /// It has all entries up to this one.
    Following(u64),
}

/// What a standby needs of the rest of the daemon, beside what its follower does.
pub trait Process: Surroundings {
    /// Fills the directory with a copy of that of the primary at `url`. What it had is gone once the copy is complete,
    /// and not before.
    fn fill(&self, url: &str) -> Result<MemberFile, Box<dyn Error + Send + Sync>>;

    /// Whether the process is to stop.
    fn stops(&self) -> bool;

    /// Shows what the standby does.
    fn show(&self, doing: Doing);
}

/// Why a standby tries again.
#[derive(Debug, thiserror::Error)]
pub enum StandbyError {
    /// The log cannot be reached.
    #[error("{0}. Check --etcd, and that etcd has a leader: \"etcdctl endpoint status --cluster\"")]
    Log(#[from] LogError),
    /// An entry cannot be applied.
    #[error(transparent)]
    Follow(#[from] FollowError),
    /// It cannot be filled.
    #[error("{0}")]
    Fill(Box<dyn Error + Send + Sync>),
    /// Its directory cannot be read or written.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Its directory belongs to no cluster.
    #[error(transparent)]
    Foreign(#[from] Foreign),
}

/// This member has become primary.
#[derive(Debug)]
pub struct Promoted {
    /// Its epoch.
    pub epoch: u64,
    /// What its directory is: the position is the end of the log.
    pub file: MemberFile,
    /// Directories of unfinished changes, which it does not have.
    pub dropped: Vec<String>,
}

/// Why following ends.
enum End {
    Stopped,
    NoPrimary,
    /// The directory must be filled anew.
    Behind,
}

/// A standby.
pub struct Standby<'a, P> {
    standing: &'a Standing,
    process: &'a P,
    file: MemberFile,
    /// Whether the directory is to be filled anew.
    is_behind: bool,
    /// Whether a campaign had no answer: this member may have become primary by it.
    may_have_won: bool,
    /// Since when there is no primary.
    alone_since: Option<Instant>,
    /// When it said last that it may not be primary.
    said_at: Option<Instant>,
}

/// The directory has data of no cluster, and another member has founded the cluster with its own: nothing is merged, and
/// nothing of it is discarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the directory has data, and another member has founded the cluster with its own")]
pub struct Foreign;

/// Whether there has been a primary that has said something.
pub fn has_history(log: &dyn Log) -> Result<bool, LogError> {
    Ok(log.bounds()?.is_some() || !log.claims()?.is_empty())
}

impl<'a, P: Process> Standby<'a, P> {
    /// A standby whose directory is what `file` says.
    pub fn new(standing: &'a Standing, process: &'a P, file: MemberFile) -> Self {
        Self {
            standing,
            process,
            file,
            is_behind: false,
            may_have_won: false,
            alone_since: None,
            said_at: None,
        }
    }

    /// Follows until this member is primary; `None` once it is to stop.
    pub fn run(mut self) -> Result<Option<Promoted>, Foreign> {
        while !self.process.stops() {
            match self.step() {
                Ok(Some(promoted)) => return Ok(Some(promoted)),
                Err(StandbyError::Foreign(foreign)) => return Err(foreign),
                Ok(None) => {}
                Err(error) => {
                    if let Some(suppressed) = limit::STANDBY_FAILED.admit() {
                        warn!(event = "standby_failed", %error, suppressed, "this standby tries again");
                    }
                    thread::sleep(RETRY_PAUSE);
                }
            }
        }
        Ok(None)
    }

    fn step(&mut self) -> Result<Option<Promoted>, StandbyError> {
        let log = &self.standing.log;
        let view = log.view();
        match &view.primary {
            Some(primary) if primary.member == log.member() && self.may_have_won => {
                self.promoted(self.follower(), primary.epoch).map(Some)
            }
            // The key of an earlier life of this process: it ends.
            Some(primary) if primary.member == log.member() => {
                log.wait(view.version, LISTEN);
                Ok(None)
            }
            Some(primary) => {
                self.alone_since = None;
                if self.is_behind || self.file.directory != Directory::Follows {
                    self.file = self.filled(&primary.url)?;
                    self.is_behind = false;
                }
                if matches!(self.follow()?, End::Behind) {
                    info!(
                        event = "behind",
                        "the log does not lead on from where this standby is: it is filled anew"
                    );
                    self.is_behind = true;
                    // A copy is much work: not one after another.
                    thread::sleep(RETRY_PAUSE);
                }
                Ok(None)
            }
            None => self.campaign(&view),
        }
    }

    fn filled(&self, url: &str) -> Result<MemberFile, StandbyError> {
        if self.file.directory == Directory::Founds && filling::has_data(&self.standing.data_dir)? {
            return Err(Foreign.into());
        }
        self.process.show(Doing::Filling);
        self.publish(0, 0, false);
        self.process.fill(url).map_err(StandbyError::Fill)
    }

    fn follower(&self) -> Follower<'a> {
        let standing = self.standing;
        Follower::new(
            Arc::clone(&standing.disk),
            &standing.data_dir,
            standing.journal_file_bytes,
            self.process,
            Arc::clone(&standing.clock),
            self.file.clone(),
        )
    }

    /// Follows the log while there is a primary.
    fn follow(&mut self) -> Result<End, StandbyError> {
        let mut follower = self.follower();
        if let Err(FollowError::Recover(error)) = follower.recover() {
            warn!(event = "unrecoverable", %error, "this standby's directory cannot be used");
            return Ok(End::Behind);
        }
        // The log is kept from here on.
        self.standing.log.claim(follower.file.position)?;
        let end = self.follow_with(&mut follower);
        // Also after an error: what was applied stays so.
        follower.save()?;
        self.file = follower.file.clone();
        end
    }

    fn follow_with(&self, follower: &mut Follower<'_>) -> Result<End, StandbyError> {
        let log = &self.standing.log;
        let (mut published, mut said_at, mut claimed_at) = (u64::MAX, Instant::now(), Instant::now());
        let mut was_at_end = false;
        loop {
            if self.process.stops() {
                return Ok(End::Stopped);
            }
            let view = log.view();
            let Some(primary) = &view.primary else { return Ok(End::NoPrimary) };
            if primary.member == log.member() {
                return Ok(End::NoPrimary);
            }
            let entries = log.read(follower.file.position + 1)?;
            if entries.first().is_some_and(|(sequence, _)| *sequence > follower.file.position + 1) {
                return Ok(End::Behind);
            }
            let (is_idle, before) = (entries.is_empty(), follower.file.files);
            for (sequence, entry) in &entries {
                match follower.apply(*sequence, entry, was_at_end) {
                    Ok(()) => {}
                    // The primary offers files for a while only. One that does not answer may be gone, and then this
                    // directory may be all that is left.
                    Err(
                        error @ (FollowError::Gone(_) | FollowError::NotOffered(_) | FollowError::Recover(_)),
                    ) => {
                        warn!(event = "unrecoverable", %error, "this standby's directory cannot be used");
                        return Ok(End::Behind);
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            was_at_end = is_idle;
            let position = follower.file.position;
            let hurries = view.next.as_deref() == Some(log.member());
            let is_due = hurries || said_at.elapsed() >= PUBLISH_INTERVAL || follower.file.files != before;
            if (position != published && is_due) || said_at.elapsed() >= REPEAT_INTERVAL {
                follower.save()?;
                self.publish(position, follower.file.epoch, true);
                (published, said_at) = (position, Instant::now());
            }
            if claimed_at.elapsed() >= CLAIM_INTERVAL {
                if !log.claims()?.contains_key(log.member()) {
                    return Ok(End::Behind);
                }
                log.claim(published.min(position))?;
                claimed_at = Instant::now();
            }
            if is_idle {
                let patience = if position == published { LISTEN } else { PUBLISH_INTERVAL };
                log.wait(view.version, patience);
            }
        }
    }

    /// Says how far this member is. A later word makes up for one that was not heard.
    fn publish(&self, position: u64, epoch: u64, able: bool) {
        if able {
            self.process.show(Doing::Following(position));
        }
        let status = MemberStatus {
            url: self.standing.url.clone(),
            position,
            epoch,
            able,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let _ = self.standing.log.publish(&status);
    }

    /// Becomes primary, if this member may.
    fn campaign(&mut self, view: &View) -> Result<Option<Promoted>, StandbyError> {
        let log = &self.standing.log;
        let alone = self.alone_since.get_or_insert_with(Instant::now).elapsed();
        let ttl = self.standing.ttl;
        let is_there = |id: &str| id != log.member() && view.members.get(id).is_some_and(|other| other.able);
        let mut founds = self.file.directory == Directory::Founds;
        if founds && has_history(&**log)? {
            // Another has founded it, with its own data.
            if filling::has_data(&self.standing.data_dir)? {
                return Err(Foreign.into());
            }
            self.file.directory = Directory::Incomplete;
            founds = false;
        }
        if !founds && !self.is_behind && !self.is_led_on()? {
            info!(
                event = "behind",
                "the log does not lead on from where this member is: it cannot be primary"
            );
            self.is_behind = true;
        }
        let goes_first = view.next.as_deref().filter(|next| is_there(next));
        let waits_for_next = goes_first.is_some() && alone < NEXT_PATIENCE;
        let is_whole = !self.is_behind
            && match self.file.directory {
                Directory::Founds | Directory::Follows => true,
                // Others that are there have what the log has. Nobody else: what this directory has beyond it was told
                // to nobody.
                Directory::Leads => {
                    !view.members.keys().any(|id| is_there(id)) && alone >= DISORDER_TTLS * ttl
                }
                Directory::Incomplete => false,
            };
        let may = is_whole && !waits_for_next;
        if !may {
            // Not each time: that it says so wakes itself too.
            if self.said_at.is_none_or(|at| at.elapsed() >= REPEAT_INTERVAL) {
                self.publish(self.file.position, self.file.epoch, false);
                self.said_at = Some(Instant::now());
            }
            log.wait(view.version, LISTEN);
            return Ok(None);
        }
        let mut follower = self.follower();
        if self.file.directory == Directory::Leads {
            // Its journal may end in the middle of a frame.
            follower.recover()?;
        }
        // A founder has found no log. What comes into it from now on is another's, and must not be mixed with its data.
        let lacks = if founds { None } else { self.read_to_end(&mut follower)? };
        follower.save()?;
        self.file.position = follower.file.position;
        self.file.files = follower.file.files;
        if let Some((sequence, _)) = &lacks {
            // Another may have the files of an entry that this one cannot have.
            let has = |id: &str| is_there(id) && view.members[id].position >= *sequence;
            if view.members.keys().any(|id| has(id)) && alone < NEXT_PATIENCE {
                log.wait(view.version, LISTEN);
                return Ok(None);
            }
        }
        self.may_have_won = true;
        let won = log.campaign()?;
        self.may_have_won = false;
        if let Some(epoch) = won {
            return self.promoted(follower, epoch).map(Some);
        }
        self.file = MemberFile { directory: self.file.directory, ..follower.file.clone() };
        // Another has won, as this member is about to see.
        log.wait(view.version, LISTEN);
        Ok(None)
    }

    /// Whether the log has all that this directory lacks. Of a log that was trimmed to its end the claims tell that: who is
    /// to be filled anew has none.
    fn is_led_on(&self) -> Result<bool, LogError> {
        let log = &self.standing.log;
        Ok(match log.bounds()? {
            Some((first, _)) => first <= self.file.position + 1,
            None => log.claims()?.contains_key(log.member()),
        })
    }

    /// Takes over as primary.
    fn promoted(&self, mut follower: Follower<'_>, epoch: u64) -> Result<Promoted, StandbyError> {
        let log = &self.standing.log;
        if self.file.directory == Directory::Founds && has_history(&**log)? {
            log.resign(epoch, None)?;
            return Err(LogError("another member has founded the cluster meanwhile".to_owned()).into());
        }
        let read = self.read_all(&mut follower);
        let mut file = follower.file.clone();
        let dropped = match read {
            Ok(dropped) => dropped,
            Err(error) => {
                log.resign(epoch, None)?;
                return Err(error);
            }
        };
        if self.file.directory == Directory::Leads {
            // What this directory has beyond the log, the others must not lack.
            for other in log.claims()?.keys().filter(|id| *id != log.member()) {
                log.forget(other)?;
            }
            log.trim(file.position + 1)?;
        }
        // From here on it may lead again.
        log.claim(file.position)?;
        file = MemberFile { directory: Directory::Leads, epoch, files: file.position, ..file };
        file.write(&*self.standing.disk, &self.standing.data_dir)?;
        Ok(Promoted { epoch, file, dropped })
    }

    /// Applies what the log has beyond this directory. Returns the first entry whose files cannot be had, if there is one.
    fn read_to_end(&self, follower: &mut Follower<'_>) -> Result<Option<(u64, Vec<u8>)>, StandbyError> {
        loop {
            let entries = self.standing.log.read(follower.file.position + 1)?;
            if entries.is_empty() {
                return Ok(None);
            }
            for (sequence, entry) in entries {
                match follower.apply(sequence, &entry, false) {
                    Err(FollowError::Fetch(..) | FollowError::NotOffered(_)) => {
                        return Ok(Some((sequence, entry)));
                    }
                    applied => applied?,
                }
            }
        }
    }

    /// Applies all that the log has, as its only primary. What nobody has in full is dropped: it was told to nobody, as
    /// its files were still to be fetched. Returns the directories that it would have made.
    fn read_all(&self, follower: &mut Follower<'_>) -> Result<Vec<String>, StandbyError> {
        let mut dropped = Vec::new();
        while let Some((sequence, entry)) = self.read_to_end(follower)? {
            warn!(event = "change_dropped", sequence, "an unfinished change of files is dropped");
            dropped.extend(follower.pass_by(sequence, &entry)?);
        }
        follower.save()?;
        Ok(dropped)
    }
}
