//! Fills a directory with a copy of the primary's.

use std::io;

use hyper::Method;
use tracing::info;

use crate::backup::Contents;
use crate::client::{self, Call};
use crate::http::cluster_copy::CopyWriter;
use crate::replication::filling;
use crate::replication::member_file::MemberFile;

use super::error::ClusterError;
use super::member::Member;

/// Fills the member's directory from the primary at `url`. What it had is gone once the copy is complete, and not before:
/// should the primary go too, it may be all that is left.
pub(super) fn fill(member: &Member, url: &str) -> Result<MemberFile, ClusterError> {
    let (data_dir, disk) = (&member.standing.data_dir, &member.standing.disk);
    info!(event = "filling", primary = url, "this member takes a copy of the primary's data");
    let filling = filling::begin(&**disk, data_dir)?;
    let mut writer = CopyWriter::new(filling.clone());
    client::send_to(&member.peer(url)?, Call::new(Method::GET, "/cluster/fill"), &mut writer)?;
    let broken = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    let (position, epoch) = writer
        .stands_for
        .filter(|_| writer.is_complete)
        .ok_or_else(|| broken("the copy of the primary's data ended too early".to_owned()))?;
    let contents = Contents::read(&filling).map_err(|error| broken(error.to_string()))?;
    for entry in &contents.files {
        if let Some(what) = entry.fault(&filling) {
            return Err(broken(format!("the copy's {} {what}", entry.path)).into());
        }
    }
    let file = MemberFile { epoch, position, ..MemberFile::new(&member.cluster_id, &member.id) };
    let file = filling::install(&**disk, data_dir, file)?;
    let bytes = contents.bytes();
    info!(event = "filled", position, bytes, "this member has a copy of the primary's data and follows");
    Ok(file)
}
