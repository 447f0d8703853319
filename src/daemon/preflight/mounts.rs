//! What the data directory is mounted from.

use std::fs;
use std::path::{Path, PathBuf};

use super::finding::Finding;

const MOUNTS: &str = "/proc/self/mountinfo";
const SUBJECT: &str = "mount";
/// File systems that are gone after a power loss,
const IN_MEMORY: [&str; 2] = ["tmpfs", "ramfs"];
/// and those of other machines, whose locks and syncs are theirs.
const REMOTE: [&str; 6] = ["nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs"];

/// One line of the list of mounts.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    place: PathBuf,
    kind: String,
    options: Vec<String>,
}

pub(super) fn look(data_dir: &Path) -> Finding {
    let absolute = std::path::absolute(data_dir).unwrap_or_else(|_| data_dir.to_owned());
    let there = absolute.ancestors().find_map(|place| fs::canonicalize(place).ok());
    let mounts = fs::read_to_string(MOUNTS).unwrap_or_default();
    match there.and_then(|there| mount_of(&mounts, &there)) {
        Some(mount) => judge(&mount),
        None => Finding::fine(SUBJECT, "the system does not tell it"),
    }
}

fn judge(mount: &Mount) -> Finding {
    let Mount { place, kind, options } = mount;
    let place = place.display();
    let has = |option: &str| options.iter().any(|other| other == option);
    if has("ro") {
        Finding::fault(SUBJECT, format!("{place} is mounted read-only: mount it with rw"))
    } else if IN_MEMORY.contains(&kind.as_str()) {
        Finding::warning(
            SUBJECT,
            format!("{place} is {kind}, in memory: everything is lost when the machine stops"),
        )
    } else if REMOTE.contains(&kind.as_str()) {
        Finding::warning(SUBJECT, format!("{place} is {kind}, of another machine: use a local disk"))
    } else if has("nobarrier") || has("barrier=0") {
        Finding::warning(
            SUBJECT,
            format!(
                "{place} is mounted without barriers: a power loss can take what was confirmed; leave nobarrier out"
            ),
        )
    } else if has("discard") {
        Finding::warning(
            SUBJECT,
            format!(
                "{place} is mounted with discard: removing a backup makes leases wait; use fstrim.timer instead"
            ),
        )
    } else {
        Finding::fine(SUBJECT, format!("{place} is {kind}"))
    }
}

/// The mount that a path is on: the last of those whose place is the longest.
fn mount_of(mounts: &str, path: &Path) -> Option<Mount> {
    let of_path = mounts.lines().filter_map(mount).filter(|mount| path.starts_with(&mount.place));
    of_path.max_by_key(|mount| mount.place.as_os_str().len())
}

fn mount(line: &str) -> Option<Mount> {
    let (first, second) = line.split_once(" - ")?;
    let mut fields = first.split(' ').skip(4);
    let (place, own) = (fields.next()?, fields.next()?);
    let mut of_file_system = second.split(' ');
    let (kind, shared) = (of_file_system.next()?, of_file_system.nth(1).unwrap_or_default());
    let options = own.split(',').chain(shared.split(',')).map(str::to_owned).collect();
    // A space in a path is written so.
    Some(Mount { place: place.replace("\\040", " ").into(), kind: kind.to_owned(), options })
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    #[test]
    fn the_mount_of_a_path_is_the_innermost_and_is_judged_by_its_options() {
        let mounts = "22 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard\n\
                      30 22 0:26 / /run rw,nosuid shared:5 - tmpfs tmpfs rw,size=1\n\
                      31 22 0:27 / /srv/a\\040b ro,relatime - xfs /dev/vdb rw\n\
                      32 22 0:28 / /net rw - nfs4 host:/x rw\n\
                      33 22 0:29 / /good rw,relatime - xfs /dev/vdc rw\n";
        let judged = |path: &str| judge(&mount_of(mounts, Path::new(path)).unwrap());
        for (path, level, words) in [
            ("/var/lib", Level::Warning, "discard"),
            ("/run/x", Level::Warning, "in memory"),
            ("/srv/a b/c", Level::Fault, "read-only"),
            ("/net/x", Level::Warning, "another machine"),
            ("/good/x", Level::Fine, "/good is xfs"),
        ] {
            let found = judged(path);
            assert!(found.level == level && found.text.contains(words), "{found:?}");
        }
    }
}
