//! Reads the files that an earlier process left.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::disk::device::Access;
use crate::store::event_batch::{self, BatchHead, NO_POOL};

use super::files::{Inner, LogFile};
use super::unusable::Unusable;
use super::{EventLog, SUFFIX, UNFINISHED};

/// Bytes that are read at once, unless a batch is larger.
const LOAD_BYTES: usize = 1 << 20;

/// What was read so far.
struct Loading {
    inner: Inner,
    last: Option<BatchHead>,
    /// The batches that say the same of the journal's frames as the last one,
    newest: Vec<u8>,
    /// and those before them that say the same among each other: of what is written together, only the last says more.
    before: Vec<u8>,
    is_whole: bool,
}

impl Loading {
    /// Takes the whole batches at the beginning of some bytes. Returns how many bytes they have.
    fn take(&mut self, file: &mut LogFile, bytes: &[u8]) -> usize {
        let mut at = 0;
        while let Some((head, sections)) = event_batch::decode(&bytes[at..]) {
            if head.covered != self.inner.covered {
                self.before = std::mem::take(&mut self.newest);
            }
            for section in sections {
                if section.pool == NO_POOL {
                    self.inner.used = self.inner.used.max(section.first_seq);
                    continue;
                }
                file.index(file.bytes, &section);
                let next = &mut self.inner.next;
                // Something is missing before it.
                self.is_whole &= next.get(&section.pool).is_none_or(|next| *next == section.first_seq);
                next.insert(section.pool, section.first_seq + section.events().len() as u64);
            }
            let end = at + head.length as usize;
            self.newest.extend_from_slice(&bytes[at..end]);
            (self.inner.covered, self.inner.written) = (head.covered, head.covered);
            file.bytes += u64::from(head.length);
            self.last = Some(head);
            at = end;
        }
        at
    }

    /// Reads a file up to the first batch that is not whole.
    fn read(&mut self, file: &mut LogFile, bytes: u64, buffer: &mut Vec<u8>) -> io::Result<()> {
        let mut wanted = LOAD_BYTES;
        while file.bytes < bytes {
            buffer.resize(wanted.min((bytes - file.bytes) as usize), 0);
            file.file.read_exact_at(buffer, file.bytes)?;
            if self.take(file, buffer) > 0 {
                wanted = LOAD_BYTES;
                continue;
            }
            match event_batch::length(buffer).filter(|length| *length > buffer.len()) {
                Some(length) if file.bytes + length as u64 <= bytes => wanted = length,
                _ => return Ok(()),
            }
        }
        Ok(())
    }

    fn take_last_words(&mut self) {
        for mut rest in [&self.before[..], &self.newest[..]] {
            while let Some((head, sections)) = event_batch::decode(rest) {
                for section in sections {
                    for event in section.events() {
                        let key = event_batch::order_key(event.number, event.kind);
                        let word = self.inner.last_words.entry((section.pool, key)).or_default();
                        *word = event.word.max(*word);
                    }
                }
                rest = &rest[head.length as usize..];
            }
        }
    }
}

impl EventLog {
    /// The files of the directory, in order.
    pub(super) fn listed(&self) -> io::Result<Vec<(u64, PathBuf)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if let Some(sequence) = name.strip_suffix(SUFFIX).and_then(|digits| digits.parse().ok()) {
                files.push((sequence, path));
            }
        }
        files.sort_unstable();
        Ok(files)
    }

    /// Reads all files, without what a loss of power may have torn. What cannot be used is as if it were not there, but
    /// for its sequence numbers.
    pub fn load(&self) -> Result<(), Unusable> {
        self.disk.create_directories(&self.dir)?;
        let inner = Inner { is_anew: true, ..Inner::default() };
        let mut loading =
            Loading { inner, last: None, newest: Vec::new(), before: Vec::new(), is_whole: true };
        let mut buffer = Vec::new();
        for (sequence, path) in self.listed()? {
            let file = Arc::new(self.disk.open(&path, Access::Buffered)?);
            let bytes = file.metadata()?.len();
            let mut known = LogFile::new(sequence, path, file);
            loading.read(&mut known, bytes, &mut buffer)?;
            let files = &mut loading.inner.files;
            // Only the last file can have a torn end, which a killed process leaves.
            loading.is_whole &= files.back().is_none_or(|before| before.sequence + 1 == sequence);
            loading.is_whole &= known.bytes > 0;
            files.push_back(known);
        }
        let ended_with =
            |last: BatchHead| last.is_clean || (last.boot_id == self.boot_id && self.boot_id != [0; 16]);
        let unusable = match loading.last {
            None => Some(Unusable::Empty),
            _ if !loading.is_whole => Some(Unusable::Incomplete),
            Some(last) if !ended_with(last) => Some(Unusable::PowerLost),
            Some(_) => self.dir.join(UNFINISHED).exists().then_some(Unusable::Unfinished),
        };
        if let Some(unusable) = unusable {
            self.inner().used = loading.inner.after_all();
            return Err(unusable);
        }
        loading.take_last_words();
        *self.inner() = Inner { is_anew: false, ..loading.inner };
        Ok(())
    }
}
