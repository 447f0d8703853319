//! The life of a member of a cluster: it follows as a standby, until it becomes primary; and a primary that is none any
//! more begins a new life as a standby.
//!
//! The process replaces itself for that ([`restart`]): so nothing that a primary had in memory survives it.

pub(crate) mod error;
mod fill;
mod join;
mod leading;
mod member;
mod process;
mod restart;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::runtime::Runtime;
use tracing::info;

use crate::http::address::ListenAddress;
use crate::http::server::{self, ServeError, tls::ServerTls};
use crate::http::standby::{StandbyConfig, StandbyServer};
use crate::replication::member_file::MemberFile;
use crate::replication::standby::{Foreign, Promoted, Standby};

use super::config::Config;
use super::config::cluster::ClusterConfig;
use super::reload::Reloader;
use super::run::{self, Bound, DaemonError, OnHangup};
use super::service_manager;

use error::ClusterError;
use member::Member;
use process::MemberProcess;

/// Runs a member until SIGTERM or SIGINT.
pub(crate) fn run<E: From<DaemonError>>(
    runtime: &Runtime,
    config: &Config,
    cluster: &ClusterConfig,
    bound: Bound,
    (json, reloader): (bool, Reloader),
    announce: impl FnOnce(&[ListenAddress]) -> Result<(), E>,
) -> Result<(), E> {
    run::prepare(config, json)?;
    let (member, file, lock) = join::join_patiently(config, cluster).map_err(DaemonError::from)?;
    let member = Arc::new(member);
    let source = Arc::clone(&member);
    let standby = StandbyConfig {
        tls: bound.tls.clone().map(|tls| Arc::new(ServerTls::new(tls))),
        allow_hosts: config.allow_hosts.clone(),
        authority: bound.authority.clone(),
        registry: Arc::clone(&bound.registry),
        status: Arc::new(move || source.status()),
    };
    let standby_server = StandbyServer::start(&bound.listeners, standby)
        .map_err(|error| DaemonError::from(ServeError::from(error)))?;
    announce(&server::addresses(&bound.listeners).map_err(DaemonError::from)?)?;
    info!(
        event = "member",
        cluster = cluster.name.as_str(),
        member = member.id.as_str(),
        position = file.position,
        "this member has joined its cluster"
    );
    service_manager::ready("standby");
    // For the whole life: a signal between two parts of it is not lost.
    let mut shutdown = Box::pin(run::shutdown(runtime)?);
    let promoted = wait_for_promotion(runtime, &member, file, &mut shutdown)?;
    standby_server.stop();
    for listener in &bound.listeners {
        listener.block().map_err(DaemonError::from)?;
    }
    let Some(promoted) = promoted else {
        info!(event = "stopped", "allotd has stopped: all data is on the disk");
        return Ok(());
    };
    let on_hangup = OnHangup::new(runtime, reloader)?;
    let ended = leading::lead(runtime, &member, promoted, bound, (on_hangup, shutdown));
    drop(lock);
    match ended? {
        leading::Ended::Stopped => Ok(()),
        leading::Ended::HandedOver | leading::Ended::Deposed => {
            Err(DaemonError::System(restart::restart()).into())
        }
    }
}

/// Follows until this member is primary, or `None` at SIGTERM.
fn wait_for_promotion(
    runtime: &Runtime,
    member: &Arc<Member>,
    file: MemberFile,
    shutdown: &mut (impl Future<Output = ()> + Unpin),
) -> Result<Option<Promoted>, DaemonError> {
    let (done, mut is_done) = tokio::sync::oneshot::channel();
    let following = Arc::clone(member);
    let thread = std::thread::Builder::new().name("follower".to_owned()).spawn(move || {
        let process = MemberProcess(&following);
        let result = Standby::new(&following.standing, &process, file).run();
        let _ = done.send(());
        result
    })?;
    runtime.block_on(async {
        tokio::select! {
            () = shutdown => {
                member.stops.store(true, Ordering::SeqCst);
                let _ = is_done.await;
            }
            _ = &mut is_done => {}
        }
    });
    match thread.join() {
        Ok(promoted) => promoted.map_err(|Foreign| {
            ClusterError::Foreign(member.config.data_dir.clone(), member.cluster.name.clone()).into()
        }),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}
