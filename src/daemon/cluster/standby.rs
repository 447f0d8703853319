//! A standby: fills its directory if it has to, follows the log, and becomes primary when there is none.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::Method;
use tracing::{info, warn};

use crate::client::{self, Call, ClientError};
use crate::disk::files;
use crate::engine::registry::Engine;
use crate::engine::startup::config::Membership;
use crate::http::cluster::Role;
use crate::log::limit;
use crate::replication::follower::{FollowError, Follower, Surroundings};
use crate::replication::log::{MemberStatus, View};
use crate::replication::member_file::{Directory, MemberFile};

use super::error::ClusterError;
use super::fill::fill;
use super::member::Member;

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

/// This member has become primary.
pub(super) struct Promoted {
    /// Its epoch.
    pub(super) epoch: u64,
    /// What its directory is: the position is the end of the log.
    pub(super) file: MemberFile,
    /// Directories of unfinished changes, which it does not have.
    pub(super) dropped: Vec<String>,
}

/// Why following ends.
enum End {
    Stopped,
    NoPrimary,
    /// The directory must be filled anew.
    Behind,
}

/// A standby.
pub(super) struct Standby<'a> {
    member: &'a Member,
    file: MemberFile,
    /// Whether the directory is to be filled anew.
    is_behind: bool,
    /// Whether a campaign had no answer: this member may have become primary by it.
    may_have_won: bool,
    /// Since when there is no primary.
    alone_since: Option<Instant>,
}

/// The primary's files, and the recovery of the directory.
struct OfMember<'a>(&'a Member);

impl Surroundings for OfMember<'_> {
    fn fetch(&self, sequence: u64, index: usize, to: &File) -> io::Result<()> {
        let primary = self.0.log.view().primary;
        let primary = primary.ok_or_else(|| io::Error::other("there is no primary at present"))?;
        let server = self.0.peer(&primary.url).map_err(io::Error::other)?;
        let path = format!("/cluster/files/{sequence}/{index}");
        let mut to = to;
        client::send_to(&server, Call::new(Method::GET, &path), &mut to).map_err(|error| match error {
            ClientError::Refused { ref reason, .. } if reason.ends_with("(not_found)") => {
                io::Error::new(io::ErrorKind::NotFound, error.to_string())
            }
            other => io::Error::other(other),
        })
    }

    fn recover(&self) -> Result<(), String> {
        let config = self.0.engine_config(Membership::Following);
        let engine = Engine::open(&config).map_err(|error| error.to_string())?;
        engine.close().map_err(|error| error.to_string())
    }
}

impl<'a> Standby<'a> {
    pub(super) fn new(member: &'a Member, file: MemberFile) -> Self {
        Self { member, file, is_behind: false, may_have_won: false, alone_since: None }
    }

    /// Follows until this member is primary; `None` once it is to stop.
    pub(super) fn run(mut self) -> Option<Promoted> {
        while !self.member.stops() {
            match self.step() {
                Ok(Some(promoted)) => return Some(promoted),
                Ok(None) => {}
                Err(error) => {
                    if let Some(suppressed) = limit::STANDBY_FAILED.admit() {
                        warn!(event = "standby_failed", %error, suppressed, "this standby tries again");
                    }
                    std::thread::sleep(RETRY_PAUSE);
                }
            }
        }
        None
    }

    fn step(&mut self) -> Result<Option<Promoted>, ClusterError> {
        let view = self.member.log.view();
        match &view.primary {
            Some(primary) if primary.member == self.member.id && self.may_have_won => {
                let surroundings = OfMember(self.member);
                let follower = self.follower(&surroundings);
                self.promoted(follower, primary.epoch).map(Some)
            }
            // The key of an earlier life of this process: it ends.
            Some(primary) if primary.member == self.member.id => {
                self.member.log.wait(view.version, LISTEN);
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
                }
                Ok(None)
            }
            None => self.campaign(&view),
        }
    }

    fn filled(&self, url: &str) -> Result<MemberFile, ClusterError> {
        self.member.show(Role::Filling, 0, 0);
        self.publish(0, 0, false);
        fill(self.member, url)
    }

    fn follower<'s>(&self, surroundings: &'s OfMember<'_>) -> Follower<'s> {
        let config = &self.member.config;
        Follower::new(
            files::real(),
            &config.data_dir,
            config.journal_file_bytes,
            surroundings,
            Arc::clone(&self.member.clock),
            self.file.clone(),
        )
    }

    /// Follows the log while there is a primary.
    fn follow(&mut self) -> Result<End, ClusterError> {
        let surroundings = OfMember(self.member);
        let mut follower = self.follower(&surroundings);
        if let Err(FollowError::Recover(error)) = follower.recover() {
            warn!(event = "unrecoverable", %error, "this standby's directory cannot be used");
            return Ok(End::Behind);
        }
        // The log is kept from here on.
        self.member.log.claim(follower.file.position)?;
        let end = self.follow_with(&mut follower);
        // Also after an error: what was applied stays so.
        follower.save()?;
        self.file = follower.file.clone();
        end
    }

    fn follow_with(&self, follower: &mut Follower<'_>) -> Result<End, ClusterError> {
        let log = &self.member.log;
        let (mut published, mut said_at, mut claimed_at) = (u64::MAX, Instant::now(), Instant::now());
        let mut was_at_end = false;
        loop {
            if self.member.stops() {
                return Ok(End::Stopped);
            }
            let view = log.view();
            let Some(primary) = &view.primary else { return Ok(End::NoPrimary) };
            if primary.member == self.member.id {
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
            let is_due = said_at.elapsed() >= PUBLISH_INTERVAL || follower.file.files != before;
            if (position != published && is_due) || said_at.elapsed() >= REPEAT_INTERVAL {
                follower.save()?;
                self.publish(position, follower.file.epoch, true);
                (published, said_at) = (position, Instant::now());
            }
            if claimed_at.elapsed() >= CLAIM_INTERVAL {
                if !log.claims()?.contains_key(&self.member.id) {
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
            self.member.show(Role::Standby, position, position);
        }
        let status = MemberStatus {
            url: self.member.cluster.advertise.clone(),
            position,
            epoch,
            able,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let _ = self.member.log.publish(&status);
    }

    /// Becomes primary, if this member may.
    fn campaign(&mut self, view: &View) -> Result<Option<Promoted>, ClusterError> {
        let member = self.member;
        let alone = self.alone_since.get_or_insert_with(Instant::now).elapsed();
        let ttl = Duration::from_secs(member.cluster.ttl_seconds.into());
        let is_there = |id: &str| id != member.id && view.members.get(id).is_some_and(|other| other.able);
        let goes_first = view.next.as_deref().filter(|next| is_there(next));
        let may = match self.file.directory {
            _ if goes_first.is_some() => alone >= NEXT_PATIENCE,
            Directory::Founds | Directory::Follows => true,
            _ if self.is_behind => false,
            // Others that are there have what the log has. Nobody else: what this directory has beyond it was told to
            // nobody.
            Directory::Leads => !view.members.keys().any(|id| is_there(id)) && alone >= DISORDER_TTLS * ttl,
            Directory::Incomplete => false,
        };
        if !may {
            self.publish(self.file.position, self.file.epoch, false);
            member.log.wait(view.version, LISTEN);
            return Ok(None);
        }
        let surroundings = OfMember(member);
        let mut follower = self.follower(&surroundings);
        if self.file.directory == Directory::Leads {
            // Its journal may end in the middle of a frame.
            follower.recover()?;
        }
        let lacks = self.read_to_end(&mut follower)?;
        follower.save()?;
        self.file.position = follower.file.position;
        self.file.files = follower.file.files;
        if let Some((sequence, _)) = &lacks {
            // Another may have the files of an entry that this one cannot have.
            let has = |id: &str| is_there(id) && view.members[id].position >= *sequence;
            if view.members.keys().any(|id| has(id)) && alone < NEXT_PATIENCE {
                member.log.wait(view.version, LISTEN);
                return Ok(None);
            }
        }
        self.may_have_won = true;
        let won = member.log.campaign()?;
        self.may_have_won = false;
        if let Some(epoch) = won {
            return self.promoted(follower, epoch).map(Some);
        }
        self.file = MemberFile { directory: self.file.directory, ..follower.file.clone() };
        Ok(None)
    }

    /// Takes over as primary.
    fn promoted(&self, mut follower: Follower<'_>, epoch: u64) -> Result<Promoted, ClusterError> {
        let member = self.member;
        let read = self.read_all(&mut follower);
        let mut file = follower.file.clone();
        let dropped = match read {
            Ok(dropped) => dropped,
            Err(error) => {
                member.log.resign(epoch, None)?;
                return Err(error);
            }
        };
        if self.file.directory == Directory::Leads {
            // What this directory has beyond the log, the others must not lack.
            for other in member.log.claims()?.keys().filter(|id| **id != member.id) {
                member.log.forget(other)?;
            }
            member.log.trim(file.position + 1)?;
        }
        file = MemberFile { directory: Directory::Leads, epoch, files: file.position, ..file };
        file.write(&*files::real(), &member.config.data_dir)?;
        Ok(Promoted { epoch, file, dropped })
    }

    /// Applies what the log has beyond this directory. Returns the first entry whose files cannot be had, if there is one.
    fn read_to_end(&self, follower: &mut Follower<'_>) -> Result<Option<(u64, Vec<u8>)>, ClusterError> {
        loop {
            let entries = self.member.log.read(follower.file.position + 1)?;
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
    fn read_all(&self, follower: &mut Follower<'_>) -> Result<Vec<String>, ClusterError> {
        let mut dropped = Vec::new();
        while let Some((sequence, entry)) = self.read_to_end(follower)? {
            warn!(event = "change_dropped", sequence, "an unfinished change of files is dropped");
            dropped.extend(follower.pass_by(sequence, &entry)?);
        }
        follower.save()?;
        Ok(dropped)
    }
}
