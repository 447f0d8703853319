//! The secret: the key of the lease tokens.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::disk::device::{Disk, RealDisk};
use crate::disk::files;
use crate::domain::lease_token::SECRET_BYTES;
use crate::sys::random;

use super::open_error::OpenError;
use super::{data_dir, data_dir_lock};

/// The secret's file in a data directory.
pub(crate) const SECRET_FILE: &str = "secret";
/// Length of the secret's file: the secret, then its CRC32C.
const SECRET_FILE_BYTES: usize = SECRET_BYTES + 4;

/// Reads the secret; `None` if there is no file.
pub(crate) fn read_secret(path: &Path) -> Result<Option<[u8; SECRET_BYTES]>, OpenError> {
    let content = match files::read_small_file(path, SECRET_FILE_BYTES as u64) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            return Err(OpenError::Secret(path.to_owned()));
        }
        Err(error) => return Err(OpenError::Io(path.to_owned(), error)),
    };
    let secret = content.first_chunk::<SECRET_BYTES>().copied();
    match secret {
        Some(secret) if content[SECRET_BYTES..] == crc32c::crc32c(&secret).to_le_bytes() => Ok(Some(secret)),
        _ => Err(OpenError::Secret(path.to_owned())),
    }
}

/// Reads the secret of a data directory; a directory that nothing was ever written to gets one.
///
/// A directory with a past and without its secret is refused: with another secret every lease that is live would be
/// lost to its holder, and every repeated call would lease again.
pub(crate) fn secret(disk: &dyn Disk, data_dir: &Path) -> Result<[u8; SECRET_BYTES], OpenError> {
    let path = data_dir.join(SECRET_FILE);
    match read_secret(&path)? {
        Some(secret) => Ok(secret),
        None if has_past(data_dir)? => Err(OpenError::SecretMissing(path, data_dir.to_owned())),
        None => create(disk, &path),
    }
}

/// Gives a data directory that no daemon uses another secret. All tokens and idempotency keys that were issued
/// are stale then.
pub(crate) fn replace_secret(data_dir: &Path) -> Result<(), OpenError> {
    if !data_dir.join("LOCK").is_file() {
        return Err(OpenError::NoDataDirectory(data_dir.to_owned()));
    }
    let _lock = data_dir_lock::lock_directory(&RealDisk, data_dir)?;
    create(&RealDisk, &data_dir.join(SECRET_FILE)).map(drop)
}

/// Whether a daemon has served the directory: it writes its secret before the first file of either.
fn has_past(data_dir: &Path) -> Result<bool, OpenError> {
    for dir in [data_dir::journal_dir(data_dir), data_dir::pools_dir(data_dir)] {
        let is_used = match fs::read_dir(&dir) {
            Ok(mut entries) => entries.next().is_some(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(OpenError::Io(dir, error)),
        };
        if is_used {
            return Ok(true);
        }
    }
    Ok(false)
}

fn create(disk: &dyn Disk, path: &Path) -> Result<[u8; SECRET_BYTES], OpenError> {
    let mut secret = [0; SECRET_BYTES];
    random::fill(&mut secret).map_err(OpenError::Random)?;
    let mut content = secret.to_vec();
    content.extend(crc32c::crc32c(&secret).to_le_bytes());
    let written = files::replace_file(disk, path, &content)
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(0o600)));
    written.map_err(|error| OpenError::Io(path.to_owned(), error))?;
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_with_a_past_keeps_its_secret_or_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path();
        let lock = data_dir_lock::lock_directory(&RealDisk, data_dir).unwrap();
        let first = secret(&RealDisk, data_dir).unwrap();
        assert_eq!(secret(&RealDisk, data_dir).unwrap(), first);
        // Killed before anything else was written.
        fs::remove_file(data_dir.join(SECRET_FILE)).unwrap();
        let second = secret(&RealDisk, data_dir).unwrap();
        assert_ne!(first, second);
        for past in [data_dir::journal_dir(data_dir), data_dir::pools_dir(data_dir)] {
            fs::create_dir_all(past.join("1")).unwrap();
            fs::remove_file(data_dir.join(SECRET_FILE)).unwrap();
            assert!(matches!(secret(&RealDisk, data_dir), Err(OpenError::SecretMissing(..))));
            assert!(!data_dir.join(SECRET_FILE).exists());
            assert!(matches!(replace_secret(data_dir), Err(OpenError::Locked(_))));
            fs::remove_dir_all(past).unwrap();
            secret(&RealDisk, data_dir).unwrap();
        }
        drop(lock);
        let third = secret(&RealDisk, data_dir).unwrap();
        replace_secret(data_dir).unwrap();
        assert_ne!(secret(&RealDisk, data_dir).unwrap(), third);
        assert_eq!(fs::metadata(data_dir.join(SECRET_FILE)).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
