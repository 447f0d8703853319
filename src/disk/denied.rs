//! Why a file cannot be used: whose it is and who asks, if that is the reason.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::{fs, io};

use rustix::process::geteuid;

use crate::sys::users::user_name;

/// Permissions of a file, without its type.
const MODE_BITS: u32 = 0o7777;

/// An error of a file in words. What is not permitted says whose the file is and who asks.
pub(crate) fn explain(path: &Path, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => format!("{error}: {}", whose(path)),
        _ => error.to_string(),
    }
}

/// Whose a file is and who this process is. Of what cannot be looked at, the directory in the way.
fn whose(path: &Path) -> String {
    let user = user_name(geteuid().as_raw());
    let there = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let seen = there.ancestors().find_map(|place| Some((place, fs::metadata(place).ok()?)));
    let Some((place, metadata)) = seen else { return format!("this process runs as {user}") };
    let (owner, mode) = (user_name(metadata.uid()), metadata.mode() & MODE_BITS);
    let todo = if owner == user {
        "correct its mode with chmod, or see what else forbids it, such as the sandbox of a service"
            .to_owned()
    } else {
        format!("give it to {user} with chown, or run allotd as {owner}")
    };
    format!(
        "{} belongs to {owner} (mode {mode:04o}), and this process runs as {user}; {todo}",
        place.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_permitted_names_the_owner_and_who_asks() {
        let directory = tempfile::tempdir().unwrap();
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let said = explain(&directory.path().join("none/0001.words"), &denied);
        let user = user_name(geteuid().as_raw());
        let mode = fs::metadata(directory.path()).unwrap().mode() & MODE_BITS;
        let expected = format!(
            "{} belongs to {user} (mode {mode:04o}), and this process runs as {user}",
            directory.path().display()
        );
        assert!(said.contains(&expected), "{said}");
        let missing = io::Error::from(io::ErrorKind::NotFound);
        assert_eq!(explain(directory.path(), &missing), missing.to_string());
    }
}
