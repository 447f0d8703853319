//! Why a load was not measured.

use std::io;
use std::time::Duration;

use thiserror::Error;

use crate::client::{ClientError, Server};

use super::answers::AnswerError;

/// Why a run ended early.
#[derive(Debug, Error)]
pub enum BenchError {
    /// A call before or after the load failed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The load failed.
    #[error("{server}: {error}")]
    Load {
        /// Which server.
        server: Box<Server>,
        /// What happened.
        error: LoadError,
    },
    /// The pool does not have what the run needs.
    #[error("{0}")]
    Pool(String),
    /// The CPU time of the server's process cannot be read.
    #[error("the CPU time of process {pid} cannot be read: {error}. Check --server-pid")]
    Process {
        /// Its id.
        pid: u32,
        /// What the system says.
        error: std::io::Error,
    },
}

/// Why a load ended early.
#[derive(Debug, Error)]
pub enum LoadError {
    /// A connection was refused.
    #[error("connection {index} of {connections} cannot be opened: {error}")]
    Open {
        /// Which, from 1.
        index: usize,
        /// Of how many.
        connections: usize,
        /// What the system says.
        error: io::Error,
    },
    /// A connection ended.
    #[error("the server went away after {answers} answers{refusals}{}", .error.as_ref().map(|error| format!(": {error}")).unwrap_or_default())]
    Gone {
        /// Answers so far of the thread that saw it.
        answers: u64,
        /// How many of them were refusals, in words.
        refusals: String,
        /// What the system says; none at a regular end.
        error: Option<io::Error>,
    },
    /// An answer is not understood.
    #[error(transparent)]
    Answer(#[from] AnswerError),
    /// The load generator itself failed.
    #[error("the load generator failed: {0}")]
    Io(#[from] io::Error),
    /// Nothing came within the measured time.
    #[error("no answer came within {} s", .0.as_secs_f64())]
    Silence(Duration),
}
