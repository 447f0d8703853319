//! `allotd export`: a pool of a backup, offline: a CSV, or one Roaring file per state.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::domain::holder::HolderName;
use crate::domain::settings::PoolName;
use crate::numbers::number::NumberRange;
use crate::numbers::set::writer::SetWriter;
use crate::offline_export::{Snapshot, SnapshotError};
use crate::state::number_state::State;

use super::error::CliError;
use super::output;
use super::pool::name::checked_name;

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// The backup's directory
    #[arg(value_name = "BACKUP")]
    backup: PathBuf,
    /// Name of the pool
    #[arg(value_name = "POOL")]
    pool: String,
    /// Instead of CSV on standard output, write a portable Roaring bitmap per state to this directory, such as
    /// DIR/available.roaring
    #[arg(long, value_name = "DIR")]
    roaring: Option<PathBuf>,
}

pub(super) fn run(args: &ExportArgs) -> Result<(), CliError> {
    let name: PoolName = checked_name(&args.pool)?;
    let failed = |error: SnapshotError| CliError::Failed(format!("nothing was exported: {error}"));
    let snapshot = Snapshot::open(&args.backup, &name).map_err(failed)?;
    match &args.roaring {
        None => match write_csv(&snapshot) {
            // As with any output, a reader may have read enough.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(CliError::Failed(format!("the export is incomplete: standard output: {error}")))
            }
            _ => Ok(()),
        },
        Some(dir) => write_sets(&snapshot, dir),
    }
}

fn write_csv(snapshot: &Snapshot) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    out.write_all(b"number,state,generation,until")?;
    out.write_all(if snapshot.tracks_holders() { b",holder\n" } else { b"\n" })?;
    snapshot.for_each(|row| {
        write!(out, "{},{},{},", row.number, row.state.as_str(), row.generation)?;
        if let Some(until) = row.until {
            write!(out, "{until}")?;
        }
        if snapshot.tracks_holders() {
            let name = snapshot.holder_name(row.holder);
            write!(out, ",{}", name.map(HolderName::csv_cell).unwrap_or_default())?;
        }
        out.write_all(b"\n")
    })?;
    out.flush()
}

/// Writes the numbers of each state to a file of its own, and says how many they are.
fn write_sets(snapshot: &Snapshot, dir: &Path) -> Result<(), CliError> {
    let failed = |path: &Path, error: &dyn std::fmt::Display| {
        CliError::Failed(format!("the export is incomplete: {}: {error}", path.display()))
    };
    fs::create_dir_all(dir).map_err(|error| failed(dir, &error))?;
    let path = |state: State| dir.join(format!("{}.roaring", state.as_str()));
    let mut sets = Vec::new();
    for state in State::ALL {
        let path = path(state);
        // Never over another export.
        let file = File::create_new(&path).map_err(|error| failed(&path, &error))?;
        sets.push(SetWriter::new(BufWriter::new(file)).map_err(|error| failed(&path, &error))?);
    }
    snapshot
        .for_each(|row| {
            let range = NumberRange::single(row.number);
            sets[row.state as usize].push(range).map_err(io::Error::other)
        })
        .map_err(|error| failed(dir, &error))?;
    let mut answer = json!({"as of": snapshot.as_of().to_string()});
    for (state, set) in State::ALL.into_iter().zip(sets) {
        let written = set.finish().map_err(|error| failed(&path(state), &error))?;
        answer[state.as_str()] = written.numbers.into();
    }
    output::print(&output::members(&answer))
}
