//! Files that only their owner may change and no others may read: the tokens file, and the files that hold a
//! token.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::disk::denied::explain;

use super::access_token::{AccessToken, TokenError};

/// Largest file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 8 << 20;
/// What others may do with a file, and whether its group may change it.
const FORBIDDEN_MODE: u32 = 0o027;

/// A file that is not read; the message says what to do.
#[derive(Debug, Error)]
pub enum SecretFileError {
    /// The system refuses to read it.
    #[error("{} cannot be read: {}", path.display(), explain(path, error))]
    Unreadable {
        /// Its path.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// It is a directory, a socket or the like.
    #[error("{} is not a file", .0.display())]
    NotAFile(PathBuf),
    /// Others may read or change it.
    #[error(
        "{} has mode {mode:04o}: others must not read it and its group must not change it. Give it with \
         chmod 600",
        path.display()
    )]
    Open {
        /// Its path.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It is too large.
    #[error("{} has more than {MAX_FILE_BYTES} bytes", .0.display())]
    TooLarge(PathBuf),
    /// It holds no token.
    #[error("{}: {error}", path.display())]
    NoToken {
        /// Its path.
        path: PathBuf,
        /// What is wrong with its text.
        error: TokenError,
    },
}

/// The text of a file that others can neither read nor change.
pub fn read(path: &Path) -> Result<String, SecretFileError> {
    let unreadable = |error| SecretFileError::Unreadable { path: path.to_owned(), error };
    // A look before it is opened: to open a pipe would wait for its other end.
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(SecretFileError::NotAFile(path.to_owned()));
    }
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    let mode = metadata.mode() & 0o7777;
    if mode & FORBIDDEN_MODE != 0 {
        return Err(SecretFileError::Open { path: path.to_owned(), mode });
    }
    let mut text = String::new();
    let length = file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).map_err(unreadable)?;
    if length as u64 > MAX_FILE_BYTES { Err(SecretFileError::TooLarge(path.to_owned())) } else { Ok(text) }
}

/// The token in a file of its own.
pub fn read_token(path: &Path) -> Result<AccessToken, SecretFileError> {
    let text = read(path)?;
    text.trim().parse().map_err(|error| SecretFileError::NoToken { path: path.to_owned(), error })
}

/// Writes a token to a new file that only its owner can read.
pub fn write_token(path: &Path, token: &AccessToken) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{}", token.reveal())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_read_if_its_owner_alone_controls_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        let token = AccessToken::random().unwrap();
        write_token(&path, &token).unwrap();
        assert!(write_token(&path, &token).is_err(), "an existing file is not replaced");
        assert_eq!(read_token(&path).unwrap(), token);
        for (mode, ok) in [(0o600, true), (0o440, true), (0o640, true), (0o660, false), (0o604, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            match read_token(&path) {
                Err(SecretFileError::Open { mode: seen, .. }) if !ok => assert_eq!(seen, mode),
                read => assert!(read.is_ok() == ok, "{mode:o}: {read:?}"),
            }
        }
        assert!(matches!(read(directory.path()), Err(SecretFileError::NotAFile(_))));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "alt_x").unwrap();
        assert!(matches!(read_token(&path), Err(SecretFileError::NoToken { .. })));
    }
}
