//! `allotd pool note`, and the file of `allotd pool set --note`.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use clap::Args;
use hyper::Method;

use crate::cli::error::CliError;
use crate::cli::output;
use crate::cli::remote::ServerArgs;
use crate::client::{self, Call};
use crate::domain::note::{MAX_NOTE_BYTES, Note, NoteError};

use super::name::pool_path;

#[derive(Debug, Args)]
pub(in crate::cli) struct NoteArgs {
    /// Name of the pool
    name: String,
    #[command(flatten)]
    server: ServerArgs,
}

pub(super) fn run(args: &NoteArgs) -> Result<(), CliError> {
    let path = pool_path(&args.name, "/note")?;
    let note = client::send(&args.server.server()?, Call::new(Method::GET, &path))?;
    output::print(&format!("{}\n", output::escaped_lines(note.trim_end_matches('\n'))))
}

/// Reads a note from a file; "-" is standard input.
pub(super) fn read(path: &Path) -> Result<Note, CliError> {
    let failed = |error: io::Error| {
        CliError::Failed(format!("the note in {} cannot be read: {error}", path.display()))
    };
    let input: Box<dyn Read> = if path.as_os_str() == "-" {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path).map_err(failed)?)
    };
    let mut text = Vec::new();
    input.take(MAX_NOTE_BYTES as u64 + 1).read_to_end(&mut text).map_err(failed)?;
    let refused = |why: String| CliError::Failed(format!("{}: {why}", path.display()));
    if text.len() > MAX_NOTE_BYTES {
        return Err(refused(NoteError::TooLong.to_string()));
    }
    let text = String::from_utf8(text).map_err(|error| refused(format!("note is not UTF-8: {error}")))?;
    Note::try_from(text).map_err(|error| refused(error.to_string()))
}
