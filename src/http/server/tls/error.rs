//! Why certificates are refused.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::disk::denied::explain;

/// Why the files of TLS are refused; the message says what to do.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{} cannot be read: {}. Check the path of {flag}", path.display(), explain(path, error))]
    Unreadable {
        /// The flag that names it.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// A file is not what it should be.
    #[error("{} has no {what} in PEM: give another file with {flag}", path.display())]
    Empty {
        /// The flag that names it.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// What it should have.
        what: &'static str,
    },
    /// What a file has is malformed.
    #[error("{} is not understood: {message}. Give another file with {flag}", path.display())]
    Malformed {
        /// The flag that names it.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// Others may use the key.
    #[error(
        "{} has mode {mode:03o}, so every user of this machine may read or change the key: chmod 600 it, and \
         make a new key if somebody may have read it",
        path.display()
    )]
    KeyOpenToOthers {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The key is that of another certificate.
    #[error(
        "the key {} does not fit the certificate {}: give the two that were made together",
        key.display(), certificate.display()
    )]
    OtherKey {
        /// The file of the key.
        key: PathBuf,
        /// The file of the certificate.
        certificate: PathBuf,
    },
    /// A certificate whose time is over.
    #[error("the certificate {} expired at {at}: renew it", path.display())]
    Expired {
        /// The file.
        path: PathBuf,
        /// Its end.
        at: String,
    },
    /// A certificate whose time has not begun.
    #[error("the certificate {} is valid from {at} on only: check the system's clock", path.display())]
    NotYetValid {
        /// The file.
        path: PathBuf,
        /// Its beginning.
        at: String,
    },
    /// rustls refuses the settings.
    #[error("TLS cannot be set up: {0}")]
    Setup(String),
}
