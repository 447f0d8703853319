//! What a standby needs of the daemon: the primary's files, and engines on its directory.

use std::error::Error;
use std::fs::File;
use std::io;

use hyper::Method;

use crate::client::{self, Call, ClientError};
use crate::engine::registry::Engine;
use crate::engine::startup::config::Membership;
use crate::http::cluster::Role;
use crate::replication::follower::Surroundings;
use crate::replication::member_file::MemberFile;
use crate::replication::standby::{Doing, Process};

use super::fill::fill;
use super::member::Member;

/// The process of a member.
pub(super) struct MemberProcess<'a>(pub(super) &'a Member);

impl Surroundings for MemberProcess<'_> {
    fn fetch(&self, sequence: u64, index: usize, to: &File) -> io::Result<()> {
        let primary = self.0.standing.log.view().primary;
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

impl Process for MemberProcess<'_> {
    fn fill(&self, url: &str) -> Result<MemberFile, Box<dyn Error + Send + Sync>> {
        Ok(fill(self.0, url)?)
    }

    fn stops(&self) -> bool {
        self.0.stops()
    }

    fn show(&self, doing: Doing) {
        match doing {
            Doing::Filling => self.0.show(Role::Filling, 0, 0),
            Doing::Following(position) => self.0.show(Role::Standby, position, position),
        }
    }
}
