//! The secret: the key of the lease tokens.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::disk::device::Disk;
use crate::disk::files;
use crate::domain::lease_token::SECRET_BYTES;
use crate::sys::random;

use super::open_error::OpenError;

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

/// Reads the secret, or creates one if there is none.
pub(crate) fn secret(disk: &dyn Disk, path: &Path) -> Result<[u8; SECRET_BYTES], OpenError> {
    if let Some(secret) = read_secret(path)? {
        return Ok(secret);
    }
    let mut secret = [0; SECRET_BYTES];
    random::fill(&mut secret).map_err(OpenError::Random)?;
    let mut content = secret.to_vec();
    content.extend(crc32c::crc32c(&secret).to_le_bytes());
    let written = files::replace_file(disk, path, &content)
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(0o600)));
    written.map_err(|error| OpenError::Io(path.to_owned(), error))?;
    Ok(secret)
}
