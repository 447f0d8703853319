//! The audit log: each call of an operator that changes something, with who made it, what was before and what is now.
//!
//! A record is a line of JSON, written before the response leaves. The last ones are kept in memory for
//! `GET /v1/audit`.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tracing::error;

use crate::disk::denied::explain;
use crate::log::limit;

/// Records that are kept in memory.
pub const MAX_KEPT: usize = 200;
/// How much of the end of the file is read at the start, in bytes.
const TAIL_BYTES: u64 = 256 << 10;
/// Others read neither names nor reasons.
const FILE_MODE: u32 = 0o600;

/// The audit log cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("the audit log {} cannot be written: {}. Check the path of --audit-log", path.display(), explain(path, error))]
pub struct AuditError {
    path: PathBuf,
    error: io::Error,
}

/// What was before a change, as a handler leaves it with its response.
#[derive(Debug, Clone)]
pub(crate) struct Before(pub(crate) Value);

/// What is now, if the response does not tell it.
#[derive(Debug, Clone)]
pub(crate) struct After(pub(crate) Value);

/// The audit log of a daemon.
#[derive(Debug, Default)]
pub struct Audit {
    path: Option<PathBuf>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    file: Option<File>,
    /// The newest last.
    last: VecDeque<Value>,
}

impl Audit {
    /// Continues a file, which is created if it does not exist.
    pub fn open(path: &Path) -> Result<Self, AuditError> {
        let failed = |error| AuditError { path: path.to_owned(), error };
        let file = open(path).map_err(failed)?;
        let last = tail(path).map_err(failed)?;
        Ok(Self { path: Some(path.to_owned()), state: Mutex::new(State { file: Some(file), last }) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the file again, which may have been moved away.
    pub(crate) fn reopen(&self) -> Result<(), AuditError> {
        let Some(path) = &self.path else { return Ok(()) };
        let file = open(path).map_err(|error| AuditError { path: path.clone(), error })?;
        self.lock().file = Some(file);
        Ok(())
    }

    /// Adds a record.
    pub(crate) fn add(&self, record: Value) {
        let line = format!("{record}\n");
        let mut state = self.lock();
        // One write a line: lines of several processes do not mix.
        let written = state.file.as_mut().map_or(Ok(()), |file| file.write_all(line.as_bytes()));
        if state.last.len() == MAX_KEPT {
            state.last.pop_front();
        }
        state.last.push_back(record);
        drop(state);
        if let Err(error) = written
            && let Some(suppressed) = limit::AUDIT_FAILED.admit()
        {
            error!(event = "audit_failed", %error, suppressed, "a call could not be written to the audit log");
        }
    }

    /// The last records for which `is_seen` holds, the newest first.
    pub(crate) fn last(&self, most: usize, is_seen: impl Fn(&Value) -> bool) -> Vec<Value> {
        self.lock().last.iter().rev().filter(|record| is_seen(record)).take(most).cloned().collect()
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(FILE_MODE).open(path)
}

/// The last records of a file. What is no record is left out.
fn tail(path: &Path) -> io::Result<VecDeque<Value>> {
    let mut file = File::open(path)?;
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let records = text.lines().filter_map(|line| serde_json::from_str(line).ok()).filter(Value::is_object);
    let records: Vec<Value> = records.collect();
    let first = records.len().saturating_sub(MAX_KEPT);
    Ok(records.into_iter().skip(first).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_last_records_are_there_after_a_restart_and_the_file_may_be_moved() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.log");
        let audit = Audit::open(&path).unwrap();
        for number in 0..MAX_KEPT + 5 {
            audit.add(json!({"number": number}));
        }
        let numbers = |audit: &Audit| -> Vec<u64> {
            audit
                .last(3, |record| record["number"] != 203)
                .iter()
                .map(|record| record["number"].as_u64().unwrap())
                .collect()
        };
        assert_eq!(numbers(&audit), [204, 202, 201]);
        std::fs::write(&path, format!("{}not a record\n", std::fs::read_to_string(&path).unwrap())).unwrap();
        let again = Audit::open(&path).unwrap();
        assert_eq!(
            (numbers(&again), again.last(MAX_KEPT + 9, |_| true).len()),
            (vec![204, 202, 201], MAX_KEPT)
        );
        std::fs::rename(&path, directory.path().join("old")).unwrap();
        again.reopen().unwrap();
        again.add(json!({"number": 7}));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"number\":7}\n");
        assert!(
            Audit::open(&directory.path().join("none/x")).unwrap_err().to_string().contains("--audit-log")
        );
    }
}
