//! Fills a directory with a copy of the primary's.

use std::fs;
use std::io;

use hyper::Method;
use tracing::info;

use crate::backup::Contents;
use crate::client::{self, Call};
use crate::disk::files;
use crate::http::cluster_copy::CopyWriter;
use crate::replication::follower;
use crate::replication::member_file::{Directory, MEMBER_FILE, MemberFile};
use crate::store::data_dir::CONTENTS_FILE;

use super::error::ClusterError;
use super::member::Member;

/// Where a copy is until it is complete.
const FILLING_DIR: &str = "filling";

/// Fills the member's directory from the primary at `url`. What it had is gone once the copy is complete, and not before:
/// should the primary go too, it may be all that is left.
pub(super) fn fill(member: &Member, url: &str) -> Result<MemberFile, ClusterError> {
    let (data_dir, disk) = (&member.config.data_dir, files::real());
    info!(event = "filling", primary = url, "this member takes a copy of the primary's data");
    let filling = data_dir.join(FILLING_DIR);
    match disk.remove_directory(&filling) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    fs::create_dir(&filling)?;
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
    // From here on the copy is what there is.
    let mut file = MemberFile::new(&member.cluster_id, &member.id);
    file.directory = Directory::Incomplete;
    file.write(&*disk, data_dir)?;
    follower::discard(data_dir, &[FILLING_DIR, MEMBER_FILE])?;
    for found in fs::read_dir(&filling)? {
        let found = found?;
        let name = found.file_name();
        if name != CONTENTS_FILE && name != "LOCK" {
            disk.rename(&found.path(), &data_dir.join(name))?;
        }
    }
    disk.remove_directory(&filling)?;
    disk.sync_directory(data_dir)?;
    file = MemberFile { directory: Directory::Follows, position, epoch, files: position, ..file };
    file.write(&*disk, data_dir)?;
    let bytes = contents.bytes();
    info!(event = "filled", position, bytes, "this member has a copy of the primary's data and follows");
    Ok(file)
}
